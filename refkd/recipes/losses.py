"""Losses of a teacher: span cross-entropy, the backbone's own, and what a recipe adds."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from refkd.data.batch import Batch
from refkd.distill.distributions import cross_entropy, log_probabilities
from refkd.distill.loss_terms import LossTerms
from refkd.models.backbone import NEGATIVE, Backbone, BackboneOutput, widened
from refkd.models.order import OrderHead
from refkd.recipes.augment import Augment
from refkd.recipes.config import RecipeConfig
from refkd.seeds import derive_seed, generator


class TeacherLoss:
    """The loss of one batch under a recipe.

    `augment` makes the copies that the recipe asks for, `order` tells moved ones from others.
    """

    def __init__(
        self,
        recipe: RecipeConfig,
        *,
        augment: Augment | None = None,
        order: OrderHead | None = None,
    ) -> None:
        self.recipe = recipe
        self._augment = augment
        self._order = order

    def __call__(self, backbone: Backbone, batch: Batch, *, seed: int, epoch: int) -> LossTerms:
        """Return the loss and its parts; augmentation is a function of (seed, epoch, pair)."""
        recipe = self.recipe
        original: BackboneOutput = backbone(batch)
        total = batch.features.new_zeros(())
        parts: dict[str, Tensor] = {}
        if recipe.keep_original:
            parts["span"] = span_loss(backbone, original, batch)
            parts["aux"] = backbone.auxiliary_loss(original, batch)
            total = total + parts["span"] + parts["aux"]
            if recipe.w_match > 0:
                parts["match"] = match_loss(original.match, batch)
                total = total + recipe.w_match * parts["match"]
        rows = self._copied(batch, seed=seed, epoch=epoch)
        if recipe.augment != "none" and len(rows) > 0:
            before = _View.of(batch, original).select(rows)
            for number in range(recipe.copies):
                named = seed if number == 0 else derive_seed(seed, "copy", number)
                losses = self._copy_losses(backbone, before, seed=named, epoch=epoch)
                for name, (weight, loss) in losses.items():
                    total = total + weight * loss
                    parts[name] = parts[name] + loss if name in parts else loss
        return LossTerms(total=total, parts={k: v.detach() for k, v in parts.items()})

    def _copied(self, batch: Batch, *, seed: int, epoch: int) -> Tensor:
        """Return the rows that get a copy in this epoch."""
        if self.recipe.p_aug >= 1.0:
            return torch.arange(len(batch), device=batch.clips.device)
        draws = [generator(seed, "copy", epoch, p).random() for p in batch.pairs.tolist()]
        chosen = [row for row, draw in enumerate(draws) if draw < self.recipe.p_aug]
        return torch.tensor(chosen, dtype=torch.int64, device=batch.clips.device)

    def _copy_losses(
        self, backbone: Backbone, before: _View, *, seed: int, epoch: int
    ) -> dict[str, tuple[float, Tensor]]:
        """Return the losses that a copy of some pairs brings, each with its weight."""
        recipe = self.recipe
        assert self._augment is not None
        # A copy moves the window that was drawn, and it is the label.
        copy = replace(self._augment(before.batch, seed=seed, epoch=epoch), mass=None)
        output: BackboneOutput = backbone(copy)
        after = _View.of(copy, output)
        losses: dict[str, tuple[float, Callable[[], Tensor]]] = {
            "span_aug": (recipe.w_span_aug, lambda: backbone.span_loss(output, copy)),
            "match_aug": (recipe.w_match, lambda: match_loss(output.match, copy)),
            "match_kl": (
                recipe.w_kl,
                lambda: match_divergence(
                    before.match, before.batch, output.match, copy, recipe.kl_stop_grad
                ),
            ),
            "order": (recipe.w_ord, lambda: self._order_loss(before, after)),
            "aux_aug": (recipe.w_highlight_aug, lambda: backbone.auxiliary_loss(output, copy)),
        }
        return {name: (weight, loss()) for name, (weight, loss) in losses.items() if weight > 0}

    def _order_loss(self, before: _View, after: _View) -> Tensor:
        """Return L_ord, the mean cross-entropy over both copies: 0 as filmed, 1 moved."""
        assert self._order is not None
        logits = [
            self._order(view.features, view.batch.clip_mask, view.batch.start, view.batch.end)
            for view in (before, after)
        ]
        labels = torch.arange(2, device=logits[0].device).repeat_interleave(len(before.batch))
        return F.cross_entropy(widened(torch.cat(logits)), labels)


class _View(NamedTuple):
    """Some pairs as filmed or as copied, and what the copy's losses read of the network's."""

    batch: Batch
    match: Tensor
    features: Tensor | None

    @classmethod
    def of(cls, batch: Batch, output: BackboneOutput) -> _View:
        return cls(batch, output.match, clip_features(output))

    def select(self, rows: Tensor) -> _View:
        features = None if self.features is None else self.features[rows]
        return _View(self.batch.select(rows), self.match[rows], features)


def span_loss(backbone: Backbone, output: BackboneOutput, batch: Batch) -> Tensor:
    """Return the backbone's L_span, or Σ_b CE with the label that windows of a query share."""
    if batch.mass is None:
        return backbone.span_loss(output, batch)
    both = zip((output.spans.start, output.spans.end), batch.mass.unbind(dim=1), strict=True)
    losses = [cross_entropy(label, log_probabilities(logits)).mean() for logits, label in both]
    return losses[0] + losses[1]


def clip_features(output: BackboneOutput) -> Tensor | None:
    """Return (B, L, D), what an order head reads: the encoded video, or what enters the gate.

    None where a backbone gives neither.
    """
    return output.own.get("video", getattr(output, "before_gate", None))


def match_loss(match: Tensor, batch: Batch) -> Tensor:
    """Return the mean binary cross-entropy of (B, L) logits over valid clips (L_intra)."""
    mask = batch.clip_mask
    positions = torch.arange(match.shape[1], device=match.device)
    inside = (positions >= batch.start[:, None]) & (positions <= batch.end[:, None])
    losses = F.binary_cross_entropy_with_logits(match, inside.to(match.dtype), reduction="none")
    return (losses * mask).sum() / mask.sum()


def match_divergence(
    original: Tensor, batch: Batch, moved: Tensor, copy: Batch, stop: str
) -> Tensor:
    """Return the mean KL(a^o ‖ a^p) of match scores inside the moment, aligned by place (L_inter).

    The softmax over a moment is computed stably, where the published code adds 1e-4 instead.
    """
    log_o = _inside(original, batch)
    log_p = _inside(moved, copy)
    if stop == "original":
        log_o = log_o.detach()
    elif stop == "moved":
        log_p = log_p.detach()
    return (log_o.exp() * (log_o - log_p)).sum(dim=1).mean()


def _inside(match: Tensor, batch: Batch) -> Tensor:
    """Return (B, K) log softmax over each moment's clips, the moment's first clip in column 0."""
    length = batch.end - batch.start + 1
    steps = torch.arange(int(length.max()), device=match.device)
    index = (batch.start[:, None] + steps).clamp(max=match.shape[1] - 1)
    logits = match.gather(1, index).masked_fill(steps >= length[:, None], NEGATIVE)
    return log_probabilities(logits)
