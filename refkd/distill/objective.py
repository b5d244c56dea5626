"""The student's loss: Algorithm 1 of the paper for one batch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from refkd.data.batch import Batch
from refkd.distill import extrospect, introspect, rectify
from refkd.distill.config import DistillConfig
from refkd.distill.distributions import (
    cross_entropy,
    kl,
    log_probabilities,
    one_hot,
    soft_labels,
)
from refkd.distill.introspect import Boundary, Role, Weights
from refkd.distill.loss_terms import LossTerms
from refkd.distill.student import StudentOutput
from refkd.models.backbone import SpanLogits
from refkd.models.decode import decode


class Bounded(Protocol):
    """What holds something of both boundaries: logits, a target, or a batch's true clips."""

    @property
    def start(self) -> Tensor: ...
    @property
    def end(self) -> Tensor: ...


def by_boundary(both: Bounded) -> dict[Boundary, Tensor]:
    """Return what `both` holds by boundary, start first."""
    return {"start": both.start, "end": both.end}


@dataclass(frozen=True, kw_only=True, slots=True)
class TeacherLogits:
    """What both frozen teachers say of a batch, at temperature 1."""

    id: SpanLogits
    ood: SpanLogits

    def by_role(self) -> dict[Role, SpanLogits]:
        """Return the logits by teacher, ID first."""
        return {"id": self.id, "ood": self.ood}


@dataclass(frozen=True, kw_only=True, slots=True)
class Target:
    """P^T_b of (5) or P̃^T_b of (12), with the quantities it was made from."""

    start: Tensor
    end: Tensor
    facts: dict[str, Tensor]


class ReflectiveLoss:
    """L = T² Σ_b KL(target_b ‖ P^S_b) + L_side + L_aux, with the target of the epoch's phase.

    >>> loss = ReflectiveLoss(DistillConfig(warmup_epochs=5))
    >>> loss.is_warm(4), loss.is_warm(5)  # taught by (5), taught by (12)
    (True, False)
    """

    def __init__(self, config: DistillConfig) -> None:
        self.config = config

    def is_warm(self, epoch: int) -> bool:
        """Return whether an epoch, counted from 0, belongs to the warm-up."""
        return epoch < self.config.warmup_epochs

    def __call__(
        self,
        output: StudentOutput,
        batch: Batch,
        teachers: TeacherLogits,
        *,
        auxiliary: Tensor,
        warm: bool,
    ) -> LossTerms:
        """Return the loss of a batch; `auxiliary` is the backbone's own loss L_aux.

        Terms are summed (or averaged) over the boundaries and averaged over the batch. The facts
        logged beside them are means over the batch as well.
        """
        config = self.config
        target = self.target(output, batch, teachers, warm=warm)
        parts = {"kd": self._divergence(target, output.main.spans)}
        sides = output.sides()
        for k, teacher in teachers.by_role().items():
            parts[f"side_{k}"] = self._side(teacher, sides[k])
        parts["aux"] = auxiliary
        total = parts["kd"] + config.aux_weight * auxiliary
        if config.side_in_warmup or not warm:
            total = total + config.lambda_id * parts["side_id"]
            total = total + config.lambda_ood * parts["side_ood"]
        if config.lambda_ce > 0:
            parts["ce"] = self._hard_loss(output.main.spans, batch)
            total = total + config.lambda_ce * parts["ce"]
        facts = {name: value.mean() for name, value in target.facts.items()}
        logged = {name: part.detach() for name, part in parts.items()}
        return LossTerms(total=total, parts={**logged, **facts})

    @torch.no_grad()
    def target(
        self, output: StudentOutput, batch: Batch, teachers: TeacherLogits, *, warm: bool
    ) -> Target:
        """Return the distributions the main head is taught: (5) in the warm-up, (12) after it."""
        weights = self.introspection(batch, teachers)
        facts = {f"w_id_{b}": of_both[0] for b, of_both in weights.items()}
        if warm:
            made = {b: self._ensemble(b, weights[b], teachers) for b in weights}
        else:
            sides = output.sides()
            rho = {k: self._confidence(side, batch) for k, side in sides.items()}
            pi = {k: self._affinity(said, sides[k]) for k, said in teachers.by_role().items()}
            for k in sides:
                facts |= {f"pi_{k}": pi[k], f"rho_{k}": rho[k]}
                facts[f"rho_{k}_is_0"] = (rho[k] == 0).to(rho[k].dtype)
                facts[f"rho_{k}_is_1"] = (rho[k] == 1).to(rho[k].dtype)
            made = {b: self._reflective(b, weights[b], pi, rho, batch, teachers) for b in weights}
        student = by_boundary(output.main.spans)
        for b, true in by_boundary(batch).items():
            index = true[:, None]
            facts[f"target_mass_{b}"] = made[b].gather(1, index)[:, 0]
            facts[f"student_mass_{b}"] = log_probabilities(student[b]).gather(1, index)[:, 0].exp()
        return Target(start=made["start"], end=made["end"], facts=facts)

    def introspection(self, batch: Batch, teachers: TeacherLogits) -> dict[Boundary, Weights]:
        """Return (w^ID, w^OOD) by boundary, equations (1) to (4): (B,) each."""
        losses = {
            k: {
                b: introspect.teacher_loss(
                    _wide(logits),
                    self._truth(batch, b, logits),
                    batch.clip_mask,
                    ce=self.config.introd.ce,
                )
                for b, logits in by_boundary(said).items()
            }
            for k, said in teachers.by_role().items()
        }
        return introspect.weigh_boundaries(losses, self.config.introd)

    def _truth(self, batch: Batch, boundary: Boundary, like: Tensor) -> Tensor:
        if self.config.introd.gt == "soft" and batch.mass is None:
            index = by_boundary(batch)[boundary]
            return soft_labels(index, batch.clips, _wide(like))
        return self._label(batch, boundary, _wide(like))

    def _label(self, batch: Batch, boundary: Boundary, like: Tensor) -> Tensor:
        """Return I_b, or what windows of a query share of it, in the type of `like`."""
        if batch.mass is None:
            return one_hot(by_boundary(batch)[boundary], like)
        return batch.mass[:, 0 if boundary == "start" else 1].to(like.dtype)

    def _ensemble(self, boundary: Boundary, weights: Weights, teachers: TeacherLogits) -> Tensor:
        p_id = self._log_teacher(teachers.id, boundary).exp()
        p_ood = self._log_teacher(teachers.ood, boundary).exp()
        return introspect.ensemble(weights, p_id, p_ood)

    def _reflective(
        self,
        boundary: Boundary,
        weights: Weights,
        pi: Mapping[Role, Tensor],
        rho: Mapping[Role, Tensor],
        batch: Batch,
        teachers: TeacherLogits,
    ) -> Tensor:
        """Return P̃^T_b: each teacher rectified, then both re-weighted."""
        p_id = self._rectified(teachers.id, boundary, rho["id"], batch)
        p_ood = self._rectified(teachers.ood, boundary, rho["ood"], batch)
        if self.config.reweighting:
            weights = extrospect.reweight(
                weights, (pi["id"], pi["ood"]), norm=self.config.reweight_norm
            )
        return introspect.ensemble(weights, p_id, p_ood)

    def _rectified(
        self, teacher: SpanLogits, boundary: Boundary, rho: Tensor, batch: Batch
    ) -> Tensor:
        config = self.config
        log_p = self._log_teacher(teacher, boundary)
        if config.rectification == "none":
            return log_p.exp()
        index = by_boundary(batch)[boundary]
        if config.rectification == "window":
            return rectify.window(log_p, index, batch.clips, rho, config.window)
        truth = self._truth(batch, boundary, log_p)
        if config.rectification == "mixed":
            return rectify.mixed(log_p.exp(), truth, rho)
        iou = rho
        if config.pure_gt.source == "teacher":
            iou = extrospect.index_iou(*decode(teacher.start, teacher.end), batch.start, batch.end)
        return rectify.pure_gt(log_p.exp(), truth, iou, config.pure_gt.delta)

    def _log_teacher(self, teacher: SpanLogits, boundary: Boundary) -> Tensor:
        return log_probabilities(by_boundary(teacher)[boundary], self.config.kd_temperature)

    def _affinity(self, teacher: SpanLogits, side: SpanLogits) -> Tensor:
        return extrospect.affinity(
            teacher,
            side,
            measure=self.config.affinity,
            swapped=self.config.affinity_order == "swapped",
        )

    def _confidence(self, side: SpanLogits, batch: Batch) -> Tensor:
        if self.config.rho == "seconds":
            return extrospect.confidence_in_time(side, batch.moment)
        if self.config.rho == "expected":
            return extrospect.expected_confidence(side, batch.start, batch.end)
        return extrospect.confidence(side, batch.start, batch.end)

    def _divergence(self, target: Target, student: SpanLogits) -> Tensor:
        """Return T² Σ_b KL(target_b ‖ P^S_b), equation (6)."""
        scale, said = self.config.kd_temperature**2, by_boundary(student)
        losses = [
            kl(taught, log_probabilities(said[b], self.config.kd_temperature))
            for b, taught in by_boundary(target).items()
        ]
        return scale * self._reduce(losses)

    def _side(self, teacher: SpanLogits, side: SpanLogits) -> Tensor:
        """Return T² Σ_b KL(P^k_b ‖ P'^k_b), one teacher's part of equation (8)."""
        said = by_boundary(side)
        losses = [
            extrospect.side_divergence(
                taught,
                said[b],
                temperature=self.config.kd_temperature,
                reverse=self.config.side_kl == "reverse",
            )
            for b, taught in by_boundary(teacher).items()
        ]
        return self.config.kd_temperature**2 * self._reduce(losses)

    def _hard_loss(self, spans: SpanLogits, batch: Batch) -> Tensor:
        losses = []
        for b, logits in by_boundary(spans).items():
            log_p = log_probabilities(logits)
            losses.append(cross_entropy(self._label(batch, b, log_p), log_p))
        return self._reduce(losses)

    def _reduce(self, losses: list[Tensor]) -> Tensor:
        total = torch.stack(losses).sum(dim=0).mean()
        return total / len(losses) if self.config.boundary_reduction == "mean" else total


def _wide(logits: Tensor) -> Tensor:
    return logits if logits.dtype == torch.float64 else logits.float()
