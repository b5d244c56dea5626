"""Inserted frames: the invariants of `ShiftPad` as properties over all moments and videos."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numbered import batches, epochs, numbered, numbered_role, seeds, spans
from scipy.stats import chisquare

from refkd.data.batch import Batch
from refkd.recipes.shift_pad import ShiftPad

ROLE = numbered_role()
shares, limits = st.floats(0, 1.5), st.integers(1, 30)
sources = pytest.mark.parametrize("source", ["own", "other"])


def pad(source: Any, *, longest: int = 30, share: float = 0.5) -> ShiftPad:
    return ShiftPad(pairs=ROLE, longest=longest, share=share, source=source)


def clips(batch: Batch, row: int) -> list[tuple[int, int]]:
    """Return (pair, position) of each valid clip."""
    found = batch.features[row, : int(batch.clips[row])].int().tolist()
    return [(pair, place - 1) for pair, place in found]


@sources
@given(batch=batches(), seed=seeds, epoch=epochs, share=shares, longest=limits)
def test_the_video_is_whole_around_frames_that_are_in_one_place(
    source: str, batch: Batch, seed: int, epoch: int, share: float, longest: int
) -> None:
    copy = pad(source, longest=longest, share=share)(batch, seed=seed, epoch=epoch)
    for row, ((s, e), (new_s, new_e)) in enumerate(zip(spans(batch), spans(copy), strict=True)):
        was, now = clips(batch, row), clips(copy, row)
        count = len(now) - len(was)
        assert now[new_s : new_e + 1] == was[s : e + 1]
        assert new_s - s in (0, count)
        # Frames that repeat their neighbours fit at more than one gap.
        gaps = [g for g in range(len(was) + 1) if now[:g] + now[g + count :] == was]
        inserted = [now[gap : gap + count] for gap in gaps]
        background = {clip for i, clip in enumerate(was) if not s <= i <= e}
        assert any(_fits(new, background if source == "own" else None, was) for new in inserted)


def _fits(new: list[tuple[int, int]], background: set[Any] | None, was: list[Any]) -> bool:
    """Return whether frames are in order and all of the background, or all of one other video."""
    if background is not None:
        return new == sorted(new) and set(new) <= background
    videos = {pair for pair, _ in new}
    return new == sorted(new) and len(videos) <= 1 and was[0][0] not in videos


@sources
@given(batch=batches(), seed=seeds, epoch=epochs, share=shares, longest=limits)
def test_no_video_grows_beyond_the_bounds(
    source: str, batch: Batch, seed: int, epoch: int, share: float, longest: int
) -> None:
    copy = pad(source, longest=longest, share=share)(batch, seed=seed, epoch=epoch)
    assert (copy.clips >= batch.clips).all()
    assert (copy.clips <= batch.clips.clamp(min=longest)).all()
    assert ((copy.clips - batch.clips) <= share * batch.clips).all()
    assert copy.features.shape[1] == int(copy.clips.max())
    assert (copy.features[~copy.clip_mask] == 0).all()
    shift = (copy.start - batch.start)[:, None]
    torch.testing.assert_close(copy.moment, batch.moment + shift)
    assert torch.equal(copy.end - copy.start, batch.end - batch.start)
    for name in ("words", "characters", "pairs"):
        assert torch.equal(getattr(copy, name), getattr(batch, name))


@sources
@given(batch=batches(), seed=seeds, epoch=epochs, data=st.data())
def test_the_frames_are_a_function_of_seed_epoch_and_pair_alone(
    source: str, batch: Batch, seed: int, epoch: int, data: st.DataObject
) -> None:
    copy = pad(source)(batch, seed=seed, epoch=epoch)
    torch.manual_seed(5)
    np.random.seed(5)
    rows = torch.tensor(
        data.draw(st.lists(st.sampled_from(range(len(batch))), min_size=1, unique=True))
    )
    others = pad(source)(batch.select(rows), seed=seed, epoch=epoch)
    longest = others.features.shape[1]
    assert torch.equal(others.features, copy.features[rows][:, :longest])
    assert torch.equal(others.clips, copy.clips[rows])


def test_a_moment_that_fills_its_video_gets_no_frames_of_its_own() -> None:
    batch = numbered([6] * 20, [(0, 5)] * 20, list(range(20)))
    assert torch.equal(pad("own")(batch, seed=0, epoch=0).clips, batch.clips)
    assert (pad("other")(batch, seed=0, epoch=0).clips > batch.clips).any()


def test_a_role_of_one_video_has_no_other() -> None:
    alone = replace(ROLE, video_ids=["v"] * len(ROLE))
    batch = numbered([6], [(2, 3)], [1])
    copy = replace(pad("other"), pairs=alone)(batch, seed=0, epoch=0)
    assert torch.equal(copy.features, batch.features)


def test_lengths_and_gaps_are_equally_likely() -> None:
    """Chi-square over 4,000 named draws: k in 0..4, and 7 gaps around the moment [2, 4] of 8."""
    count = 4000
    batch = numbered([8] * count, [(2, 4)] * count, list(range(count)))
    copy = pad("own", share=0.5)(batch, seed=0, epoch=0)
    added = (copy.clips - batch.clips).numpy()
    lengths = np.bincount(added)
    assert len(lengths) == 5
    assert chisquare(lengths).pvalue > 1e-3
    moved = Counter((copy.start - batch.start)[added > 0].gt(0).tolist())
    # Gaps 0, 1, 2 come before the moment; 5, 6, 7, 8 after it.
    total = moved[True] + moved[False]
    expected = [total * 3 / 7, total * 4 / 7]
    assert chisquare([moved[True], moved[False]], expected).pvalue > 1e-3
