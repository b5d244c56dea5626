"""Losses of a teacher: span cross-entropy, the backbone's own, and what a recipe adds."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from refkd.data.batch import Batch
from refkd.distill.distributions import log_probabilities
from refkd.distill.terms import LossTerms
from refkd.models.backbone import NEGATIVE, Backbone, BackboneOutput
from refkd.recipes.config import RecipeConfig
from refkd.recipes.translate import translate
from refkd.seeds import generator


class TeacherLoss:
    """The loss of one batch under a recipe."""

    def __init__(self, recipe: RecipeConfig) -> None:
        self.recipe = recipe

    def __call__(self, backbone: Backbone, batch: Batch, *, seed: int, epoch: int) -> LossTerms:
        """Return the loss and its parts; augmentation is a function of (seed, epoch, pair)."""
        recipe = self.recipe
        original: BackboneOutput = backbone(batch)
        total = batch.features.new_zeros(())
        parts: dict[str, Tensor] = {}
        if recipe.keep_original:
            parts["span"] = backbone.span_loss(original, batch)
            parts["aux"] = backbone.auxiliary_loss(original, batch)
            total = total + parts["span"] + parts["aux"]
            if recipe.w_match > 0:
                parts["match"] = match_loss(original.match, batch)
                total = total + recipe.w_match * parts["match"]
        rows = self._copied(batch, seed=seed, epoch=epoch)
        if recipe.augment != "none" and len(rows) > 0:
            weighted, copy_parts = self._copy_loss(
                backbone, batch.select(rows), original.match[rows], seed=seed, epoch=epoch
            )
            total = total + weighted
            parts |= copy_parts
        return LossTerms(total=total, parts={k: v.detach() for k, v in parts.items()})

    def _copied(self, batch: Batch, *, seed: int, epoch: int) -> Tensor:
        """Return the rows that get a copy in this epoch."""
        if self.recipe.p_aug >= 1.0:
            return torch.arange(len(batch), device=batch.clips.device)
        draws = [generator(seed, "copy", epoch, p).random() for p in batch.pairs.tolist()]
        chosen = [row for row, draw in enumerate(draws) if draw < self.recipe.p_aug]
        return torch.tensor(chosen, dtype=torch.int64, device=batch.clips.device)

    def _copy_loss(
        self, backbone: Backbone, batch: Batch, match: Tensor, *, seed: int, epoch: int
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the weighted losses on the moved copy, and each of them alone."""
        recipe = self.recipe
        copy = translate(batch, seed=seed, epoch=epoch)
        output: BackboneOutput = backbone(copy)
        weights = {
            "span_aug": recipe.w_span_aug,
            "match_aug": recipe.w_match,
            "match_kl": recipe.w_kl,
            "aux_aug": recipe.w_highlight_aug,
        }
        losses = {
            "span_aug": backbone.span_loss(output, copy),
            "match_aug": match_loss(output.match, copy),
            "match_kl": match_divergence(match, batch, output.match, copy, recipe.kl_stop_grad),
            "aux_aug": backbone.auxiliary_loss(output, copy),
        }
        used = {name: loss for name, loss in losses.items() if weights[name] > 0}
        total = sum((weights[n] * loss for n, loss in used.items()), batch.features.new_zeros(()))
        return total, used


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
