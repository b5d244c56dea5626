"""Made-up annotations whose videos and queries are as long as those of the published datasets."""

from __future__ import annotations

import json
from pathlib import Path
from typing import NamedTuple

import numpy as np

from refkd.seeds import generator

TENTHS = np.linspace(0.0, 1.0, 11)


class Lengths(NamedTuple):
    """The lowest, the deciles and the highest over pairs, and how they are published."""

    prefix: str
    duration: str
    clips: tuple[int, ...]
    words: tuple[int, ...]


LENGTHS = {
    "Charades": Lengths(
        "charades",
        "video_duration",
        (12, 45, 54, 60, 61, 62, 63, 65, 68, 74, 128),
        (2, 4, 5, 5, 6, 6, 7, 7, 8, 9, 10),
    ),
    "ActivityNet": Lengths(
        "anet",
        "duration",
        (4, 31, 52, 73, 96, 120, 128, 128, 128, 128, 128),
        (4, 7, 8, 9, 10, 12, 13, 15, 17, 21, 60),
    ),
}
"""Charades-CD at two clips a second, ActivityNet-CD at one, of at most 128 clips."""


def write_annotations(folder: Path, name: str, *, pairs: int) -> Path:
    """Write a train file of the published form, a pair a video and a clip a second."""
    lengths, draw = LENGTHS[name], generator(0, "lengths", name)
    folder.mkdir()
    videos = {}
    for number in range(pairs):
        seconds = round(float(np.interp(draw.random(), TENTHS, lengths.clips)))
        words = round(float(np.interp(draw.random(), TENTHS, lengths.words)))
        first, last = sorted(draw.uniform(0, seconds, 2))
        videos[f"V{number:04d}"] = {
            lengths.duration: float(seconds),
            "timestamps": [[round(float(first), 1), round(float(last), 1)]],
            "sentences": [" ".join(_word(draw) for _ in range(words))],
        }
    path = folder / f"{lengths.prefix}_train.json"
    path.write_text(json.dumps(videos), encoding="utf-8")
    return folder


def _word(draw: np.random.Generator) -> str:
    """Return one of some hundred made-up words."""
    return ["ab", "cde", "fghi", "jklmn", "opqrst"][int(draw.integers(5))] + "uvwxyz"[
        int(draw.integers(6))
    ] * int(draw.integers(1, 5))
