"""The student of equation (7): what its side branches read, own and leave alone."""

from __future__ import annotations

import pytest
import torch
from cases import make_batch
from torch import Tensor, nn

from refkd.data.batch import Batch
from refkd.distill import DistillConfig, Student, StudentOutput
from refkd.models.backbone import (
    NEGATIVE,
    BackboneOutput,
    SpanBackbone,
    SpanHead,
    SpanLogits,
    SpanOutput,
)

WIDTH = 4


class Head(SpanHead):
    """A linear span predictor."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(WIDTH, 2)

    def forward(self, fused: Tensor, clip_mask: Tensor) -> SpanLogits:
        start, end = self.linear(fused).masked_fill(~clip_mask[..., None], NEGATIVE).unbind(2)
        return SpanLogits(start=start, end=end)


class Trunk(SpanBackbone):
    """A backbone with a gate of 1/2 that reads nothing but a parameter."""

    hidden = WIDTH

    def __init__(self) -> None:
        super().__init__()
        self.span_head = Head()
        self.features = nn.Parameter(torch.randn(1, 6, WIDTH))

    def forward(self, batch: Batch) -> SpanOutput:
        open_gate = self.features.expand(len(batch), -1, -1)
        fused = open_gate / 2
        spans = self.span_head(fused, batch.clip_mask)
        return SpanOutput(spans=spans, match=spans.start, fused=fused, before_gate=open_gate)

    def new_span_head(self) -> SpanHead:
        return Head()

    def auxiliary_loss(self, output: BackboneOutput, batch: Batch) -> Tensor:
        return output.match.new_zeros(())


@pytest.fixture
def batch() -> Batch:
    return make_batch([6, 4], [0.2, 0.5], [0.5, 0.0])


def student(*, seed: int = 0, **switches: object) -> Student:
    return Student(Trunk(), DistillConfig.model_validate(switches), seed=seed)


def differ(a: SpanLogits, b: SpanLogits) -> bool:
    return not torch.equal(a.start, b.start) and not torch.equal(a.end, b.end)


@pytest.mark.parametrize("reads", ["fused", "pre_gate"])
@pytest.mark.parametrize("predictor", ["own", "shared"])
@pytest.mark.parametrize("detached", [True, False])
def test_a_branch_is_a_linear_map_then_a_span_predictor(
    reads: str, predictor: str, detached: bool, batch: Batch
) -> None:
    made = student(side_input=reads, side_predictor=predictor, detach_side=detached)
    output: StudentOutput = made(batch)
    f = output.main.fused if reads == "fused" else output.main.before_gate
    for branch, found in ((made.side_id, output.side_id), (made.side_ood, output.side_ood)):
        head = branch.head if predictor == "own" else made.backbone.span_head
        assert head is not None
        expected = head(f @ branch.linear.weight.T + branch.linear.bias, batch.clip_mask)
        torch.testing.assert_close(found.start, expected.start)
        torch.testing.assert_close(found.end, expected.end)
        assert (found.start[~batch.clip_mask] == NEGATIVE).all()
    found.start[batch.clip_mask].sum().backward()
    assert (made.backbone.features.grad is None) is detached


@pytest.mark.parametrize("predictor", ["own", "shared"])
def test_two_branches_begin_and_learn_apart(predictor: str, batch: Batch) -> None:
    made = student(side_predictor=predictor)
    output = made(batch)
    assert differ(output.side_id, output.side_ood)
    assert differ(output.side_id, output.main.spans)
    ours = {id(p) for p in made.side_id.parameters()}
    assert ours.isdisjoint(id(p) for p in made.side_ood.parameters())
    assert ours.isdisjoint(id(p) for p in made.backbone.parameters())
    assert not made.side_id.linear.bias.any()  # as the layers of every network begin
    heads = [made.side_id.head, made.side_ood.head]
    assert all((head is None) is (predictor == "shared") for head in heads)


def test_a_seed_names_the_branches_and_no_other_draw_moves() -> None:
    trunk = Trunk()
    state = torch.get_rng_state()
    made = [Student(trunk, DistillConfig(), seed=seed).state_dict() for seed in (1, 2)]
    assert torch.equal(torch.get_rng_state(), state)
    torch.randn(3)
    again = Student(trunk, DistillConfig(), seed=1).state_dict()
    assert all(torch.equal(made[0][name], again[name]) for name in again)
    for part in ("side_id", "side_ood"):
        for name in ("linear.weight", "head.linear.weight"):
            assert not torch.equal(made[0][f"{part}.{name}"], made[1][f"{part}.{name}"])
