"""Random students, teachers and batches in float64 for the properties of the method."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from hypothesis import strategies as st
from torch import Tensor

from refkd.data.batch import Batch
from refkd.distill import StudentOutput, TeacherLogits
from refkd.models.backbone import NEGATIVE, SpanLogits, SpanOutput


@dataclass(frozen=True)
class Case:
    """A batch and what teachers and student say of it."""

    batch: Batch
    teachers: TeacherLogits
    output: StudentOutput


def make_batch(clips: list[int], starts: list[float], lengths: list[float]) -> Batch:
    """Return a batch without features: spans are given as shares of what is possible."""
    n = torch.tensor(clips)
    start = (torch.tensor(starts) * (n - 1)).long()
    end = start + (torch.tensor(lengths) * (n - 1 - start)).long()
    count, longest = len(clips), int(n.max())
    return Batch(
        features=torch.zeros(count, longest, 1),
        clips=n,
        words=torch.ones(count, 1, dtype=torch.int64),
        characters=torch.zeros(count, 1, 16, dtype=torch.int64),
        start=start,
        end=end,
        moment=torch.stack([start, end + 1], dim=1).double(),
        pairs=torch.arange(count),
    )


def logits(batch: Batch, generator: torch.Generator, scale: float) -> SpanLogits:
    """Return random masked logits of a batch."""
    shape = batch.clip_mask.shape
    drawn = [
        (torch.randn(shape, generator=generator, dtype=torch.float64) * scale).masked_fill(
            ~batch.clip_mask, NEGATIVE
        )
        for _ in range(2)
    ]
    return SpanLogits(start=drawn[0], end=drawn[1])


def output_of(main: SpanLogits, side_id: SpanLogits, side_ood: SpanLogits) -> StudentOutput:
    """Wrap logits as a student's output."""
    empty = torch.zeros(1)
    backbone = SpanOutput(spans=main, fused=empty, before_gate=empty, match=empty)
    return StudentOutput(main=backbone, side_id=side_id, side_ood=side_ood)


def perfect(batch: Batch) -> SpanLogits:
    """Return logits that put all mass on the ground truth."""

    def peak(index: Tensor) -> Tensor:
        values = torch.full(batch.clip_mask.shape, -1e4, dtype=torch.float64)
        values.scatter_(1, index[:, None], 1e4)
        return values.masked_fill(~batch.clip_mask, NEGATIVE)

    return SpanLogits(start=peak(batch.start), end=peak(batch.end))


@st.composite
def cases(draw: st.DrawFn, scales: Sequence[float] = (0.1, 1.0, 5.0, 30.0)) -> Case:
    """Draw a batch of 1 to 6 pairs of 1 to 24 clips and random logits for everyone.

    At a scale of 30 some are so sure that a cross-entropy reaches its lower clamp.
    """
    count = draw(st.integers(1, 6))
    clips = draw(st.lists(st.integers(1, 24), min_size=count, max_size=count))
    share = st.lists(st.floats(0, 1), min_size=count, max_size=count)
    batch = make_batch(clips, draw(share), draw(share))
    generator = torch.Generator().manual_seed(draw(st.integers(0, 2**31)))
    scale = draw(st.sampled_from(scales))
    spans = [logits(batch, generator, scale) for _ in range(5)]
    return Case(
        batch=batch,
        teachers=TeacherLogits(id=spans[0], ood=spans[1]),
        output=output_of(spans[2], spans[3], spans[4]),
    )
