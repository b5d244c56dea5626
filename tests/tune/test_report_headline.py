"""The one paragraph says what the intervals allow, and no more."""

from __future__ import annotations

import pytest

from refkd.evaluation.comparison import Figure
from tune.report.headline import compared
from tune.study.outcomes import Comparison


def figure(value: float, low: float, high: float) -> Figure:
    return Figure(value=value, low=low, high=high)


def comparison(
    to_id: tuple[float, float, float],
    to_ood: tuple[float, float, float],
    floor: float = 20.0,
) -> Comparison:
    """One student, `trial-0007`, of mIoU 40 [35, 45] on both roles."""
    own = figure(40.0, 35.0, 45.0)
    differences = {
        "trial-0007": {
            "teacher-id": {"miou": figure(*to_id)},
            "teacher-ood": {"miou": figure(*to_ood)},
        }
    }
    roles = ("val_id", "val_ood")
    return Comparison(
        pairs=dict.fromkeys(roles, 9),
        scores={role: {"trial-0007": {"miou": own}} for role in roles},
        differences=dict.fromkeys(roles, differences),
        gaps={},
        floors={role: {"constant": {"miou": floor}} for role in roles},
    )


@pytest.mark.parametrize(
    ("to_id", "to_ood", "words"),
    [
        (
            (3.0, 1.0, 5.0),
            (1.2, 0.3, 2.0),
            "trial 7 (best-ood) beats both teachers out of distribution, the better one (OOD "
            "teacher) by +1.20 [+0.30, +2.00] points of mIoU",
        ),
        (
            (3.0, 1.0, 5.0),
            (1.2, -0.3, 2.0),
            "no difference can be told out of distribution between trial 7 (best-ood) and the "
            "better teacher (OOD teacher): +1.20 [-0.30, +2.00] points of mIoU; it beats the ID "
            "teacher by +3.00 [+1.00, +5.00]",
        ),
        (
            (1.0, -1.0, 3.0),
            (-2.0, -3.0, -1.0),
            "trial 7 (best-ood) falls behind the OOD teacher out of distribution: -2.00 [-3.00, "
            "-1.00] points of mIoU",
        ),
        (
            (0.5, 0.0, 1.0),
            (1.0, 0.5, 1.5),
            "no difference can be told out of distribution between trial 7 (best-ood) and the "
            "better teacher (ID teacher): +0.50 [+0.00, +1.00] points of mIoU; it beats the OOD "
            "teacher by +1.00 [+0.50, +1.50]",
        ),
    ],
    ids=["beats both", "cannot be told", "falls behind", "touches zero"],
)
def test_a_difference_is_claimed_where_its_interval_holds_no_zero(
    to_id: tuple[float, float, float], to_ood: tuple[float, float, float], words: str
) -> None:
    found = compared(
        {"best-ood": 7}, comparison(to_id, to_ood), ("val_id", "val_ood"), "On validation"
    )
    assert found.text == f"On validation, {words}."


def test_a_trial_that_is_several_champions_is_told_of_once() -> None:
    champions = {"best-id": 7, "best-ood": 7, "best-balanced": 7}
    made = comparison((1.0, 0.5, 2.0), (1.0, 0.5, 2.0))
    found = compared(champions, made, ("val_id", "val_ood"), "On validation")
    text = " ".join([found.text, *found.sentences])
    assert text.count("beats both teachers out of distribution") == 1
    assert text.count("beats both teachers in distribution") == 1


@pytest.mark.parametrize(("floor", "clears"), [(34.9, True), (35.0, False), (50.0, False)])
def test_a_score_is_held_against_the_bias_floors(floor: float, clears: bool) -> None:
    made = comparison((1.0, 0.5, 2.0), (1.0, 0.5, 2.0), floor)
    found = compared({"best-ood": 7}, made, ("val_id", "val_ood"), "On validation")
    text = " ".join(found.sentences)
    assert ("It clears the bias floors" in text) is clears
    assert ("Beware: OOD" in text) is not clears
