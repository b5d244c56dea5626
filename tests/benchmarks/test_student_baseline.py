"""The published way that students are measured against computes what refkd computes."""

from __future__ import annotations

from collections import Counter
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from benchmarks.baselines import student_loop
from benchmarks.baselines.stock import with_stock_layers
from benchmarks.lengths import LENGTHS
from benchmarks.limit import operations
from benchmarks.networks import backbone_config, make_dataset
from refkd.data.batch import Batch
from refkd.data.dataset import Dataset
from refkd.models import build_backbone
from refkd.models.convolution import Depthwise
from refkd.models.dropout import Dropout


@pytest.fixture(scope="module", params=list(LENGTHS))
def dataset(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    folder: Path = tmp_path_factory.mktemp("lengths")
    return make_dataset(folder, smoke=True, lengths=request.param)


@pytest.mark.parametrize("name", ["vslnet", "seqpan", "mrtnet"])
def test_stock_layers_give_the_same_logits(dataset: Dataset, name: str) -> None:
    config = backbone_config(smoke=True, name=name)
    network = build_backbone(config, dataset.model_inputs(), seed=0).eval()
    batch = dataset.role("fit").batch(np.arange(20))
    ours = network(batch).spans
    ours_kinds = Counter(type(part) for part in network.modules())
    theirs = with_stock_layers(network)(batch).spans
    torch.testing.assert_close(theirs.start, ours.start, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(theirs.end, ours.end, rtol=1e-4, atol=1e-4)
    kinds = Counter(type(part) for part in network.modules())
    assert not {Dropout, Depthwise} & kinds.keys()
    assert kinds[nn.Dropout] == ours_kinds[Dropout] > 0


def test_single_pairs_are_put_together_as_our_batches_are(dataset: Dataset) -> None:
    items, rows = student_loop._items(dataset), [5, 0, 17]
    theirs, ours = student_loop._collate([items[row] for row in rows]), dataset.role("fit")
    for field in (field for field in fields(Batch) if field.name not in ("mass", "text")):
        expected = getattr(ours.batch(rows), field.name)
        assert torch.equal(getattr(theirs, field.name), expected), field.name


def test_operations_of_lstms_and_matrices_are_counted() -> None:
    x = torch.randn(3, 7, 4, requires_grad=True)
    assert operations(lambda: x @ torch.randn(4, 5)) == 2 * 3 * 7 * 4 * 5
    lstm = nn.LSTM(4, 6, batch_first=True)
    once = 2 * 3 * 7 * 4 * 6 * (4 + 6)
    assert operations(lambda: lstm(x)) == once
    assert operations(lambda: lstm(x)[0].sum().backward()) == 3 * once
