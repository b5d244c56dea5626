"""The properties of the method (numbers as in its list of sanity properties), in float64."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from cases import Case, cases, make_batch, output_of, perfect
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from torch import Tensor

from refkd.distill import DistillConfig, ReflectiveLoss, TeacherLogits, WindowConfig
from refkd.distill.distributions import cross_entropy, kl, log_probabilities, one_hot, soft_labels
from refkd.distill.extrospect import (
    affinity,
    confidence,
    confidence_in_time,
    expected_confidence,
    index_iou,
    reweight,
)
from refkd.distill.introspect import introspective_weights
from refkd.distill.rectify import mixed, window
from refkd.models.backbone import SpanLogits

TIGHT = {"atol": 1e-12, "rtol": 1e-10}
VARIANTS = [
    {},
    {"rectification": "none"},
    {"reweighting": False},
    {"rectification": "none", "reweighting": False},
    {"rectification": "pure_gt"},
    {"rectification": "pure_gt", "pure_gt": {"source": "side"}},
    {"rectification": "window"},
    {"rectification": "window", "window": {"x": "prob", "tau": 0.5}},
    {"rectification": "window", "window": {"unit": "clips"}},
    {"introd": {"per_boundary": False}},
    {"introd": {"invert": False}},
    {"introd": {"ce": "bce"}},
    {"introd": {"gt": "soft"}},
    {"affinity": "kl"},
    {"affinity_order": "swapped"},
    {"rho": "seconds"},
    {"rho": "expected"},
    {"kd_temperature": 3.0},
]
BOUNDARIES = ("start", "end")
everywhere = pytest.mark.parametrize("warm", [True, False])
variants = pytest.mark.parametrize("switches", VARIANTS, ids=str)


def target(case: Case, *, warm: bool = False, **switches: object) -> dict[str, Tensor]:
    loss = ReflectiveLoss(DistillConfig.model_validate(switches))
    made = loss.target(case.output, case.batch, case.teachers, warm=warm)
    return {"start": made.start, "end": made.end}


def total(case: Case, *, warm: bool = False, **switches: object) -> Tensor:
    loss = ReflectiveLoss(DistillConfig.model_validate(switches))
    zero = torch.zeros((), dtype=torch.float64)
    terms = loss(case.output, case.batch, case.teachers, auxiliary=zero, warm=warm)
    return terms.total


def truth(case: Case, boundary: str) -> Tensor:
    return one_hot(getattr(case.batch, boundary), case.teachers.id.start)


def p(spans: SpanLogits, boundary: str) -> Tensor:
    return log_probabilities(getattr(spans, boundary)).exp()


@everywhere
@variants
@given(case=cases())
def test_01_targets_are_distributions_over_valid_clips(
    case: Case, warm: bool, switches: dict[str, object]
) -> None:
    for values in target(case, warm=warm, **switches).values():
        assert torch.isfinite(values).all()
        assert (values >= 0).all()
        torch.testing.assert_close(values.sum(dim=1), torch.ones(len(case.batch)).double())
        assert (values[~case.batch.clip_mask] == 0).all()


@given(case=cases())
def test_01_weights_sum_to_one(case: Case) -> None:
    weights = ReflectiveLoss(DistillConfig()).introspection(case.batch, case.teachers)
    for w_id, w_ood in weights.values():
        assert ((w_id >= 0) & (w_id <= 1)).all()
        torch.testing.assert_close(w_id + w_ood, torch.ones_like(w_id))
        u_id, u_ood = reweight((w_id, w_ood), (1 + w_id, 2 - w_id))
        torch.testing.assert_close(u_id + u_ood, torch.ones_like(u_id))


@everywhere
@given(case=cases())
def test_02_identical_teachers_weigh_one_half_and_are_the_target(case: Case, warm: bool) -> None:
    twins = replace(case, teachers=replace(case.teachers, ood=case.teachers.id))
    weights = ReflectiveLoss(DistillConfig()).introspection(twins.batch, twins.teachers)
    for boundary in BOUNDARIES:
        assert (weights[boundary][0] == 0.5).all()
        made = target(twins, warm=warm, rectification="none")[boundary]
        torch.testing.assert_close(made, p(case.teachers.id, boundary), **TIGHT)


@everywhere
@variants
@given(case=cases())
def test_03_swapping_the_labels_of_the_teachers_changes_nothing(
    case: Case, warm: bool, switches: dict[str, object]
) -> None:
    swapped = replace(
        case,
        teachers=TeacherLogits(id=case.teachers.ood, ood=case.teachers.id),
        output=replace(case.output, side_id=case.output.side_ood, side_ood=case.output.side_id),
    )
    for boundary in BOUNDARIES:
        torch.testing.assert_close(
            target(case, warm=warm, **switches)[boundary],
            target(swapped, warm=warm, **switches)[boundary],
            **TIGHT,
        )


@given(case=cases())
def test_04_rho_one_keeps_the_teacher_and_rho_zero_takes_the_truth(case: Case) -> None:
    count = len(case.batch)
    for boundary in BOUNDARIES:
        teacher, label = p(case.teachers.id, boundary), truth(case, boundary)
        ones, zeros = torch.ones(count).double(), torch.zeros(count).double()
        assert torch.equal(mixed(teacher, label, ones), teacher)
        assert torch.equal(mixed(teacher, label, zeros), label)


@given(case=cases())
def test_04_two_lost_side_branches_leave_the_truth(case: Case) -> None:
    batch = make_batch([24] * 3, [0.0, 0.2, 0.5], [0.0, 0.1, 0.2])
    far = batch.select(torch.arange(3))
    lost = perfect(replace(far, start=far.clips - 1, end=far.clips - 1))
    generator = torch.Generator().manual_seed(int(case.batch.clips.sum()))
    drawn = torch.randn(3, 24, generator=generator, dtype=torch.float64)
    spans = SpanLogits(start=drawn, end=drawn.flip(1))
    made = target(Case(batch, TeacherLogits(id=spans, ood=lost), output_of(spans, lost, lost)))
    for boundary in BOUNDARIES:
        label = one_hot(getattr(batch, boundary), spans.start)
        torch.testing.assert_close(made[boundary], label, **TIGHT)


@given(case=cases())
def test_05_without_both_strategies_the_target_is_the_ensemble(case: Case) -> None:
    for boundary in BOUNDARIES:
        plain = target(case, rectification="none", reweighting=False)[boundary]
        torch.testing.assert_close(plain, target(case, warm=True)[boundary], **TIGHT)


@given(
    w=st.floats(0, 1),
    pi=st.tuples(st.floats(1e-3, 1e3), st.floats(1e-3, 1e3)),
)
def test_05_reweighting_with_equal_affinities_or_equal_weights(
    w: float, pi: tuple[float, float]
) -> None:
    weight = torch.tensor([w], dtype=torch.float64)
    ours, theirs = (torch.tensor([value], dtype=torch.float64) for value in pi)
    both = (weight, 1 - weight)
    torch.testing.assert_close(reweight(both, (ours, ours))[0], weight, **TIGHT)
    half = torch.full_like(weight, 0.5)
    u_id, u_ood = reweight((half, half), (ours, theirs))
    torch.testing.assert_close(u_id, 1 - ours / (ours + theirs), **TIGHT)
    torch.testing.assert_close(u_ood, 1 - theirs / (ours + theirs), **TIGHT)


@everywhere
@given(case=cases())
def test_06_two_perfect_teachers_give_the_truth_and_stay_finite(case: Case, warm: bool) -> None:
    right = perfect(case.batch)
    both = replace(case, teachers=TeacherLogits(id=right, ood=right))
    weights = ReflectiveLoss(DistillConfig()).introspection(both.batch, both.teachers)
    for boundary in BOUNDARIES:
        assert (weights[boundary][0] == 0.5).all()
        torch.testing.assert_close(
            target(both, warm=warm)[boundary], truth(both, boundary), **TIGHT
        )
    assert torch.isfinite(total(both, warm=warm))


@given(case=cases(), rho=st.floats(0, 1))
def test_07_mixed_rectification_never_lowers_the_mass_of_the_truth(case: Case, rho: float) -> None:
    share = torch.full((len(case.batch),), rho, dtype=torch.float64)
    for boundary in BOUNDARIES:
        teacher, label = p(case.teachers.ood, boundary), truth(case, boundary)
        gained = (mixed(teacher, label, share) * label).sum(1) - (teacher * label).sum(1)
        assert (gained >= -1e-15).all()


def leaves(case: Case) -> tuple[dict[str, SpanLogits], Case]:
    """Return the logits of a case by who says them, with gradients, and the case made of them."""
    said = {
        name: SpanLogits(
            start=spans.start.clone().requires_grad_(), end=spans.end.clone().requires_grad_()
        )
        for name, spans in (
            ("main", case.output.main.spans),
            ("side_id", case.output.side_id),
            ("side_ood", case.output.side_ood),
            ("id", case.teachers.id),
            ("ood", case.teachers.ood),
        )
    }
    teachers = TeacherLogits(id=said["id"], ood=said["ood"])
    output = output_of(said["main"], said["side_id"], said["side_ood"])
    return said, Case(case.batch, teachers, output)


@given(case=cases())
def test_08_the_gradient_of_the_main_head_is_its_error_and_reaches_nothing_else(
    case: Case,
) -> None:
    said, live = leaves(case)
    total(live, lambda_id=0.0, lambda_ood=0.0).backward()
    for boundary in BOUNDARIES:
        made = target(case)[boundary]
        gradient = getattr(said["main"], boundary).grad
        error = (p(case.output.main.spans, boundary) - made) / len(case.batch)
        torch.testing.assert_close(gradient, error, atol=1e-9, rtol=1e-7)
        for name in ("side_id", "side_ood", "id", "ood"):
            reached = getattr(said[name], boundary).grad
            assert reached is None or not reached.any()


@everywhere
@pytest.mark.parametrize("side_kl", ["forward", "reverse"])
@given(case=cases(), temperature=st.sampled_from([0.5, 2.0, 8.0]))
def test_08_at_a_temperature_each_head_has_that_many_times_its_error(
    case: Case, temperature: float, side_kl: str, warm: bool
) -> None:
    """T² of the loss and 1/T of the softmax leave T, so that the loss keeps its size (A21)."""
    switches = {"kd_temperature": temperature, "side_kl": side_kl}
    said, live = leaves(case)
    total(live, warm=warm, lambda_id=0.3, lambda_ood=0.7, **switches).backward()
    scale = temperature / len(case.batch)
    made = target(case, warm=warm, **switches)
    for b in BOUNDARIES:
        log_p = {
            name: log_probabilities(getattr(spans, b).detach(), temperature)
            for name, spans in said.items()
        }
        expected = {"main": log_p["main"].exp() - made[b]}
        for k, weight in (("id", 0.3), ("ood", 0.7)):
            ours, theirs = log_p[f"side_{k}"], log_p[k]
            error = ours.exp() - theirs.exp()
            if side_kl == "reverse":
                off = ours - theirs
                error = ours.exp() * (off - kl(ours.exp(), theirs)[:, None])
            expected[f"side_{k}"] = weight * error
            assert getattr(said[k], b).grad is None
        for name, value in expected.items():
            found = getattr(said[name], b).grad
            torch.testing.assert_close(found, scale * value, atol=1e-9, rtol=1e-7)


@pytest.mark.parametrize("source", ["teacher", "side"])
@pytest.mark.parametrize(
    ("span", "delta", "kept"),
    [
        ((0, 1), 0.5, True),
        ((0, 0), 0.5, False),
        ((0, 0), 0.25, True),
        ((1, 3), 0.75, True),
        ((1, 3), 0.7500001, False),
        ((0, 3), 1.0, True),
        ((0, 2), 1.0, False),
        ((5, 7), 0.0, True),
    ],
)
def test_pure_ground_truth_takes_the_place_of_what_overlaps_less_than_delta(
    span: tuple[int, int], delta: float, kept: bool, source: str
) -> None:
    """Table 4: "lower than a threshold", so what overlaps by δ itself is kept."""
    batch = make_batch([8], [0.0], [3 / 7])
    assert (batch.start.item(), batch.end.item()) == (0, 3)
    n = torch.tensor([span[0]]), torch.tensor([span[1]])
    judged = perfect(replace(batch, start=n[0], end=n[1]))
    flat = torch.zeros(1, 8, dtype=torch.float64)
    other = SpanLogits(start=flat, end=flat)  # whose best span, one clip, overlaps by a quarter
    teacher, side = (judged, other) if source == "teacher" else (other, judged)
    case = Case(batch, TeacherLogits(id=teacher, ood=teacher), output_of(other, side, side))
    pure = {"delta": delta, "source": source}
    made = target(case, rectification="pure_gt", pure_gt=pure)
    for b in BOUNDARIES:
        expected = p(teacher, b) if kept else truth(case, b)
        torch.testing.assert_close(made[b], expected, **TIGHT)


@given(case=cases())
def test_09_kl_is_not_negative_and_zero_between_equals(case: Case) -> None:
    log_p = log_probabilities(case.teachers.id.start)
    log_q = log_probabilities(case.teachers.ood.start)
    assert (kl(log_p.exp(), log_q) >= -1e-12).all()
    torch.testing.assert_close(kl(log_p.exp(), log_p), torch.zeros(len(case.batch)).double())
    label = truth(case, "start")
    assert torch.equal(kl(label, log_q), cross_entropy(label, log_q))


@given(low=st.floats(1e-9, 50), step=st.floats(1e-3, 50), other=st.floats(1e-9, 50))
def test_10_the_worse_teacher_weighs_more(low: float, step: float, other: float) -> None:
    ours = torch.tensor([low, low + step], dtype=torch.float64)
    theirs = torch.full_like(ours, other)
    weights, rest = introspective_weights(ours, theirs)
    assert weights[1] > weights[0]
    assert torch.equal(introspective_weights(ours, theirs, invert=False)[0], rest)


def test_10_losses_of_a_tenth_and_nine_tenths() -> None:
    losses = torch.tensor([0.1], dtype=torch.float64), torch.tensor([0.9], dtype=torch.float64)
    assert introspective_weights(*losses)[0].item() == pytest.approx(0.1)


@given(
    w=st.floats(0.01, 0.99),
    ours=st.floats(1e-3, 1e3),
    step=st.floats(1e-2, 1e3),
    theirs=st.floats(1e-3, 1e3),
)
def test_11_more_affinity_with_a_teacher_is_less_weight_for_it(
    w: float, ours: float, step: float, theirs: float
) -> None:
    weight = torch.full((2,), w, dtype=torch.float64)
    affinities = torch.tensor([ours, ours + step], dtype=torch.float64)
    u_id, _ = reweight((weight, 1 - weight), (affinities, torch.full_like(weight, theirs)))
    assert u_id[1] < u_id[0]


@given(case=cases())
def test_12_affinity_is_bounded_by_the_entropy_of_the_teacher(case: Case) -> None:
    bound = sum(
        1.0
        / cross_entropy(
            p(case.teachers.id, b), log_probabilities(getattr(case.teachers.id, b))
        ).clamp(min=1e-12)
        for b in BOUNDARIES
    )
    found = affinity(case.teachers.id, case.output.side_id)
    assert (found <= bound * (1 + 1e-9)).all()
    torch.testing.assert_close(affinity(case.teachers.id, case.teachers.id), bound)


@pytest.mark.parametrize(
    ("mine", "other", "iou"),
    [((2, 5), (2, 5), 1.0), ((0, 1), (2, 3), 0.0), ((2, 5), (4, 7), 2 / 6), ((3, 3), (3, 3), 1.0)],
)
def test_14_index_iou_of_known_spans(
    mine: tuple[int, int], other: tuple[int, int], iou: float
) -> None:
    spans = [torch.tensor([value]) for value in (*mine, *other)]
    assert index_iou(*spans).item() == pytest.approx(iou)
    assert index_iou(*spans[2:], *spans[:2]).item() == pytest.approx(iou)


@given(case=cases())
def test_14_the_three_readings_of_rho(case: Case) -> None:
    batch, side = case.batch, case.output.side_id
    clips = confidence(side, batch.start, batch.end)
    assert ((clips >= 0) & (clips <= 1)).all()
    # On moments that are whole clips, time and clips agree.
    torch.testing.assert_close(confidence_in_time(side, batch.moment), clips)
    expected = expected_confidence(side, batch.start, batch.end)
    assert ((expected >= -1e-12) & (expected <= 1 + 1e-12)).all()
    right = perfect(batch)
    ones = torch.ones(len(batch)).double()
    torch.testing.assert_close(expected_confidence(right, batch.start, batch.end), ones)
    torch.testing.assert_close(confidence(right, batch.start, batch.end), ones)


@given(case=cases(), rho=st.floats(0, 1), unit=st.sampled_from(["fraction", "clips"]))
def test_16_the_window_pulls_to_the_truth_and_is_nothing_at_its_ends(
    case: Case, rho: float, unit: str
) -> None:
    batch, log_p = case.batch, log_probabilities(case.teachers.id.start)
    share = torch.full((len(batch),), rho, dtype=torch.float64)
    ones, zeros = torch.ones_like(share), torch.zeros_like(share)
    label = truth(case, "start")

    def apply(confident: Tensor, tau: float) -> Tensor:
        config = WindowConfig(tau=tau, unit=unit)
        return window(log_p, batch.start, batch.clips, confident, config)

    torch.testing.assert_close(apply(ones, 0.05), log_p.exp(), **TIGHT)
    torch.testing.assert_close(apply(zeros, 1e15), log_p.exp(), atol=1e-9, rtol=1e-9)
    torch.testing.assert_close(apply(zeros, 1e-12), label, **TIGHT)
    before, after = (log_p.exp() * label).sum(1), (apply(share, 0.05) * label).sum(1)
    assert (after >= before - 1e-12).all()


@everywhere
@given(case=cases())
def test_17_temperature_one_is_the_formula_without_temperature(case: Case, warm: bool) -> None:
    made = target(case, warm=warm)
    expected = torch.zeros((), dtype=torch.float64)
    for boundary in BOUNDARIES:
        log_student = log_probabilities(getattr(case.output.main.spans, boundary))
        expected = expected + kl(made[boundary], log_student).mean()
        for k, weight in (("id", 0.3), ("ood", 0.2)):
            teacher = p(getattr(case.teachers, k), boundary)
            side = getattr(getattr(case.output, f"side_{k}"), boundary)
            expected = expected + weight * kl(teacher, log_probabilities(side)).mean()
    found = total(case, warm=warm, lambda_id=0.3, lambda_ood=0.2)
    torch.testing.assert_close(found, expected, atol=1e-9, rtol=1e-9)


@given(case=cases())
def test_17_scaled_gradients_stay_bounded_as_the_temperature_grows(case: Case) -> None:
    sizes = []
    for temperature in (10.0, 100.0, 1000.0):
        main = SpanLogits(
            start=case.output.main.spans.start.clone().requires_grad_(),
            end=case.output.main.spans.end,
        )
        live = replace(case, output=output_of(main, case.output.side_id, case.output.side_ood))
        total(live, warm=True, kd_temperature=temperature).backward()
        assert main.start.grad is not None
        sizes.append(main.start.grad.abs().max().item())
    assert sizes[-1] <= max(sizes[0] * 2, 200.0)


@given(case=cases())
def test_19_the_first_reflective_epoch_differs_by_rectification_and_reweighting_alone(
    case: Case,
) -> None:
    config = {"warmup_epochs": 3, "rectification": "none", "reweighting": False}
    loss = ReflectiveLoss(DistillConfig.model_validate(config))
    assert [loss.is_warm(epoch) for epoch in range(5)] == [True, True, True, False, False]
    before = total(case, warm=loss.is_warm(2), **config)
    after = total(case, warm=loss.is_warm(3), **config)
    torch.testing.assert_close(before, after, atol=1e-9, rtol=1e-9)


def test_19_no_warm_up_and_nothing_but_warm_up_are_valid() -> None:
    assert not ReflectiveLoss(DistillConfig(warmup_epochs=0)).is_warm(0)
    assert ReflectiveLoss(DistillConfig(warmup_epochs=8)).is_warm(7)
    assert DistillConfig(warmup_epochs=5, warmup_extra=True).total_epochs(10) == 15


@given(case=cases())
def test_21_soft_labels_sum_to_one_and_peak_at_the_truth(case: Case) -> None:
    labels = soft_labels(case.batch.start, case.batch.clips, case.teachers.id.start)
    torch.testing.assert_close(labels.sum(dim=1), torch.ones(len(case.batch)).double())
    peak = labels.gather(1, case.batch.start[:, None])[:, 0]
    neighbours = (case.batch.clips > 1).long() + (
        (case.batch.start > 0) & (case.batch.start < case.batch.clips - 1)
    ).long()
    torch.testing.assert_close(peak, 1.0 - 0.25 * neighbours.double())


@everywhere
@given(case=cases())
def test_boundaries_are_summed_or_averaged(case: Case, warm: bool) -> None:
    both = total(case, warm=warm)
    torch.testing.assert_close(total(case, warm=warm, boundary_reduction="mean") * 2, both)


@given(case=cases())
def test_side_losses_can_wait_for_the_end_of_the_warm_up(case: Case) -> None:
    alone = total(case, warm=True, lambda_id=0.0, lambda_ood=0.0)
    torch.testing.assert_close(total(case, warm=True, side_in_warmup=False), alone)
    assert (total(case, warm=True) >= alone).item()
    assert torch.equal(total(case, side_in_warmup=False), total(case))


@given(case=cases())
def test_the_reverse_side_loss_is_the_divergence_the_other_way(case: Case) -> None:
    def side(**switches: object) -> Tensor:
        zero = total(case, lambda_id=0.0, lambda_ood=0.0)
        return total(case, lambda_id=1.0, lambda_ood=0.0, **switches) - zero

    expected = sum(
        (
            p(case.output.side_id, b)
            * (
                log_probabilities(getattr(case.output.side_id, b))
                - log_probabilities(getattr(case.teachers.id, b))
            )
        )
        .sum(1)
        .mean()
        for b in BOUNDARIES
    )
    torch.testing.assert_close(side(side_kl="reverse"), expected, atol=1e-8, rtol=1e-8)


def test_two_weights_that_vanish_become_one_half() -> None:
    w = torch.tensor([0.0, 1.0], dtype=torch.float64)
    pi = torch.tensor([1e-300, 1e300], dtype=torch.float64)
    for u in reweight((w, w.flip(0)), (pi, pi.flip(0))):
        assert u.tolist() == [0.5, 0.5]


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_probabilities_of_half_precision_are_taken_in_float32(dtype: torch.dtype) -> None:
    logits = torch.tensor([[0.1, 3.0, -2.0, 8.0]], dtype=dtype)
    found = log_probabilities(logits, 2.0)
    assert found.dtype == torch.float32
    assert torch.equal(found, log_probabilities(logits.float(), 2.0))


@pytest.mark.parametrize(
    "switches",
    [
        {"kd_temperature": 0.0},
        {"window": {"tau": 0.0}},
        {"pure_gt": {"delta": -0.1}},
        {"pure_gt": {"delta": 1.1}},
        {"lambda_id": -0.1},
        {"lambda_ood": -0.1},
        {"lambda_ce": -0.1},
        {"aux_weight": -0.1},
        {"warmup_epochs": -1},
    ],
    ids=str,
)
def test_values_that_mean_nothing_are_refused(switches: dict[str, object]) -> None:
    with pytest.raises(ValidationError, match=r"greater than|less than"):
        DistillConfig.model_validate(switches)


def test_const_reweighting_is_twice_the_normalised_product() -> None:
    w, pi_id, pi_ood = (torch.tensor([v], dtype=torch.float64) for v in (0.3, 2.0, 6.0))
    u_id, u_ood = reweight((w, 1 - w), (pi_id, pi_ood), norm="const")
    assert u_id.item() == pytest.approx(2 * 0.3 * 0.75)
    assert u_ood.item() == pytest.approx(2 * 0.7 * 0.25)


def test_the_truth_on_the_main_head_is_added_with_its_weight() -> None:
    batch = make_batch([5], [0.5], [0.0])
    zeros = torch.zeros(1, 5, dtype=torch.float64)
    spans = SpanLogits(start=zeros, end=zeros)
    case = Case(batch, TeacherLogits(id=spans, ood=spans), output_of(spans, spans, spans))
    with_truth = total(case, warm=True, lambda_ce=0.5) - total(case, warm=True)
    assert with_truth.item() == pytest.approx(torch.log(torch.tensor(5.0)).item())


def test_logged_parts_name_the_terms_of_the_loss() -> None:
    batch = make_batch([5, 7], [0.5, 0.1], [0.0, 0.5])
    spans = perfect(batch)
    teachers = TeacherLogits(id=spans, ood=spans)
    _, live = leaves(Case(batch, teachers, output_of(spans, spans, spans)))
    auxiliary = torch.ones((), dtype=torch.float64, requires_grad=True)
    terms = ReflectiveLoss(DistillConfig(lambda_ce=1e-9))(
        live.output, batch, live.teachers, auxiliary=auxiliary, warm=False
    )
    assert terms.total.requires_grad
    assert {"kd", "side_id", "side_ood", "aux", "w_id_start", "pi_id", "rho_ood"} <= set(
        terms.parts
    )
    assert not any(part.requires_grad for part in terms.parts.values())
    assert terms.parts["rho_id_is_1"].item() == 1.0
    assert terms.parts["target_mass_start"].item() == pytest.approx(1.0)
    assert terms.total.item() == pytest.approx(1.0)
