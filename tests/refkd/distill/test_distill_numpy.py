"""The loss of a padded batch is the mean of plain numpy's over its pairs, under every reading."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from cases import Case, cases
from distill_numpy import Pair, Plain, loss
from hypothesis import given, settings
from hypothesis import strategies as st

from refkd.distill import DistillConfig, ReflectiveLoss
from refkd.models.backbone import SpanLogits

READINGS = [
    {},
    {"introd": {"ce": "bce"}},
    {"introd": {"per_boundary": False}},
    {"introd": {"invert": False}},
    {"introd": {"per_boundary": False, "invert": False}},
    {"introd": {"gt": "soft"}},
    {"introd": {"gt": "soft", "ce": "bce"}, "rectification": "pure_gt"},
    {"rectification": "none"},
    {"rectification": "pure_gt"},
    {"rectification": "pure_gt", "pure_gt": {"source": "side", "delta": 0.5}},
    {"rectification": "window"},
    {"rectification": "window", "window": {"tau": 3.0, "unit": "clips"}},
    {"rectification": "window", "window": {"tau": 0.3, "x": "prob"}},
    {"reweighting": False},
    {"reweight_norm": "const"},
    {"affinity": "kl"},
    {"affinity_order": "swapped"},
    {"affinity": "kl", "affinity_order": "swapped"},
    {"rho": "seconds"},
    {"rho": "expected"},
    {"side_kl": "reverse"},
    {"side_in_warmup": False},
    {"lambda_ce": 0.7},
    {"aux_weight": 0.4, "boundary_reduction": "mean"},
]
LOSS = {"lambda_id": 0.3, "lambda_ood": 0.2}
# Where a cross-entropy reaches its lower clamp, the weights, quotients of it, keep no digit.
SCALES = (0.1, 1.0, 5.0)
ROUNDED = {"rtol": 1e-6, "atol": 1e-9}


def pairs(case: Case) -> list[Pair]:
    """Return the pairs of a batch without their padding."""
    spans = {
        "main": case.output.main.spans,
        "id": case.teachers.id,
        "ood": case.teachers.ood,
        "side_id": case.output.side_id,
        "side_ood": case.output.side_ood,
    }

    def cut(logits: SpanLogits, row: int, clips: int) -> dict[str, np.ndarray]:
        return {b: getattr(logits, b)[row, :clips].numpy() for b in ("start", "end")}

    batch = case.batch
    return [
        Pair(
            start=int(batch.start[row]),
            end=int(batch.end[row]),
            moment=(float(batch.moment[row, 0]), float(batch.moment[row, 1])),
            said={who: cut(logits, row, clips) for who, logits in spans.items()},
        )
        for row, clips in enumerate(batch.clips.tolist())
    ]


@pytest.mark.parametrize("warm", [True, False])
@pytest.mark.parametrize("reading", READINGS, ids=str)
@settings(max_examples=settings().max_examples // 3)
@given(
    case=cases(SCALES), temperature=st.sampled_from([1.0, 2.0, 0.5]), shift=st.floats(-0.4, 0.4)
)
def test_the_loss_is_that_of_plain_numpy(
    case: Case, temperature: float, shift: float, reading: dict[str, object], warm: bool
) -> None:
    case.batch.moment[:, 1] += shift  # annotated moments end inside a clip
    config = DistillConfig.model_validate({**LOSS, "kd_temperature": temperature, **reading})
    auxiliary = torch.tensor(0.25, dtype=torch.float64)
    terms = ReflectiveLoss(config)(
        case.output, case.batch, case.teachers, auxiliary=auxiliary, warm=warm
    )
    made = ReflectiveLoss(config).target(case.output, case.batch, case.teachers, warm=warm)
    plain: list[Plain] = [loss(p, config, auxiliary=0.25, warm=warm) for p in pairs(case)]
    for row, one in enumerate(plain):
        for b, target in one.target.items():
            found = getattr(made, b)[row].numpy()
            np.testing.assert_allclose(found[: len(target)], target, **ROUNDED)
            assert not found[len(target) :].any()
    assert terms.parts.keys() == plain[0].parts.keys()
    for name, part in terms.parts.items():
        expected = np.mean([one.parts[name] for one in plain])
        np.testing.assert_allclose(part.item(), expected, **ROUNDED, err_msg=name)
    np.testing.assert_allclose(terms.total.item(), np.mean([p.total for p in plain]), **ROUNDED)
