"""Which copies a recipe makes of the pairs that a teacher is trained on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from refkd.data.batch import Batch
from refkd.data.pairs import Pairs
from refkd.recipes.config import RecipeConfig
from refkd.recipes.shift_pad import ShiftPad
from refkd.recipes.translate import translate
from refkd.recipes.truncate import Truncation


class Augment(Protocol):
    """Makes a copy of each pair of a batch."""

    def __call__(self, batch: Batch, *, seed: int, epoch: int) -> Batch:
        """Return the copies, a function of (seed, epoch, pair) alone."""
        ...


@dataclass(frozen=True)
class Chain:
    """One augmentation after the other."""

    steps: tuple[Augment, ...]

    def __call__(self, batch: Batch, *, seed: int, epoch: int) -> Batch:
        """Return the copies that the last step makes."""
        for step in self.steps:
            batch = step(batch, seed=seed, epoch=epoch)
        return batch


def augmentation(recipe: RecipeConfig, pairs: Pairs, *, longest: int) -> Augment:
    """Return what makes a recipe's copies of the pairs that are trained on.

    `longest` is how many clips a video may come to have.
    """
    if recipe.augment == "translate":
        return translate
    if recipe.augment == "shift_pad":
        return ShiftPad(
            pairs=pairs, longest=longest, share=recipe.pad_share, source=recipe.pad_source
        )
    if recipe.augment == "none":
        return Chain(())
    truncation = Truncation(
        gamma=recipe.gamma,
        min_clips=recipe.truncate_min_clips,
        max_share=recipe.truncate_max_share,
    ).balanced(pairs)
    return truncation if recipe.augment == "truncate" else Chain((translate, truncation))
