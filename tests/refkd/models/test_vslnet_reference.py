"""VSLNet against inputs, weights, gradients and outputs of the reference PyTorch code."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from refkd.data.batch import Batch
from refkd.data.inputs import ModelInputs
from refkd.models import VSLNetConfig, build_backbone
from refkd.models.backbone import span_cross_entropy
from refkd.models.decode import decode
from refkd.models.vslnet import VSLNet, highlight_loss
from refkd.training.imported.vslnet import VSLNET, vslnet
from refkd.training.imported.weights import Checkpoint

TOLERANCE = 1e-4


@pytest.fixture(scope="module")
def case(fixtures_dir: Path) -> dict[str, np.ndarray]:
    with np.load(fixtures_dir / "vslnet_pytorch_rnn.npz", allow_pickle=False) as stored:
        return dict(stored)


def weights(case: dict[str, np.ndarray]) -> dict[str, Tensor]:
    """Return the state_dict of the reference."""
    named = {k.removeprefix("W::"): v for k, v in case.items() if k.startswith("W::")}
    return {name: torch.from_numpy(value) for name, value in named.items()}


def make_model(case: dict[str, np.ndarray], *, mask_conv: bool) -> VSLNet:
    config = VSLNetConfig(hidden=32, heads=8, char_dim=8, max_positions=20, mask_conv=mask_conv)
    inputs = ModelInputs(feature_dim=24, word_vectors=case["wv"], characters=30)
    model = build_backbone(config, inputs, seed=0)
    assert isinstance(model, VSLNet)
    copied = VSLNET.weights(weights(case), model.state_dict())
    model.load_state_dict(copied)
    return model.eval()


def make_batch(case: dict[str, np.ndarray], rows: list[int]) -> Batch:
    take = {k: torch.from_numpy(case[k][rows]) for k in ("v", "w", "c", "vl", "s", "e")}
    return Batch(
        features=take["v"],
        clips=take["vl"],
        words=take["w"],
        characters=take["c"],
        start=take["s"],
        end=take["e"],
        moment=torch.stack([take["s"], take["e"] + 1], dim=1).float(),
        pairs=torch.tensor(rows),
    )


def assert_close(name: str, found: Tensor, expected: np.ndarray) -> None:
    torch.testing.assert_close(
        found.detach(), torch.from_numpy(expected), atol=TOLERANCE, rtol=0, msg=name
    )


def test_a_ragged_batch_gives_the_reference_outputs_losses_and_gradients(
    case: dict[str, np.ndarray],
) -> None:
    model = make_model(case, mask_conv=False)
    batch = make_batch(case, [0, 1, 2, 3])
    output = model(batch)
    valid = batch.clip_mask
    zero = torch.zeros_like(output.match)
    scores = torch.where(valid, output.match.sigmoid(), zero)
    assert_close("highlight", scores, np.where(valid.numpy(), case["hs"], 0))
    assert_close("start", output.spans.start[valid], case["sl"][valid.numpy()])
    assert_close("end", output.spans.end[valid], case["el"][valid.numpy()])

    start, end = decode(output.spans.start, output.spans.end)
    assert start.tolist() == case["si"].tolist()
    assert end.tolist() == case["ei"].tolist()

    location = span_cross_entropy(output.spans, batch)
    highlight = highlight_loss(output.match, torch.from_numpy(case["h"]).bool(), valid)
    assert location.item() == pytest.approx(float(case["loc"]), abs=TOLERANCE)
    assert highlight.item() == pytest.approx(float(case["hl"]), abs=TOLERANCE)
    (location + 5.0 * highlight).backward()
    gradients = {n: p.grad for n, p in model.named_parameters()}
    for name, expected in case.items():
        if name.startswith("G::"):
            mine = gradients[VSLNET.name(name.removeprefix("G::"))]
            assert mine is not None
            assert_close(name, mine, expected.reshape(mine.shape))


def test_full_rows_give_the_reference_outputs_as_a_published_checkpoint(
    case: dict[str, np.ndarray],
) -> None:
    model = vslnet(Checkpoint(path=Path("vslnet.t7"), state=weights(case)), heads=8)
    output = model(make_batch(case, case["full_rows"].tolist()))
    assert_close("highlight", output.match.sigmoid(), case["hs_full"])
    assert_close("start", output.spans.start, case["sl_full"])
    assert_close("end", output.spans.end, case["el_full"])
