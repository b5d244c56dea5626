"""The student's loss: Algorithm 1 of the paper for one batch."""

from __future__ import annotations

from dataclasses import dataclass

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
from refkd.distill.student import StudentOutput
from refkd.distill.terms import LossTerms
from refkd.models.backbone import SpanLogits
from refkd.models.decode import decode

BOUNDARIES = ("start", "end")
TEACHERS = ("id", "ood")


@dataclass(frozen=True, kw_only=True, slots=True)
class TeacherLogits:
    """What both frozen teachers say of a batch, at temperature 1."""

    id: SpanLogits
    ood: SpanLogits


@dataclass(frozen=True, kw_only=True, slots=True)
class Target:
    """P^T_b of (5) or P̃^T_b of (12), with the quantities it was made from."""

    start: Tensor
    end: Tensor
    facts: dict[str, Tensor]


class ReflectiveLoss:
    """L = T² Σ_b KL(target_b ‖ P^S_b) + L_side + L_aux, with the target of the epoch's phase."""

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
        for k in TEACHERS:
            parts[f"side_{k}"] = self._side(getattr(teachers, k), getattr(output, f"side_{k}"))
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
        facts = {f"w_id_{b}": weights[b][0] for b in BOUNDARIES}
        if warm:
            made = {b: self._ensemble(b, weights[b], teachers) for b in BOUNDARIES}
        else:
            rho = {k: self._confidence(getattr(output, f"side_{k}"), batch) for k in TEACHERS}
            pi = {
                k: self._affinity(getattr(teachers, k), getattr(output, f"side_{k}"))
                for k in TEACHERS
            }
            for k in TEACHERS:
                facts |= {f"pi_{k}": pi[k], f"rho_{k}": rho[k]}
                facts[f"rho_{k}_is_0"] = (rho[k] == 0).to(rho[k].dtype)
                facts[f"rho_{k}_is_1"] = (rho[k] == 1).to(rho[k].dtype)
            made = {
                b: self._reflective(b, weights[b], pi, rho, batch, teachers) for b in BOUNDARIES
            }
        for b in BOUNDARIES:
            index = getattr(batch, b)[:, None]
            facts[f"target_mass_{b}"] = made[b].gather(1, index)[:, 0]
            log_student = log_probabilities(getattr(output.main.spans, b))
            facts[f"student_mass_{b}"] = log_student.gather(1, index)[:, 0].exp()
        return Target(start=made["start"], end=made["end"], facts=facts)

    def introspection(
        self, batch: Batch, teachers: TeacherLogits
    ) -> dict[str, tuple[Tensor, Tensor]]:
        """Return (w^ID, w^OOD) by boundary, equations (1) to (4): (B,) each."""
        losses = {
            k: {
                b: introspect.teacher_loss(
                    _wide(getattr(getattr(teachers, k), b)),
                    self._truth(batch, b, getattr(getattr(teachers, k), b)),
                    batch.clip_mask,
                    ce=self.config.introd.ce,
                )
                for b in BOUNDARIES
            }
            for k in TEACHERS
        }
        return introspect.weigh_boundaries(losses, self.config.introd)

    def _truth(self, batch: Batch, boundary: str, like: Tensor) -> Tensor:
        index: Tensor = getattr(batch, boundary)
        if self.config.introd.gt == "soft":
            return soft_labels(index, batch.clips, _wide(like))
        return one_hot(index, _wide(like))

    def _ensemble(
        self, boundary: str, weights: tuple[Tensor, Tensor], teachers: TeacherLogits
    ) -> Tensor:
        p_id, p_ood = (self._log_teacher(getattr(teachers, k), boundary).exp() for k in TEACHERS)
        return introspect.ensemble(weights, p_id, p_ood)

    def _reflective(
        self,
        boundary: str,
        weights: tuple[Tensor, Tensor],
        pi: dict[str, Tensor],
        rho: dict[str, Tensor],
        batch: Batch,
        teachers: TeacherLogits,
    ) -> Tensor:
        """Return P̃^T_b: each teacher rectified, then both re-weighted."""
        rectified = {
            k: self._rectified(getattr(teachers, k), boundary, rho[k], batch) for k in TEACHERS
        }
        if self.config.reweighting:
            weights = extrospect.reweight(
                weights, (pi["id"], pi["ood"]), norm=self.config.reweight_norm
            )
        return introspect.ensemble(weights, rectified["id"], rectified["ood"])

    def _rectified(self, teacher: SpanLogits, boundary: str, rho: Tensor, batch: Batch) -> Tensor:
        config = self.config
        log_p = self._log_teacher(teacher, boundary)
        if config.rectification == "none":
            return log_p.exp()
        index: Tensor = getattr(batch, boundary)
        if config.rectification == "window":
            return rectify.window(log_p, index, batch.clips, rho, config.window)
        truth = self._truth(batch, boundary, log_p)
        if config.rectification == "mixed":
            return rectify.mixed(log_p.exp(), truth, rho)
        iou = rho
        if config.pure_gt.source == "teacher":
            iou = extrospect.index_iou(*decode(teacher.start, teacher.end), batch.start, batch.end)
        return rectify.pure_gt(log_p.exp(), truth, iou, config.pure_gt.delta)

    def _log_teacher(self, teacher: SpanLogits, boundary: str) -> Tensor:
        return log_probabilities(getattr(teacher, boundary), self.config.kd_temperature)

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
        scale = self.config.kd_temperature**2
        losses = [
            kl(
                getattr(target, b),
                log_probabilities(getattr(student, b), self.config.kd_temperature),
            )
            for b in BOUNDARIES
        ]
        return scale * self._reduce(losses)

    def _side(self, teacher: SpanLogits, side: SpanLogits) -> Tensor:
        """Return T² Σ_b KL(P^k_b ‖ P'^k_b), one teacher's part of equation (8)."""
        losses = [
            extrospect.side_divergence(
                getattr(teacher, b),
                getattr(side, b),
                temperature=self.config.kd_temperature,
                reverse=self.config.side_kl == "reverse",
            )
            for b in BOUNDARIES
        ]
        return self.config.kd_temperature**2 * self._reduce(losses)

    def _hard_loss(self, spans: SpanLogits, batch: Batch) -> Tensor:
        losses = []
        for b in BOUNDARIES:
            log_p = log_probabilities(getattr(spans, b))
            losses.append(cross_entropy(one_hot(getattr(batch, b), log_p), log_p))
        return self._reduce(losses)

    def _reduce(self, losses: list[Tensor]) -> Tensor:
        total = torch.stack(losses).sum(dim=0).mean()
        return total / len(losses) if self.config.boundary_reduction == "mean" else total


def _wide(logits: Tensor) -> Tensor:
    return logits if logits.dtype == torch.float64 else logits.float()
