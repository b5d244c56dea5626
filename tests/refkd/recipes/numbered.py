"""Batches whose every clip says which it was, for the properties of augmentations."""

from __future__ import annotations

import numpy as np
import torch
from hypothesis import strategies as st

from refkd.data.batch import Batch
from refkd.data.pairs import Contents, Pairs

PAIRS = 999
seeds, epochs = st.integers(0, 2**31), st.integers(0, 200)


def numbered(clips: list[int], spans: list[tuple[int, int]], pairs: list[int]) -> Batch:
    """Return a batch whose clip i of pair p has the features (p, i + 1); padding is (0, 0)."""
    count, longest = len(clips), max(clips)
    features = torch.zeros(count, longest, 2)
    for row, (n, pair) in enumerate(zip(clips, pairs, strict=True)):
        features[row, :n, 0] = pair
        features[row, :n, 1] = torch.arange(n) + 1.0
    start, end = torch.tensor(spans).T
    return Batch(
        features=features,
        clips=torch.tensor(clips),
        words=torch.ones(count, 1, dtype=torch.int64),
        characters=torch.zeros(count, 1, 16, dtype=torch.int64),
        start=start,
        end=end,
        moment=torch.stack([start + 0.25, end + 0.75], dim=1).float(),
        pairs=torch.tensor(pairs),
    )


@st.composite
def batches(draw: st.DrawFn, longest: int = 14) -> Batch:
    """Draw 1 to 5 pairs with any moment in videos of 1 to `longest` clips."""
    count = draw(st.integers(1, 5))
    clips = draw(st.lists(st.integers(1, longest), min_size=count, max_size=count))
    ends = [sorted(draw(st.tuples(*[st.integers(0, n - 1)] * 2))) for n in clips]
    unique = st.lists(st.integers(1, PAIRS - 1), min_size=count, max_size=count, unique=True)
    return numbered(clips, [(s, e) for s, e in ends], draw(unique))


def order(batch: Batch, row: int) -> list[int]:
    """Return the original position of each valid clip of a numbered pair."""
    return [int(x) - 1 for x in batch.features[row, : int(batch.clips[row]), 1]]


def spans(batch: Batch) -> list[tuple[int, int]]:
    return list(zip(batch.start.tolist(), batch.end.tolist(), strict=True))


def numbered_role(clips: int = 6) -> Pairs:
    """Return a role whose pair p asks of a video of its own, with the clips (p, i + 1)."""
    pair, clip = np.divmod(np.arange(PAIRS * clips), clips)
    zeros = np.zeros(PAIRS, dtype=np.int64)
    return Pairs(
        role="fit",
        pair_ids=[f"v{p}#0" for p in range(PAIRS)],
        video_ids=[f"v{p}" for p in range(PAIRS)],
        queries=["a"] * PAIRS,
        moments=np.tile([0.0, 1.0], (PAIRS, 1)),
        duration=np.full(PAIRS, float(clips)),
        clips=np.full(PAIRS, clips),
        spans=np.stack([zeros, zeros], axis=1),
        contents=Contents(
            clips=np.stack([pair, clip + 1], axis=1).astype(np.float16),
            first=np.arange(PAIRS) * clips,
            tokens=np.ones((PAIRS, 1), dtype=np.int32),
            lengths=zeros + 1,
            words=np.array([0, 1]),
            characters=np.zeros((2, 16), dtype=np.int64),
        ),
    )
