"""Bias branches: what they see, how they are fused, and who learns from what."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, get_args

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from refkd.data.batch import Batch
from refkd.data.dataset import Dataset
from refkd.models import VSLNetConfig, build_backbone
from refkd.models.backbone import SpanBackbone, SpanLogits, span_cross_entropy
from refkd.models.bias import QueryBias, VideoBias
from refkd.models.debiased import BOUNDARIES, BiasMode, Debiased, Debiasing

MODES = get_args(BiasMode)
modes = pytest.mark.parametrize("mode", MODES)
SETTINGS = {"alpha_v": 0.3, "alpha_q": 0.7, "w_entropy": 0.2, "alpha": 0.4}
CONFIG = VSLNetConfig(hidden=16, heads=2, char_dim=4, max_positions=32, dropout=0.0)


@pytest.fixture
def batch(tiny_dataset: Dataset) -> Batch:
    batch = tiny_dataset.role("fit").batch(range(12)).to("cpu", torch.float64)
    assert (batch.clips < batch.features.shape[1]).any()  # some are padded
    return batch


@pytest.fixture
def debiased(tiny_dataset: Dataset, mode: str) -> Debiased:
    """Return a network in float64 with nothing random, nor any weight left at its start."""
    main = build_backbone(CONFIG, tiny_dataset.model_inputs(), seed=0)
    assert isinstance(main, SpanBackbone)
    settings: dict[str, Any] = {"mode": mode, **SETTINGS}
    network = Debiased(main, tiny_dataset.model_inputs(), Debiasing(**settings)).double()
    for part in network.modules():
        if isinstance(part, torch.nn.Dropout):
            part.p = 0.0
    generator = torch.Generator().manual_seed(1)
    for parameter in network.parameters():
        noise = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
        parameter.data += 0.1 * noise
    return network.train()


def on_features(branch: torch.nn.Module, batch: Batch) -> tuple[Tensor, SpanLogits]:
    features = batch.features.clone().requires_grad_()
    spans = branch(replace(batch, features=features))
    return features, spans


def test_the_video_branch_never_sees_the_query(tiny_dataset: Dataset, batch: Batch) -> None:
    branch = VideoBias(tiny_dataset.model_inputs(), width=16).double().eval()
    other = replace(batch, words=batch.words.flip(0), characters=batch.characters.flip(0))
    assert not torch.equal(other.words, batch.words)
    assert torch.equal(branch(other).start, branch(batch).start)
    assert torch.equal(branch(other).end, branch(batch).end)
    assert not any(isinstance(part, torch.nn.Embedding) for part in branch.modules())


def test_the_query_branch_never_sees_the_video(tiny_dataset: Dataset, batch: Batch) -> None:
    """Its Jacobian by the features is zero, and other features give the same logits."""
    branch = QueryBias(tiny_dataset.model_inputs(), width=16).double().eval()
    features, spans = on_features(branch, batch)
    for values in (spans.start, spans.end):
        jacobian = torch.autograd.grad(values.sum(), features, allow_unused=True)
        assert jacobian == (None,)
    other = replace(batch, features=torch.randn_like(batch.features))
    assert torch.equal(branch(other).start, branch(batch).start)
    assert torch.equal(branch(other).end, branch(batch).end)
    words = replace(batch, words=batch.words.flip(0), characters=batch.characters.flip(0))
    assert not torch.equal(branch(words).start, branch(batch).start)


def test_the_video_branch_sees_the_whole_video_and_nothing_else(
    tiny_dataset: Dataset, batch: Batch
) -> None:
    branch = VideoBias(tiny_dataset.model_inputs(), width=16).double().eval()
    features, spans = on_features(branch, batch)
    (gradient,) = torch.autograd.grad(spans.start[0, 0], features)
    assert (gradient[1:] == 0).all()  # no batch mate
    seen = gradient[0].abs().sum(dim=1)
    assert (seen[: int(batch.clips[0])] > 0).all()
    assert (seen[int(batch.clips[0]) :] == 0).all()


@pytest.mark.parametrize("kind", [VideoBias, QueryBias])
def test_padding_and_batch_mates_change_no_branch(
    kind: Any, tiny_dataset: Dataset, batch: Batch
) -> None:
    branch = kind(tiny_dataset.model_inputs(), width=16).double().eval()
    together = branch(batch)
    for row in range(len(batch)):
        n = int(batch.clips[row])
        one = batch.select(torch.tensor([row]))
        m = int(one.word_mask.sum())
        words, characters = one.words[:, :m], one.characters[:, :m]
        one = replace(one, features=one.features[:, :n], words=words, characters=characters)
        for b in BOUNDARIES:
            torch.testing.assert_close(
                getattr(branch(one), b)[0], getattr(together, b)[row, :n], atol=1e-9, rtol=1e-9
            )


def by_hand(network: Debiased, batch: Batch, row: int, b: str) -> dict[str, Tensor]:
    """Return what enters the fusion of one pair's boundary, valid clips only."""
    n = int(batch.clips[row])
    main = network.main(batch)
    column = BOUNDARIES.index(b)
    found = {
        "m": getattr(main.spans, b)[row, :n],
        "v": getattr(network.video(batch), b)[row, :n],
        "q": getattr(network.query(batch), b)[row, :n],
    }
    if network.settings.mode == "learned_mixin":
        h = main.fused[row, :n].mean(dim=0)
        found["g"] = F.softplus(network.gate.weight[column] @ h)
    elif network.settings.mode != "poe":
        found["c_v"] = network.scale[0, column] * found["v"] + network.shift[0, column]
        found["c_q"] = network.scale[1, column] * found["q"] + network.shift[1, column]
    return found


FUSED = {
    "rubi": lambda x: x["m"] * x["c_v"].sigmoid() * x["c_q"].sigmoid(),
    "counterfactual": lambda x: x["m"] * x["c_v"].sigmoid() * x["c_q"].sigmoid(),
    "poe": lambda x: x["m"].log_softmax(0) + x["v"].log_softmax(0) + x["q"].log_softmax(0),
    "learned_mixin": lambda x: (
        x["m"].log_softmax(0) + x["g"] * (x["v"].log_softmax(0) + x["q"].log_softmax(0))
    ),
}


@modes
def test_training_fuses_as_the_formulas_say(debiased: Debiased, batch: Batch, mode: str) -> None:
    output = debiased(batch)
    for row in range(len(batch)):
        n = int(batch.clips[row])
        for b in BOUNDARIES:
            found = getattr(output.spans, b)[row]
            expected = FUSED[mode](by_hand(debiased, batch, row, b))
            torch.testing.assert_close(found[:n], expected)
            assert (found[n:] == -1e30).all()


@modes
def test_the_loss_is_that_of_the_fused_logits_and_of_both_branches(
    debiased: Debiased, batch: Batch, mode: str
) -> None:
    output = debiased(batch)
    expected = span_cross_entropy(output.spans, batch)
    expected = expected + 0.3 * span_cross_entropy(debiased.video(batch), batch)
    expected = expected + 0.7 * span_cross_entropy(debiased.query(batch), batch)
    if mode == "learned_mixin":
        entropies = []
        for row in range(len(batch)):
            x = {b: by_hand(debiased, batch, row, b) for b in BOUNDARIES}
            for b in BOUNDARIES:
                log_bias = x[b]["v"].log_softmax(0) + x[b]["q"].log_softmax(0)
                p = (x[b]["g"] * log_bias).softmax(0)
                entropies.append(-(p * p.log()).sum())
        expected = expected + 0.2 * torch.stack(entropies).sum() / len(batch)
    torch.testing.assert_close(debiased.span_loss(output, batch), expected)
    own = debiased.main.auxiliary_loss(debiased.main(batch), batch)
    torch.testing.assert_close(debiased.auxiliary_loss(output, batch), own)


@modes
def test_evaluation_uses_the_backbone_less_the_bias_where_that_is_asked_for(
    debiased: Debiased, batch: Batch, mode: str
) -> None:
    debiased.eval()
    output, main = debiased(batch), debiased.main(batch)
    assert debiased.kept is (debiased if mode == "counterfactual" else debiased.main)
    for row in range(len(batch)):
        n = int(batch.clips[row])
        for b in BOUNDARIES:
            x = by_hand(debiased, batch, row, b)
            expected = x["m"] - 0.4 * (x["v"] + x["q"]) if mode == "counterfactual" else x["m"]
            found = getattr(output.spans, b)[row]
            torch.testing.assert_close(found[:n], expected)
            assert (found[n:] == -1e30).all()
    edges = debiased.proposals(output, batch).edges
    assert torch.equal(edges, debiased.main.proposals(output, batch).edges)
    same = torch.equal(edges, debiased.main.proposals(main, batch).edges)
    assert same == (mode != "counterfactual")


def gradients(network: Debiased, loss: Tensor) -> dict[str, bool]:
    """Return which parameters a loss reaches, by name."""
    names, parameters = zip(*network.named_parameters(), strict=True)
    found = torch.autograd.grad(loss, parameters, allow_unused=True, retain_graph=True)
    return {
        name: gradient is not None and bool((gradient != 0).any())
        for name, gradient in zip(names, found, strict=True)
    }


@modes
def test_the_biases_losses_reach_no_encoder_of_the_backbone(
    debiased: Debiased, batch: Batch, mode: str
) -> None:
    for branch in ("video", "query"):
        reached = gradients(debiased, span_cross_entropy(getattr(debiased, branch)(batch), batch))
        assert {name.partition(".")[0] for name, hit in reached.items() if hit} == {branch}


@modes
def test_who_learns_from_the_fused_logits(debiased: Debiased, batch: Batch, mode: str) -> None:
    """All in rubi, through the gates; the branches of poe and mixin are without gradient."""
    fused = gradients(debiased, span_cross_entropy(debiased(batch).spans, batch))
    parts = {name.partition(".")[0] for name, hit in fused.items() if hit}
    stopped = mode in ("poe", "learned_mixin")
    assert ({"video", "query"} & parts == set()) == stopped
    assert "main" in parts
    assert ("gate" in parts) == (mode == "learned_mixin")
    assert ({"scale", "shift"} <= parts) == (not stopped)
    loss = gradients(debiased, debiased.span_loss(debiased(batch), batch))
    assert {n.partition(".")[0] for n, hit in loss.items() if hit} >= {"main", "video", "query"}


@modes
def test_padded_clips_neither_gate_nor_learn(debiased: Debiased, batch: Batch, mode: str) -> None:
    """More padding changes neither the loss nor any gradient, and all is finite."""
    longer = replace(batch, features=F.pad(batch.features, (0, 0, 0, 5)))
    found = []
    for pairs in (batch, longer):
        debiased.zero_grad()
        output = debiased(pairs)
        loss = debiased.span_loss(output, pairs) + debiased.auxiliary_loss(output, pairs)
        loss.backward()
        found.append([p.grad.clone() for p in debiased.parameters() if p.grad is not None])
    for a, b in zip(*found, strict=True):
        assert torch.isfinite(a).all()
        torch.testing.assert_close(a, b, atol=1e-9, rtol=1e-7)


@modes
def test_the_truth_is_not_read(debiased: Debiased, batch: Batch, mode: str) -> None:
    other = replace(batch, start=batch.start * 0, end=batch.end * 0, moment=batch.moment * 0)
    for network in (debiased.train(), debiased.eval()):
        assert torch.equal(network(other).spans.start, network(batch).spans.start)


@modes
def test_half_precision_is_finite(debiased: Debiased, batch: Batch, mode: str) -> None:
    network, pairs = debiased.float(), batch.to("cpu", torch.float32)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        output = network(pairs)
        loss = network.span_loss(output, pairs)
    loss.backward()
    assert torch.isfinite(loss)
    assert all(torch.isfinite(p.grad).all() for p in network.parameters() if p.grad is not None)
