"""Every named variant switches off what its name says, and nothing else."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from cases import Case, cases
from hypothesis import given
from torch import Tensor

from refkd.distill import DistillConfig, ReflectiveLoss
from refkd.distill.distributions import log_probabilities, one_hot
from refkd.distill.extrospect import index_iou
from refkd.distill.variants import READINGS, VARIANTS, Variant, warmup_sweep
from refkd.models.backbone import NEGATIVE, SpanLogits
from refkd.models.decode import decode

BOUNDARIES = ("start", "end")
EVERY = {**VARIANTS, **READINGS, **warmup_sweep()}


def target(case: Case, variant: Variant, *, warm: bool = False) -> dict[str, Tensor]:
    made = ReflectiveLoss(variant.config()).target(
        case.output, case.batch, case.teachers, warm=warm
    )
    return {b: getattr(made, b) for b in BOUNDARIES}


def ensemble(case: Case) -> dict[str, Tensor]:
    """Return equation (5)."""
    loss = ReflectiveLoss(DistillConfig())
    weights = loss.introspection(case.batch, case.teachers)
    return {
        b: sum(
            w[:, None] * log_probabilities(getattr(getattr(case.teachers, k), b)).exp()
            for w, k in zip(weights[b], ("id", "ood"), strict=True)
        )
        for b in BOUNDARIES
    }


def with_sides(case: Case, scale: float) -> Case:
    """Return the case with other side branches, which change π and ρ alone."""

    def other(spans: SpanLogits) -> SpanLogits:
        drawn = (getattr(spans, b).flip(0, 1).clamp(-9, 9) * scale for b in BOUNDARIES)
        start, end = (x.masked_fill(~case.batch.clip_mask, NEGATIVE) for x in drawn)
        return SpanLogits(start=start, end=end)

    output = replace(
        case.output, side_id=other(case.output.side_id), side_ood=other(case.output.side_ood)
    )
    return replace(case, output=output)


def assert_same(a: dict[str, Tensor], b: dict[str, Tensor]) -> None:
    for boundary in BOUNDARIES:
        torch.testing.assert_close(a[boundary], b[boundary], atol=1e-12, rtol=1e-10)


def side_gradients(case: Case, variant: Variant, *, warm: bool) -> dict[str, bool]:
    """Return whether each side branch gets a gradient."""
    leaves = {
        f"{k}.{b}": getattr(getattr(case.output, f"side_{k}"), b).clone().requires_grad_()
        for k in ("id", "ood")
        for b in BOUNDARIES
    }
    sides = {
        f"side_{k}": SpanLogits(**{b: leaves[f"{k}.{b}"] for b in BOUNDARIES})
        for k in ("id", "ood")
    }
    spans = replace(case.output.main.spans, start=case.output.main.spans.start.requires_grad_())
    output = replace(case.output, main=replace(case.output.main, spans=spans), **sides)
    zero = torch.zeros((), dtype=torch.float64)
    loss = ReflectiveLoss(variant.config())
    loss(output, case.batch, case.teachers, auxiliary=zero, warm=warm).total.backward()
    return {
        name: leaf.grad is not None and bool((leaf.grad != 0).any())
        for name, leaf in leaves.items()
    }


@pytest.mark.parametrize("name", ["w/o both", "IntroD only"])
@given(case=cases())
def test_without_reflection_the_target_is_the_ensemble_to_the_end(name: str, case: Case) -> None:
    assert_same(target(case, VARIANTS[name]), ensemble(case))
    assert_same(target(case, VARIANTS[name]), target(case, VARIANTS["RefKD"], warm=True))


@given(case=cases())
def test_without_rectification_the_target_is_made_of_the_teachers_alone(case: Case) -> None:
    """u^ID P^ID + u^OOD P^OOD, of which both teachers' mass bounds the target's."""
    made = target(case, VARIANTS["w/o LR"])
    for b in BOUNDARIES:
        p = [log_probabilities(getattr(getattr(case.teachers, k), b)).exp() for k in ("id", "ood")]
        assert (made[b] <= torch.maximum(*p) + 1e-12).all()
        assert (made[b] >= torch.minimum(*p) - 1e-12).all()


@given(case=cases())
def test_without_re_weighting_rectified_teachers_keep_their_weights(case: Case) -> None:
    loss = ReflectiveLoss(DistillConfig())
    weights = loss.introspection(case.batch, case.teachers)
    made = target(case, VARIANTS["w/o DR"])
    for b in BOUNDARIES:
        expected = torch.zeros_like(made[b])
        for w, k in zip(weights[b], ("id", "ood"), strict=True):
            teacher, side = getattr(case.teachers, k), getattr(case.output, f"side_{k}")
            truth = one_hot(getattr(case.batch, b), getattr(teacher, b))
            found = decode(side.start, side.end)
            rho = index_iou(*found, case.batch.start, case.batch.end).double()[:, None]
            p = log_probabilities(getattr(teacher, b)).exp()
            expected += w[:, None] * (rho * p + (1 - rho) * truth)
        torch.testing.assert_close(made[b], expected, atol=1e-9, rtol=1e-9)


@given(case=cases())
def test_pure_ground_truth_replaces_teachers_that_are_off(case: Case) -> None:
    settings = {**VARIANTS["Pure GT"].settings, "reweighting": False}
    made = target(case, replace(VARIANTS["Pure GT"], settings=settings))
    weights = ReflectiveLoss(DistillConfig()).introspection(case.batch, case.teachers)
    for b in BOUNDARIES:
        expected = torch.zeros_like(made[b])
        for w, k in zip(weights[b], ("id", "ood"), strict=True):
            teacher = getattr(case.teachers, k)
            iou = index_iou(*decode(teacher.start, teacher.end), case.batch.start, case.batch.end)
            truth = one_hot(getattr(case.batch, b), getattr(teacher, b))
            p = log_probabilities(getattr(teacher, b)).exp()
            expected += w[:, None] * torch.where((iou < 0.3)[:, None], truth, p)
        torch.testing.assert_close(made[b], expected, atol=1e-9, rtol=1e-9)


@given(case=cases())
def test_the_window_never_takes_mass_off_the_ground_truth(case: Case) -> None:
    """By index; as printed it does (A19), which the reading beside it is there to show."""
    made, plain = target(case, VARIANTS["Window f"]), target(case, VARIANTS["w/o LR"])
    for b in BOUNDARIES:
        index = getattr(case.batch, b)[:, None]
        assert (made[b].gather(1, index) >= plain[b].gather(1, index) - 1e-9).all()


@pytest.mark.parametrize("name", list(EVERY))
@pytest.mark.parametrize("warm", [True, False])
@given(case=cases())
def test_who_teaches_the_side_branches(name: str, warm: bool, case: Case) -> None:
    reached = side_gradients(case, EVERY[name], warm=warm)
    silent = name in ("IntroD only", "w/o side curriculum")
    silent = silent or (name == "no side loss in warm-up" and warm)
    if silent:
        assert not any(reached.values())
    elif int(case.batch.clips.min()) > 1:
        assert all(reached.values())


@pytest.mark.parametrize(
    ("name", "deaf"),
    [("w/o both", True), ("IntroD only", True), ("w/o LR", False), ("RefKD", False)],
)
def test_the_side_branches_have_a_say_where_they_are_heard(name: str, deaf: bool) -> None:
    heard = []

    @given(case=cases())
    def look(case: Case) -> None:
        before, after = (target(c, VARIANTS[name]) for c in (case, with_sides(case, 3.0)))
        heard.append(any(not torch.equal(before[b], after[b]) for b in BOUNDARIES))

    look()
    assert any(heard) != deaf


def test_the_papers_rows_are_there() -> None:
    rows = {
        table: [name for name, variant in VARIANTS.items() if table in variant.tables]
        for table in (3, 4, 5)
    }
    assert rows == {
        3: ["RefKD", "w/o LR", "w/o DR", "w/o both"],
        4: ["RefKD", "Pure GT", "Window f"],
        5: ["RefKD", "w/o LR"],
    }


def test_the_rows_of_table_4_are_one_switch_from_the_defaults() -> None:
    """So that δ = 0.3, too, is what a study has that names it nowhere."""
    for row, rectification in (("Pure GT", "pure_gt"), ("Window f", "window")):
        assert VARIANTS[row].config() == DistillConfig(rectification=rectification)


@pytest.mark.parametrize("name", list(EVERY))
def test_a_variant_keeps_what_it_does_not_name(name: str) -> None:
    variant = EVERY[name]
    base = DistillConfig.model_validate(
        {"kd_temperature": 2.5, "window": {"tau": 0.2}, "introd": {"per_boundary": False}}
    )
    changed = variant.config(base)
    assert (changed.kd_temperature, changed.introd.per_boundary) == (2.5, False)
    assert changed.window.tau == 0.2
    differs = {k for k in base.model_dump() if getattr(base, k) != getattr(changed, k)}
    assert differs <= set(variant.settings)
    assert variant.description.endswith(".")
    assert name == "RefKD" or variant.config() != DistillConfig() or name in ("Window f", "W = 20")
