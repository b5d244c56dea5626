from __future__ import annotations

from typing import get_args

import numpy as np
import pytest

from refkd.evaluation.compat import CONVENTIONS, Compat, Convention
from refkd.evaluation.metrics import recall_at, score, score_under


def test_every_name_has_a_convention() -> None:
    assert set(CONVENTIONS) == set(get_args(Compat))


@pytest.mark.parametrize(
    ("compat", "expected"),
    [
        # A moment [0, 12] in a video of 10 s with 5 clips, and the prediction [0, 5.2].
        (None, 5.2 / 10),
        ("haojc", 5 / (12 + 1e-4)),  # whole seconds, the raw moment, 1e-4 in the denominator
        ("vslnet", 5.2 / 10),
        ("seqpan", 5.2 / 8),  # the moment re-decoded from clips 0 to 3
        ("2dtan", 5.2 / 10),
        ("detr", 6 / 12),  # 5.2 s are 2.6 clips, rounded to 3
    ],
)
def test_tiou_of_each_convention(pairs_of, compat: Compat | None, expected: float) -> None:
    pairs = pairs_of([[0, 12]], 10.0, clips=5, spans=[[0, 3]])
    scores = score(np.array([[0.0, 5.2]]), pairs, compat=compat)
    assert scores.tiou[0] == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize(
    ("compat", "hit"),
    [(None, True), ("vslnet", True), ("seqpan", True), ("detr", True), ("2dtan", False)],
)
def test_whether_an_exact_tie_is_a_hit(pairs_of, compat: Compat | None, hit: bool) -> None:
    pairs = pairs_of([[0, 4]], 10.0, clips=10, spans=[[0, 3]])
    scores = score(np.array([[0.0, 2.0]]), pairs, compat=compat)
    assert scores.tiou[0] == 0.5
    assert scores.r1[0.5] == (100.0 if hit else 0.0)


def test_haojc_misses_a_tie_by_its_denominator_too(pairs_of) -> None:
    lenient = Convention(truth="annotated", predictions="given", denominator="lengths")
    pairs = pairs_of([[0, 4]], 10.0)
    assert score_under(np.array([[0.0, 2.0]]), pairs, lenient).r1[0.5] == 0.0


@pytest.mark.parametrize(
    ("compat", "count"),
    [(None, 3), ("haojc", 3), ("vslnet", 3), ("seqpan", 3), ("detr", 3), ("2dtan", 1)],
)
def test_only_2dtan_drops_empty_pairs(pairs_of, compat: Compat | None, count: int) -> None:
    pairs = pairs_of([[1, 4], [11, 12], [6, 5]], 10.0)
    scores = score(np.array([[1.0, 4.0]] * 3), pairs, compat=compat)
    assert len(scores.tiou) == count


def test_only_the_default_clamps_predictions(pairs_of) -> None:
    pairs = pairs_of([[5, 10]], 10.0)
    assert score(np.array([[5.0, 12.0]]), pairs).miou == 100.0
    assert score(np.array([[5.0, 12.0]]), pairs, compat="vslnet").miou == pytest.approx(500 / 7)


def test_detr_clips_at_150_seconds_unless_a_video_is_longer(pairs_of) -> None:
    prediction = np.array([[[100.0, 190.0]]])
    short = pairs_of([[100, 150]], 150.0, clips=15)
    assert recall_at(1, prediction, short, compat="detr").r[0.9] == 100.0
    longer = pairs_of([[100, 190]], 200.0, clips=20)
    assert recall_at(1, prediction, longer, compat="detr").r[0.9] == 100.0


def test_seqpan_calls_the_nearest_clips_perfect(pairs_of) -> None:
    pairs = pairs_of([[1.3, 4.6]], 10.0, clips=5, spans=[[1, 1]])
    prediction = np.array([[2.0, 4.0]])
    assert score(prediction, pairs, compat="seqpan").miou == 100.0
    assert score(prediction, pairs).miou == pytest.approx(200 / 3.3)
