"""The project's evaluation convention, and those under which others published.

On identical predictions the convention alone moves R1@0.5 by more than three points, so a number
is only comparable with another of the same convention.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from refkd.data.grid import index_to_time
from refkd.evaluation.overlap import Spans, temporal_iou, temporal_iou_of_lengths

if TYPE_CHECKING:
    from refkd.data.pairs import Pairs

Compat = Literal["haojc", "vslnet", "seqpan", "2dtan", "detr"]
"""Whose published convention to score under."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Convention:
    """How spans are compared; the defaults are the project's own convention."""

    truth: Literal["annotated", "clamped", "decoded"] = "clamped"
    """Annotated seconds; those clamped to [0, D]; or the seconds of the gold clip labels."""
    predictions: Literal["given", "clamped", "whole_seconds", "whole_clips"] = "clamped"
    """Seconds as given; clamped to [0, D]; rounded to seconds; or clipped and rounded to clips."""
    denominator: Literal["hull", "lengths"] = "hull"
    """Of tIoU: the hull, or the sum of lengths - intersection + 1e-4 s."""
    strict: bool = False
    """A hit is tIoU > m rather than tIoU >= m."""
    drop_empty: bool = False
    """Leave pairs out whose true moment is empty or reversed, rather than count them as misses."""

    def windows(self, pairs: Pairs) -> NDArray[np.float64]:
        """Return all true windows to compare with, (N, W, 2) seconds."""
        match self.truth:
            case "annotated":
                return pairs.annotated
            case "clamped":
                return clamp(pairs.annotated, pairs.duration)
            case "decoded":
                spans = pairs.spans[:, None] if pairs.windows is None else pairs.windows.spans
                many = spans.shape[1]
                clips: NDArray[np.int64] = np.repeat(pairs.clips, many)
                duration: NDArray[np.float64] = np.repeat(pairs.duration, many)
                return index_to_time(spans.reshape(-1, 2), clips, duration).reshape(spans.shape)

    def matched(
        self, predictions: Spans, windows: Spans
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return each prediction's tIoU with the window that it matches best, and that window.

        `predictions` are (N, ..., 2), `windows` (N, W, 2). Source: QVHighlights' evaluation
        (Lei et al., 2021, `standalone_eval/eval.py`), where R1 takes the best-matching window.
        """
        count, number, _ = windows.shape
        lifted = windows.reshape(count, *[1] * (predictions.ndim - 2), number, 2)
        tiou = self.tiou(predictions[..., None, :], lifted)
        best = tiou.argmax(axis=-1)[..., None]
        wide = np.broadcast_to(lifted, (*tiou.shape, 2))
        window = np.take_along_axis(wide, best[..., None], axis=-2)[..., 0, :]
        return np.take_along_axis(tiou, best, axis=-1)[..., 0], window

    def adjusted(self, predictions: Spans, pairs: Pairs) -> NDArray[np.float64]:
        """Return (N, ..., 2) predicted seconds as this convention takes them."""
        match self.predictions:
            case "given":
                return predictions
            case "clamped":
                return clamp(predictions, pairs.duration)
            case "whole_seconds":
                return np.rint(predictions)
            case "whole_clips":
                clip = _per_pair(pairs.duration / pairs.clips, predictions)
                longest = 150.0 if pairs.duration.max() <= 150.0 else 300.0
                return np.rint(np.clip(predictions, 0.0, longest) / clip) * clip

    def tiou(self, predictions: Spans, moments: Spans) -> NDArray[np.float64]:
        """Return the temporal IoU of predictions and moments; leading axes broadcast."""
        if self.denominator == "lengths":
            return temporal_iou_of_lengths(predictions, moments)
        return temporal_iou(predictions, moments)

    def hits(self, tiou: NDArray[np.float64], threshold: float) -> NDArray[np.bool_]:
        """Return where a temporal IoU counts as a hit at `threshold`."""
        return tiou > threshold if self.strict else tiou >= threshold


DEFAULT = Convention()
"""Seconds in float64; truth and prediction clamped to [0, D]; hull; `>=`; every pair counts."""

CONVENTIONS: dict[Compat, Convention] = {
    # haojc/ShufflingVideosForTSG: truth may end past the video; predictions are whole seconds.
    "haojc": Convention(
        truth="annotated", predictions="whole_seconds", denominator="lengths", strict=True
    ),
    # VSLNet, EMB, BSSARD: truth is clamped when the data are built, predictions lie on the grid.
    "vslnet": Convention(predictions="given"),
    # SeqPAN, EMET, EMTM: truth is re-decoded from the gold labels, which inflates the score.
    "seqpan": Convention(truth="decoded", predictions="given"),
    # microsoft/2D-TAN: pairs that are empty after clamping are dropped. Its suppression of
    # overlapping spans before R@n belongs to the list of predictions, not to their scoring.
    "2dtan": Convention(predictions="given", strict=True, drop_empty=True),
    # Moment-DETR, QD-DETR, CG-DETR, lighthouse: spans are clipped to 150 s (300 s in sets with
    # longer videos), then rounded to multiples of the clip length, here that of the pair's grid.
    "detr": Convention(truth="annotated", predictions="whole_clips"),
}
"""The published conventions of `Compat`."""


def clamp(spans: Spans, duration: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return (N, ..., 2) spans with both ends moved into [0, duration].

    >>> clamp(np.array([[-1.0, 4.0], [9.0, 12.0]]), np.array([10.0, 8.0])).tolist()
    [[0.0, 4.0], [8.0, 8.0]]
    """
    return np.clip(spans, 0.0, _per_pair(duration, spans))


def _per_pair(values: NDArray[np.float64], spans: Spans) -> NDArray[np.float64]:
    """Return (N,) values shaped to broadcast over (N, ..., 2)."""
    return values.reshape(-1, *[1] * (spans.ndim - 1))
