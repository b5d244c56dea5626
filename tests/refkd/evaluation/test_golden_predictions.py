"""Published predictions score what was published, and what our tables say, to the last digit."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from refkd.data.grid import index_to_time, time_to_index
from refkd.evaluation.compat import CONVENTIONS, DEFAULT, Convention
from refkd.evaluation.intervals import cluster_bootstrap, paired_bootstrap
from refkd.evaluation.metrics import LOGGED, THRESHOLDS, score, score_under

RAW = Convention(truth="annotated", predictions="given")
RAW_STRICT = Convention(truth="annotated", predictions="given", strict=True)
RAW_CLAMPED = Convention(truth="annotated", predictions="clamped")

# Convention, ground truth, seconds added to the end; R1 at .1 to .9, mIoU, dR1 at .3 to .7.
TABLE = [
    (CONVENTIONS["haojc"], "split", 0, "75.35 63.85 46.84 27.47 6.64 44.28 54.36 42.36 25.95"),
    (CONVENTIONS["haojc"], "file", 0, "75.35 63.85 46.84 27.47 6.64 44.28 54.36 42.36 25.95"),
    (RAW, "split", 0, "75.35 63.91 47.32 27.67 7.17 44.28 54.39 42.76 26.14"),
    (RAW, "file", 0, "75.35 63.91 47.29 27.59 7.02 44.28 54.39 42.74 26.05"),
    (RAW_STRICT, "split", 0, "75.35 63.85 46.90 27.59 6.73 44.28 54.36 42.41 26.05"),
    (RAW_STRICT, "file", 0, "75.35 63.91 46.84 27.53 6.76 44.28 54.39 42.36 26.00"),
    (CONVENTIONS["vslnet"], "split", 0, "75.38 63.64 47.02 26.96 6.19 43.88 54.13 42.43 25.41"),
    (CONVENTIONS["vslnet"], "file", 0, "75.38 63.64 46.99 26.87 6.04 43.88 54.13 42.40 25.33"),
    (DEFAULT, "split", 0, "75.47 63.79 47.70 27.97 7.38 44.51 54.61 43.18 26.44"),
    (DEFAULT, "file", 0, "75.47 63.79 47.70 27.94 7.23 44.51 54.61 43.18 26.41"),
    (RAW_CLAMPED, "split", 1, "77.42 65.60 49.96 28.50 6.22 45.52 55.83 44.85 26.69"),
    (RAW_CLAMPED, "file", 1, "77.42 65.60 49.93 28.27 6.16 45.52 55.83 44.83 26.47"),
    (DEFAULT, "split", 1, "77.42 65.66 50.22 29.36 7.29 45.93 56.07 45.22 27.57"),
]


@pytest.mark.parametrize(("convention", "truth", "added", "expected"), TABLE)
def test_published_predictions(
    published, charades, convention: Convention, truth: str, added: float, expected: str
) -> None:
    predictions, stored = published
    pairs = charades("test_ood")
    if truth == "file":
        pairs = replace(pairs, moments=stored)
    scores = score_under(predictions + np.array([0.0, added]), pairs, convention)
    numbers = [scores.r1[m] for m in THRESHOLDS] + [scores.miou]
    numbers += [scores.dr1[m] for m in LOGGED]
    assert " ".join(f"{number:.2f}" for number in numbers) == expected


def test_detr_on_clips_of_a_second_leaves_whole_seconds_as_they_are(published, charades) -> None:
    pairs = charades("test_ood")
    seconds = replace(pairs, clips=pairs.duration)
    found = score(published[0], seconds, compat="detr")
    raw = score_under(published[0], pairs, RAW)
    assert found.r1 == raw.r1
    assert found.dr1 == raw.dr1
    assert f"{found.r1[0.5]:.2f} {found.miou:.2f}" == "47.32 44.28"


def test_2dtan_drops_three_empty_pairs_and_all_ties(published, charades) -> None:
    pairs = charades("test_ood")
    found = score(published[0], pairs, compat="2dtan")
    lenient = score(published[0], pairs, compat="vslnet")
    assert (len(found.tiou), len(lenient.tiou)) == (3372, 3375)
    for threshold in THRESHOLDS:  # an empty pair's IoU is 0: it never was a hit
        hits = int((lenient.tiou > threshold).sum())
        assert found.r1[threshold] == pytest.approx(100 * hits / 3372)
        assert found.r1[threshold] < lenient.r1[threshold] * 3375 / 3372 + 1e-9
    assert (lenient.tiou == 0.5).sum() > 10
    assert found.miou == pytest.approx(lenient.miou * 3375 / 3372)


def test_seqpan_flatters_more_the_coarser_the_grid(published, charades) -> None:
    gains = []
    for clips in (16, 32, 64, 128):
        pairs = replace(charades("test_ood"), clips=np.full(3375, clips))
        grid = (pairs.clips, pairs.duration)
        pairs = replace(pairs, spans=time_to_index(pairs.moments, *grid))
        on_grid = index_to_time(time_to_index(published[0], *grid), *grid)
        flattered = score(on_grid, pairs, compat="seqpan")
        honest = score(on_grid, pairs, compat="vslnet")
        assert flattered.miou > honest.miou
        gains.append(flattered.r1[0.5] - honest.r1[0.5])
    assert gains == sorted(gains, reverse=True)
    assert 0.2 < gains[-1] < gains[0] < 5.0


def test_miou_before_rounding(published, charades) -> None:
    assert len(published[0]) == 3375
    assert f"{score(published[0], charades('test_ood')).miou:.5f}" == "44.50513"


def test_standard_errors_over_videos(published, charades) -> None:
    pairs = charades("test_ood")
    tiou = score(published[0], pairs).tiou
    values = 100.0 * np.stack([tiou, tiou >= 0.3, tiou >= 0.5, tiou >= 0.7], axis=1)
    videos = np.array(pairs.video_ids)
    error = cluster_bootstrap(values, videos, seed=0).standard_error
    # Two earlier bootstraps gave 0.67-0.68, 0.99, 1.02-1.05 and 0.93-0.95.
    assert error == pytest.approx([0.675, 0.99, 1.035, 0.94], rel=0.06)
    naive = cluster_bootstrap(values, np.arange(len(values)), seed=0).standard_error
    assert naive[2] == pytest.approx(0.86, rel=0.06)
    whole = score(pairs.duration[:, None] * [0.0, 1.0], pairs).tiou
    paired = paired_bootstrap(values[:, :1], 100.0 * whole[:, None], videos, seed=0)
    assert paired.mean[0] == pytest.approx(44.505 - 30.66, abs=0.01)
    assert paired.low[0] > 0
