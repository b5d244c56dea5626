"""Moving a moment: the invariants of `translate` as properties over all moments and videos."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numbered import batches, epochs, numbered, order, seeds, spans
from scipy.stats import chisquare
from torch import Tensor
from torch.nn import functional as F

from refkd.data.batch import Batch
from refkd.recipes import translate


def moves(batch: Batch) -> Tensor:
    """Return (B,) bool: may the moment be moved at all?"""
    length = batch.end - batch.start + 1
    return (length > 1) & (length < batch.clips)


@given(batch=batches(), seed=seeds, epoch=epochs)
def test_the_moment_and_the_background_keep_their_frames_and_their_order(
    batch: Batch, seed: int, epoch: int
) -> None:
    copy = translate(batch, seed=seed, epoch=epoch)
    for row, ((s, e), (new_s, new_e)) in enumerate(zip(spans(batch), spans(copy), strict=True)):
        n, found = int(batch.clips[row]), order(copy, row)
        assert sorted(found) == list(range(n))
        assert 0 <= new_s <= new_e < n
        assert found[new_s : new_e + 1] == list(range(s, e + 1))
        assert found[:new_s] + found[new_e + 1 :] == [*range(s), *range(e + 1, n)]
    assert (copy.features[:, :, 0] == batch.features[:, :, 0]).all()  # no other pair's frames


@given(batch=batches(), seed=seeds, epoch=epochs)
def test_lengths_padding_words_and_the_annotation_go_along(
    batch: Batch, seed: int, epoch: int
) -> None:
    copy = translate(batch, seed=seed, epoch=epoch)
    assert torch.equal(copy.clips, batch.clips)
    assert torch.equal(copy.end - copy.start, batch.end - batch.start)
    assert (copy.features[~copy.clip_mask] == 0).all()
    shift = (copy.start - batch.start)[:, None]
    torch.testing.assert_close(copy.moment, batch.moment + shift)
    for name in ("words", "characters", "pairs"):
        assert torch.equal(getattr(copy, name), getattr(batch, name))


@given(batch=batches(), seed=seeds, epoch=epochs)
def test_a_moment_of_one_clip_or_of_the_whole_video_stays(
    batch: Batch, seed: int, epoch: int
) -> None:
    copy = translate(batch, seed=seed, epoch=epoch)
    stays = ~moves(batch)
    assert torch.equal(copy.start[stays], batch.start[stays])
    assert torch.equal(copy.features[stays], batch.features[stays])


@given(batch=batches(), seed=seeds, epoch=epochs)
def test_the_original_is_left_as_it_was(batch: Batch, seed: int, epoch: int) -> None:
    features, start = batch.features.clone(), batch.start.clone()
    translate(batch, seed=seed, epoch=epoch)
    assert torch.equal(batch.features, features)
    assert torch.equal(batch.start, start)


@given(batch=batches(), seed=seeds, epoch=epochs, data=st.data())
def test_the_place_is_a_function_of_seed_epoch_and_pair_alone(
    batch: Batch, seed: int, epoch: int, data: st.DataObject
) -> None:
    copy = translate(batch, seed=seed, epoch=epoch)
    rows = torch.tensor(
        data.draw(st.lists(st.sampled_from(range(len(batch))), min_size=1, unique=True))
    )
    others = translate(batch.select(rows), seed=seed, epoch=epoch)
    assert torch.equal(others.features, copy.features[rows])
    assert torch.equal(others.start, copy.start[rows])
    longer = replace(batch, features=F.pad(batch.features, (0, 0, 0, 3)))
    padded = translate(longer, seed=seed, epoch=epoch)
    assert torch.equal(padded.start, copy.start)
    assert torch.equal(padded.features[:, :-3], copy.features)


def test_the_place_ignores_the_global_random_state() -> None:
    batch = numbered([12] * 20, [(2, 4)] * 20, list(range(20)))
    first = translate(batch, seed=1, epoch=1).start
    torch.manual_seed(5)
    np.random.seed(5)
    assert torch.equal(translate(batch, seed=1, epoch=1).start, first)


@pytest.mark.parametrize("changed", ["seed", "epoch", "pair"])
def test_each_of_seed_epoch_and_pair_changes_the_place(changed: str) -> None:
    """40 pairs with 10 places each: equal by chance with probability 1e-40."""
    batch = numbered([12] * 40, [(2, 4)] * 40, list(range(40)))
    other = numbered([12] * 40, [(2, 4)] * 40, list(range(40, 80)))
    first = translate(batch, seed=1, epoch=1).start
    second = {
        "seed": lambda: translate(batch, seed=2, epoch=1),
        "epoch": lambda: translate(batch, seed=1, epoch=2),
        "pair": lambda: translate(other, seed=1, epoch=1),
    }[changed]().start
    assert not torch.equal(first, second)


@pytest.mark.parametrize("varied", ["seed", "epoch", "pair"])
def test_every_place_is_equally_likely(varied: str) -> None:
    """Chi-square over 3,000 draws of 8 places; the draws are named, so the test is not random."""
    draws, length, clips = 3000, 3, 10
    moment = (clips, (4, 4 + length - 1))
    if varied == "pair":
        many = numbered([moment[0]] * draws, [moment[1]] * draws, list(range(draws)))
        places = translate(many, seed=0, epoch=0).start
    else:
        one = numbered([moment[0]], [moment[1]], [7])
        named = ({"seed": 0, "epoch": 0, varied: i} for i in range(draws))
        places = torch.cat([translate(one, **names).start for names in named])
    counts = torch.bincount(places, minlength=clips - length + 1).numpy()
    assert len(counts) == clips - length + 1
    assert chisquare(counts).pvalue > 1e-3


@pytest.mark.parametrize(
    ("place", "expected"),
    [
        (0, [3, 4, 0, 1, 2, 5]),
        (2, [0, 1, 3, 4, 2, 5]),
        (3, [0, 1, 2, 3, 4, 5]),
        (4, [0, 1, 2, 5, 3, 4]),
    ],
)
def test_a_moment_by_hand(place: int, expected: list[int]) -> None:
    """v[0..5] with the moment [3, 4]: bg[:c] ++ v[3..4] ++ bg[c:]."""
    batch = numbered([6], [(3, 4)], [0])
    seen = {}
    for seed in range(200):
        copy = translate(batch, seed=seed, epoch=0)
        seen[int(copy.start)] = order(copy, 0)
    assert set(seen) == {0, 1, 2, 3, 4}
    assert seen[place] == expected
