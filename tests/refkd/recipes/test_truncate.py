"""Truncation: its invariants as properties, and the balance of its draws."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numbered import batches, epochs, numbered, order, seeds, spans
from scipy.stats import chisquare
from torch.nn import functional as F

from refkd.data.batch import Batch
from refkd.data.dataset import Dataset
from refkd.recipes.truncate import BINS, Truncation, count_places, place_bins


def truncation(**changes: Any) -> Truncation:
    return Truncation(**{"gamma": 1.0, "min_clips": 4, "max_share": 0.9, **changes})


@st.composite
def truncations(draw: st.DrawFn) -> Truncation:
    counts = draw(st.lists(st.integers(0, 50), min_size=BINS * BINS, max_size=BINS * BINS))
    return Truncation(
        counts=np.array(counts, dtype=float),
        gamma=draw(st.floats(0, 1)),
        min_clips=draw(st.integers(1, 16)),
        max_share=draw(st.floats(0.1, 1)),
    )


@given(batch=batches(24), cut=truncations(), seed=seeds, epoch=epochs)
def test_a_run_of_clips_is_left_with_the_whole_moment_in_it(
    batch: Batch, cut: Truncation, seed: int, epoch: int
) -> None:
    copy = cut(batch, seed=seed, epoch=epoch)
    for row, ((s, e), (new_s, new_e)) in enumerate(zip(spans(batch), spans(copy), strict=True)):
        found = order(copy, row)
        assert found == list(range(s - new_s, s - new_s + len(found)))
        assert found[new_s : new_e + 1] == list(range(s, e + 1))
        assert len(found) == int(copy.clips[row]) <= int(batch.clips[row])
    valid = copy.clip_mask
    assert (copy.features[..., 0] == batch.pairs[:, None])[valid].all()  # no other pair's frames
    assert (copy.features[~valid] == 0).all()


@given(batch=batches(24), cut=truncations(), seed=seeds, epoch=epochs)
def test_the_guards_hold_and_a_moments_share_never_falls(
    batch: Batch, cut: Truncation, seed: int, epoch: int
) -> None:
    copy = cut(batch, seed=seed, epoch=epoch)
    length = batch.end - batch.start + 1
    assert torch.equal(copy.end - copy.start + 1, length)
    assert (length / copy.clips >= length / batch.clips).all()
    was_cut = copy.clips < batch.clips
    assert (copy.clips[was_cut] >= cut.min_clips).all()
    share = (length / copy.clips)[was_cut]
    assert (share <= cut.max_share + 1e-6).all()


@given(batch=batches(24), cut=truncations(), seed=seeds, epoch=epochs)
def test_the_annotation_goes_along_and_the_rest_stays(
    batch: Batch, cut: Truncation, seed: int, epoch: int
) -> None:
    copy = cut(batch, seed=seed, epoch=epoch)
    gone = (batch.start - copy.start)[:, None]
    torch.testing.assert_close(copy.moment, batch.moment - gone)
    for name in ("words", "characters", "pairs"):
        assert torch.equal(getattr(copy, name), getattr(batch, name))


def test_an_annotation_that_reaches_past_the_moments_clips_is_clamped() -> None:
    batch = numbered([20], [(10, 18)], [1])
    batch = replace(batch, moment=torch.tensor([[9.6, 19.4]]))
    cut = truncation(gamma=0.0, min_clips=1, max_share=1.0)
    for seed in range(50):
        copy = cut(batch, seed=seed, epoch=0)
        assert (copy.moment >= 0).all()
        assert (copy.moment <= copy.clips[:, None]).all()


@given(batch=batches(24), cut=truncations(), seed=seeds, epoch=epochs, data=st.data())
def test_the_cut_is_a_function_of_seed_epoch_and_pair_alone(
    batch: Batch, cut: Truncation, seed: int, epoch: int, data: st.DataObject
) -> None:
    copy = cut(batch, seed=seed, epoch=epoch)
    torch.manual_seed(5)
    np.random.seed(5)
    rows = torch.tensor(
        data.draw(st.lists(st.sampled_from(range(len(batch))), min_size=1, unique=True))
    )
    others = replace(cut)(batch.select(rows), seed=seed, epoch=epoch)
    assert torch.equal(others.features, copy.features[rows])
    assert torch.equal(others.clips, copy.clips[rows])
    longer = replace(batch, features=F.pad(batch.features, (0, 0, 0, 3)))
    padded = cut(longer, seed=seed, epoch=epoch)
    assert torch.equal(padded.clips, copy.clips)
    assert torch.equal(padded.features[:, :-3], copy.features)


@pytest.mark.parametrize("changed", ["seed", "epoch", "pair"])
def test_each_of_seed_epoch_and_pair_changes_the_cut(changed: str) -> None:
    cut = truncation()
    batch = numbered([20] * 30, [(8, 10)] * 30, list(range(30)))
    other = numbered([20] * 30, [(8, 10)] * 30, list(range(30, 60)))
    second = {
        "seed": lambda: cut(batch, seed=2, epoch=1),
        "epoch": lambda: cut(batch, seed=1, epoch=2),
        "pair": lambda: cut(other, seed=1, epoch=1),
    }[changed]()
    assert not torch.equal(cut(batch, seed=1, epoch=1).start, second.start)


@given(
    clips=st.integers(1, 24), share=st.floats(0.05, 1), fewest=st.integers(1, 20), data=st.data()
)
def test_every_cut_within_the_guards_is_reachable(
    clips: int, share: float, fewest: int, data: st.DataObject
) -> None:
    start, end = sorted(data.draw(st.tuples(*[st.integers(0, clips - 1)] * 2)))
    cut = truncation(min_clips=fewest, max_share=share)
    length, least = end - start + 1, fewest
    least = max(least, math.ceil(length / share - 1e-9))
    expected = {
        (a, clips - a - b)
        for a in range(start + 1)
        for b in range(clips - end)
        if clips - a - b >= least or a + b == 0
    }
    left, kept = cut.reachable(clips, start, end)
    found = list(zip(left.tolist(), kept.tolist(), strict=True))
    assert set(found) == expected
    assert len(found) == len(expected)


def cells(cut: Truncation, draws: int = 4000) -> Counter[int]:
    """Count the bins of one pair's cuts."""
    found = [cut.draw(np.random.default_rng(i), 20, 8, 10) for i in range(draws)]
    left, kept = np.array(found).T
    return Counter(place_bins(8 - left, 10 - left, kept).tolist())


@pytest.mark.parametrize("gamma", [0.0, 0.5, 1.0])
def test_bins_are_drawn_in_proportion_to_how_rare_they_are(gamma: float) -> None:
    """Chi-square over 4,000 named draws."""
    counts = (np.arange(BINS * BINS) * 7) % 31 * 1.0
    cut = truncation(counts=counts, gamma=gamma, min_clips=6)
    found = cells(cut)
    left, kept = cut.reachable(20, 8, 10)
    bins = np.unique(place_bins(8 - left, 10 - left, kept))
    weights = 1 / (counts[bins] + 1.0) ** gamma
    observed = [found[b] for b in bins.tolist()]
    assert sum(observed) == 4000
    assert chisquare(observed, 4000 * weights / weights.sum()).pvalue > 1e-3


def test_cuts_within_a_bin_are_equally_likely() -> None:
    cut = truncation(min_clips=6)
    left, kept = cut.reachable(20, 8, 10)
    bins = place_bins(8 - left, 10 - left, kept)
    crowded = Counter(bins.tolist()).most_common(1)[0][0]
    draws = [cut.draw(np.random.default_rng(i), 20, 8, 10) for i in range(6000)]
    every = list(zip(left[bins == crowded].tolist(), kept[bins == crowded].tolist(), strict=True))
    observed = [Counter(draws)[pair] for pair in every]
    assert len(every) > 3
    assert chisquare(observed).pvalue > 1e-3


def test_the_histogram_counts_every_pair_of_a_role_once(tiny_dataset: Dataset) -> None:
    fit = tiny_dataset.role("fit")
    table = count_places(fit).reshape(BINS, BINS)
    expected = np.zeros((BINS, BINS))
    for (s, e), n in zip(fit.spans.tolist(), fit.clips.tolist(), strict=True):
        expected[math.floor(BINS * s / n), min(math.floor(BINS * (e + 1) / n), BINS - 1)] += 1
    assert (table == expected).all()


def spread(counts: np.ndarray) -> float:
    """Return the entropy of a histogram of places."""
    p = counts[counts > 0] / counts.sum()
    return float(-(p * np.log(p)).sum())


def test_pairs_and_copies_together_are_spread_evenly(tiny_dataset: Dataset) -> None:
    """Measured by the entropy of their places, and the more so the larger γ is."""
    fit = tiny_dataset.role("fit")
    originals = count_places(fit)

    def with_copies(cut: Truncation) -> float:
        copies = [cut(fit.batch(range(len(fit))), seed=0, epoch=e) for e in range(5)]
        places = [place_bins(*(t.numpy() for t in (c.start, c.end, c.clips))) for c in copies]
        made = np.bincount(np.concatenate(places), minlength=BINS * BINS) / len(copies)
        return spread(originals + made)

    found = [with_copies(truncation(gamma=g).balanced(fit)) for g in (0.0, 0.5, 1.0)]
    assert spread(originals) < found[0] < found[1] < found[2]


def test_the_expected_copies_are_those_that_are_made(tiny_dataset: Dataset) -> None:
    """Over 40 epochs the share of copies in each bin is as balanced for, within 0.02."""
    fit = tiny_dataset.role("fit")
    cut = truncation().balanced(fit)
    expected = cut.counts - count_places(fit)
    assert expected.sum() == pytest.approx(len(fit), rel=1e-6)
    made = np.zeros(BINS * BINS)
    for epoch in range(40):
        copy = cut(fit.batch(range(len(fit))), seed=0, epoch=epoch)
        made += np.bincount(
            place_bins(copy.start.numpy(), copy.end.numpy(), copy.clips.numpy()),
            minlength=BINS * BINS,
        )
    assert np.abs(made / made.sum() - expected / expected.sum()).max() < 0.02
