"""The method's hyperparameters: recommended readings by default, the other ones as switches.

"A4" and the like are the ambiguities of the paper as listed in `docs/method.md`.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from refkd.config import Settings


class IntrospectionConfig(Settings):
    """How the teachers are weighed by their fit to the ground truth, equations (1) to (5)."""

    ce: Literal["position", "bce"] = "position"
    """A1: cross-entropy over clip positions, or binary cross-entropy summed over them."""
    per_boundary: bool = True
    """A5: a weight for the start and one for the end, or one from the sum of both losses."""
    invert: bool = True
    """A6: the teacher that fits worse weighs more, as in (3); false turns that round."""
    gt: Literal["hard", "soft"] = "hard"
    """A7: the ground truth as one clip, or half on it and a quarter on each neighbour."""


class PureGTConfig(Settings):
    """The ablation "Pure GT": the label alone where a prediction is too far off."""

    delta: float = Field(default=0.3, ge=0, le=1)
    """δ, the IoU below which the ground truth replaces the teacher."""
    source: Literal["teacher", "side"] = "teacher"
    """A22: whose span is judged, the teacher's or its side branch's."""


class WindowConfig(Settings):
    """The ablation "Window f", equations (13) and (14)."""

    tau: float = Field(default=0.05, gt=0)
    """τ, the width of the window."""
    x: Literal["index", "prob"] = "index"
    """A19: distance of clips from the ground truth, or the formula as printed."""
    unit: Literal["fraction", "clips"] = "fraction"
    """A20: distance as a share of the video, or in clips."""


class DistillConfig(Settings):
    """Reflective distillation, section 3 of the paper.

    >>> DistillConfig(warmup_epochs=5).total_epochs(20)
    20
    """

    lambda_id: float = Field(default=0.1, ge=0)
    """λ_ID of (8), the weight of the ID side branch ("usually small values")."""
    lambda_ood: float = Field(default=0.1, ge=0)
    """λ_OOD of (8), the weight of the OOD side branch."""
    warmup_epochs: int = Field(default=20, ge=0)
    """W, epochs taught by the introspective ensemble (5) alone."""
    warmup_extra: bool = False
    """A9: whether warm-up epochs come on top of the training epochs."""
    kd_temperature: float = Field(default=1.0, gt=0)
    """A21: T of teachers and student inside the KL terms, scaled by T²; 1 is the paper."""
    lambda_ce: float = Field(default=0.0, ge=0)
    """A10: weight of the ground truth's cross-entropy on the student's main head."""
    aux_weight: float = Field(default=1.0, ge=0)
    """A11: weight of the backbone's own losses."""
    introd: IntrospectionConfig = IntrospectionConfig()
    """Introspection, equations (1) to (5)."""
    rectification: Literal["mixed", "pure_gt", "window", "none"] = "mixed"
    """Label rectification: (11), the ablations of Table 4, or none (w/o LR)."""
    pure_gt: PureGTConfig = PureGTConfig()
    """Read where `rectification` is pure_gt."""
    window: WindowConfig = WindowConfig()
    """Read where `rectification` is window."""
    reweighting: bool = True
    """Dynamic re-weighting by affinity, (12); false is w/o DR."""
    reweight_norm: Literal["exact", "const"] = "exact"
    """A18: λ of (12) as the exact normaliser, or the constant 2 with normalised affinities."""
    side_in_warmup: bool = True
    """A8: whether the side branches are trained during the warm-up."""
    side_kl: Literal["forward", "reverse"] = "forward"
    """A4: KL(P^k ‖ P'^k), or KL(P'^k ‖ P^k) as printed in (8)."""
    side_input: Literal["fused", "pre_gate"] = "fused"
    """A14: features that enter the side branches, after or before the backbone's gate."""
    side_predictor: Literal["own", "shared"] = "own"
    """A13: a span predictor of each branch's own, or the main one."""
    detach_side: bool = False
    """A12: whether the side branches' gradient stops before the trunk."""
    affinity: Literal["ce", "kl"] = "ce"
    """A17: π of (9) from the cross-entropy, or from the KL divergence."""
    affinity_order: Literal["teacher_target", "swapped"] = "teacher_target"
    """A3: which of teacher and side branch is the target in (9)."""
    rho: Literal["clips", "seconds", "expected"] = "clips"
    """A16: ρ of (10) in clip indices, in time, or expected over the branch's spans."""
    boundary_reduction: Literal["sum", "mean"] = "sum"
    """A24: how the start and the end terms are put together."""
    teacher_cache: Literal["on", "off"] = "on"
    """A26: teachers' logits from knowledge, or both teachers live in the loop."""
    student_init: Literal["scratch", "id_teacher"] = "scratch"
    """A27: fresh weights, or those of the ID teacher."""

    def total_epochs(self, epochs: int) -> int:
        """Return the epochs a student trains for, given E."""
        return epochs + self.warmup_epochs if self.warmup_extra else epochs
