"""Rows of a table of bias probes: scores without query, video or order of clips."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

KINDS = {
    "own": "own",
    "query blind": "query_blind",
    "video blind": "video_blind",
    "clips shuffled": "shuffled_clips",
}
"""A probe in words, and its name in `refkd.evaluation.probes.RoleProbes`."""
SIDES = ("id", "ood")
PROBE_HEADS = (*(f"{side.upper()} {kind}" for side in SIDES for kind in KINDS), "ID - OOD")
MEANING = (
    "mIoU with everything in sight, with every query the same unknown word, with all features "
    "zero, and with the clips of each video in a random order. A score that survives is reached "
    "from where moments usually lie."
)


def probe_row(probes: Mapping[str, Any]) -> list[str]:
    """Return the mIoUs of a system, its dumped `Probes`, in the order of `PROBE_HEADS`."""
    found = [probes[side][kind]["miou"] for side in SIDES for kind in KINDS.values()]
    return [*(f"{value:.2f}" for value in found), f"{probes['gap']['miou']:+.2f}"]


def place_rows(probes: Mapping[str, Any]) -> list[list[str]]:
    """Return side, start, end, pairs, mIoU and R1@0.5 of each part of the video with moments."""
    return [
        [
            side.upper(),
            *("{:.0%} to {:.0%}".format(*place[edge]) for edge in ("start", "end")),
            str(place["pairs"]),
            *(f"{place['metrics'][metric]:.2f}" for metric in ("miou", "r1_iou0.5")),
        ]
        for side in SIDES
        for place in probes[side]["places"]
    ]
