"""An invented world: who does what with which object, and when.

In train a moment's place follows its action (early and short, each action with its own start), as
annotators' habits do in real datasets; in test_ood moments are late, whatever the action. A share
of the train videos has moments anywhere: they are what the carve turns into `val_ood`.
"""

from __future__ import annotations

import numpy as np
from numpy.random import Generator

from refkd.data.moments import Annotations, Moment, Split

PEOPLE = ("a person", "the man", "the woman", "someone")
ACTIONS = (
    "opens", "closes", "holds", "throws", "washes", "lifts", "drops", "wipes", "moves", "paints",
)  # fmt: skip
OBJECTS = (
    "door", "book", "cup", "towel", "laptop", "window", "chair", "bag", "phone", "box", "pillow",
    "plate",
)  # fmt: skip
EARLIEST, LATEST = 0.02, 0.38
"""Mean starts, as a share of the video, of the first and the last action in train."""


def invent(
    rng: Generator,
    *,
    videos: dict[Split, int],
    queries: int,
    seconds: tuple[int, int],
    location_bias: float,
    ood_shift: float,
) -> Annotations:
    """Return invented annotations: `queries` pairs a video, of distinct actions and objects."""
    splits: dict[Split, list[Moment]] = {}
    for split, count in videos.items():
        shift = ood_shift if split == "test_ood" else 0.0
        splits[split] = [
            moment
            for number in range(count)
            for moment in _video(
                rng, f"{split}-{number:05d}", queries, seconds, location_bias, shift
            )
        ]
    return Annotations(name="simulated", splits=splits, sources={})


def _video(
    rng: Generator,
    video: str,
    queries: int,
    seconds: tuple[int, int],
    location_bias: float,
    shift: float,
) -> list[Moment]:
    duration = round(float(rng.uniform(*seconds)), 2)
    actions = rng.choice(len(ACTIONS), queries, replace=False)
    objects = rng.choice(len(OBJECTS), queries, replace=False)
    shifted, biased = rng.random() < shift, rng.random() < location_bias
    moments = []
    for k, (action, thing) in enumerate(zip(actions, objects, strict=True)):
        if shifted:
            start, length = _late(rng)
        elif biased:
            start, length = _habitual(rng, int(action))
        else:
            start, length = _anywhere(rng)
        person = PEOPLE[int(rng.integers(len(PEOPLE)))]
        moments.append(
            Moment(
                pair_id=f"{video}#{k}",
                video_id=video,
                query=f"{person} {ACTIONS[action]} the {OBJECTS[thing]}",
                start=round(start * duration, 1),
                end=min(round((start + length) * duration, 1), duration),
                duration=duration,
            )
        )
    return moments


def _habitual(rng: Generator, action: int) -> tuple[float, float]:
    mean = EARLIEST + (LATEST - EARLIEST) * action / (len(ACTIONS) - 1)
    start = float(np.clip(mean + rng.normal(0.0, 0.08), 0.0, 0.6))
    return start, float(rng.uniform(0.18, 0.38))


def _anywhere(rng: Generator) -> tuple[float, float]:
    length = float(rng.uniform(0.15, 0.45))
    return float(rng.uniform(0.0, 1.0 - length)), length


def _late(rng: Generator) -> tuple[float, float]:
    length = float(rng.uniform(0.18, 0.38))
    return float(rng.uniform(0.30, 1.0 - length)), length
