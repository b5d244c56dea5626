"""Scoring a role: mIoU and R1 with intervals over resampled videos."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from benchmarks.baselines import scores
from benchmarks.measure import in_turns
from benchmarks.rows import Aim, Row, row
from refkd.evaluation.intervals import cluster_bootstrap
from refkd.evaluation.metrics import score_spans
from refkd.seeds import generator


def run(smoke: bool) -> Iterator[Row]:
    """Yield a plain loop over ours; both must find the same scores, and intervals alike."""
    count, resamples, repeats = (60, 20, 1) if smoke else (13_578, 2000, 5)
    random = generator("benchmark", "evaluate")
    duration = np.full(count, 30.0)
    moments = np.sort(random.uniform(0, 30, (count, 2)), axis=1)
    found = np.sort(moments + random.normal(0, 3, moments.shape), axis=1).clip(0, 30)
    videos = np.array([f"video{i // 3}" for i in range(count)])
    plain = [list(map(tuple, a.tolist())) for a in (found, moments)]

    def baseline() -> scores.Array:
        means, *_ = scores.evaluate(
            plain[0], plain[1], videos.tolist(), resamples=resamples, seed=0
        )
        return means

    def ours() -> scores.Array:
        tiou = score_spans(found, moments, duration).tiou
        hits = [tiou >= threshold for threshold in scores.THRESHOLDS]
        values = 100.0 * np.stack([tiou, *hits], axis=1)
        return cluster_bootstrap(values, videos, seed=0, resamples=resamples).mean

    np.testing.assert_allclose(ours(), baseline())
    turns = in_turns(baseline, ours, repeats=repeats)
    case = f"{count} predictions, {resamples} resamples"
    yield row("evaluate", case, turns.ratios, aim=Aim(at=">=", bound=20), note=str(turns))
