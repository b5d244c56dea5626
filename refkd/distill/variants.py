"""The method's variants by the names of the paper's tables, and by what else can be switched.

>>> VARIANTS["w/o DR"].config().reweighting
False
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from refkd.distill.config import DistillConfig


@dataclass(frozen=True, kw_only=True, slots=True)
class Variant:
    """Settings of the section `distill` that make one row of a table."""

    description: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    """What differs from the base, nested as in a study file."""
    tables: tuple[int, ...] = ()
    """The paper's tables that have this row."""

    def config(self, base: DistillConfig = DistillConfig()) -> DistillConfig:  # noqa: B008 - frozen
        """Return a base with this variant's settings in the place of its own."""
        values = base.model_dump()
        for key, value in self.settings.items():
            values[key] = {**values[key], **value} if isinstance(value, dict) else value
        return DistillConfig.model_validate(values)


NO_SIDE = {"lambda_id": 0.0, "lambda_ood": 0.0}
NO_REFLECTION = {"rectification": "none", "reweighting": False}

VARIANTS: dict[str, Variant] = {
    "RefKD": Variant(description="The whole method, with the base's settings.", tables=(3, 4, 5)),
    "w/o LR": Variant(
        description="No label rectification: teachers are re-weighted as they are.",
        settings={"rectification": "none"},
        tables=(3, 5),
    ),
    "w/o DR": Variant(
        description="No dynamic re-weighting: rectified teachers keep the weights of (3), (4).",
        settings={"reweighting": False},
        tables=(3,),
    ),
    "w/o both": Variant(
        description="Neither: the target of (5) to the end, beside the side losses of (8).",
        settings=NO_REFLECTION,
        tables=(3,),
    ),
    "Pure GT": Variant(
        description="The ground truth alone where a teacher's IoU is below δ = 0.3.",
        settings={"rectification": "pure_gt", "pure_gt": {"delta": 0.3, "source": "teacher"}},
        tables=(4,),
    ),
    "Window f": Variant(
        description="Teachers times a window around the ground truth, (13) and (14), by index.",
        settings={"rectification": "window", "window": {"x": "index"}},
        tables=(4,),
    ),
    "IntroD only": Variant(
        description="Introspection alone, (1) to (6): no side branch learns or is heard.",
        settings={**NO_REFLECTION, **NO_SIDE},
    ),
    "w/o side curriculum": Variant(
        description="λ = 0 in (8): π and ρ are read from side branches that never learn.",
        settings=NO_SIDE,
    ),
}
"""The rows of Tables 3, 4 and 5, then those that the paper leaves out."""

READINGS: dict[str, Variant] = {
    "Window f, as printed": Variant(
        description="The literal (13), whose distance is between probabilities (A19).",
        settings={"rectification": "window", "window": {"x": "prob"}},
    ),
    "weight sense": Variant(
        description="The teacher that fits better weighs more, against (3) (A6).",
        settings={"introd": {"invert": False}},
    ),
    "no side loss in warm-up": Variant(
        description="The side branches begin to learn when the warm-up ends (A8).",
        settings={"side_in_warmup": False},
    ),
    "detached side": Variant(
        description="The side branches do not teach the trunk (A12).",
        settings={"detach_side": True},
    ),
    "soft labels": Variant(
        description="Half of the ground truth on its clip, a quarter on each neighbour (A7).",
        settings={"introd": {"gt": "soft"}},
    ),
    "live teachers": Variant(
        description="Both teachers run in the loop instead of their knowledge (A26).",
        settings={"teacher_cache": "off"},
    ),
}
"""Other readings of the paper, one switch each."""


def warmup_sweep(lengths: tuple[int, ...] = (0, 5, 10, 20, 40, 60)) -> dict[str, Variant]:
    """Return a variant for each warm-up length W, as in Figure 3.

    >>> list(warmup_sweep((0, 20)))
    ['W = 0', 'W = 20']
    """
    return {
        f"W = {length}": Variant(
            description=f"{length} epochs are taught by the ensemble (5) alone.",
            settings={"warmup_epochs": length},
        )
        for length in lengths
    }
