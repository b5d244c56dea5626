"""Bias probes: what is left of a backbone's score without what it should need.

A score that survives a query or a video that says nothing, or clips in another order (Otani et
al., BMVC 2020), is reached from where moments usually lie. What location is worth with no network
at all is in `refkd.evaluation.floors`. Scores are percent, under the project's convention.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray

from refkd.config import Config
from refkd.data.batch import Batch
from refkd.data.pairs import Pairs
from refkd.data.words import UNKNOWN
from refkd.evaluation.floors import locations
from refkd.evaluation.metrics import LOGGED, Scores
from refkd.evaluation.predictions import Change, evaluate_role
from refkd.models.backbone import Backbone
from refkd.seeds import generator

BINS = 4
"""Bins of the start and of the end, as shares of the duration."""

Metrics = dict[str, float]
"""`miou`, `r1_iou0.3`, `r1_iou0.5`, `r1_iou0.7`; percent."""


class Place(Config):
    """The score on the pairs whose moment starts and ends in two given parts of its video."""

    start: tuple[float, float]
    """From where to where, as shares of the duration, the moment starts."""
    end: tuple[float, float]
    """From where to where it ends."""
    pairs: int
    """How many lie there."""
    metrics: Metrics
    """Their score."""


class RoleProbes(Config):
    """What the probes find on one role."""

    own: Metrics
    """The score with everything in sight."""
    query_blind: Metrics
    """With every query replaced by one unknown word."""
    video_blind: Metrics
    """With all features 0; how many clips a video has is still known."""
    shuffled_clips: Metrics
    """With the clips of each video in a random order."""
    places: list[Place]
    """`own` by the place of the moment; places without pairs are left out."""


class Probes(Config):
    """What the probes find in and out of distribution; `model_dump_json` writes it."""

    seed: int
    """Of the order of shuffled clips."""
    id: RoleProbes
    ood: RoleProbes
    gap: Metrics
    """`own` in distribution minus `own` out of distribution."""


def probe(
    backbone: Backbone,
    in_distribution: Pairs,
    out_of_distribution: Pairs,
    *,
    seed: int,
    device: torch.device | str = "cpu",
) -> Probes:
    """Return all probes on an ID and an OOD role; equal seeds give equal results."""
    found = [
        probe_role(backbone, pairs, seed=seed, device=device)
        for pairs in (in_distribution, out_of_distribution)
    ]
    return Probes(seed=seed, id=found[0], ood=found[1], gap=gap(found[0].own, found[1].own))


def probe_role(
    backbone: Backbone, pairs: Pairs, *, seed: int, device: torch.device | str = "cpu"
) -> RoleProbes:
    """Return the probes of one role: four passes over it, without gradients."""

    def scored(change: Change | None = None) -> Scores:
        return evaluate_role(backbone, pairs, device=device, change=change)

    own = scored()
    return RoleProbes(
        own=summary(own.tiou),
        query_blind=summary(scored(query_blind).tiou),
        video_blind=summary(scored(video_blind).tiou),
        shuffled_clips=summary(scored(shuffled_clips(pairs, seed=seed)).tiou),
        places=by_place(own.tiou, pairs),
    )


def query_blind(batch: Batch) -> Batch:
    """Return the batch with every query replaced by the same single unknown word, or by a 0."""
    words = torch.full_like(batch.words[:, :1], UNKNOWN)
    characters = torch.zeros_like(batch.characters[:, :1])
    characters[..., 0] = UNKNOWN
    text = None if batch.text is None else torch.zeros_like(batch.text[:, :1])
    return replace(batch, words=words, characters=characters, text=text)


def video_blind(batch: Batch) -> Batch:
    """Return the batch with all features 0 and as many clips as before."""
    return replace(batch, features=torch.zeros_like(batch.features))


def shuffled_clips(pairs: Pairs, *, seed: int) -> Change:
    """Return what puts the clips of each video of these pairs in an order of (seed, video)."""

    def change(batch: Batch) -> Batch:
        order = torch.arange(batch.features.shape[1]).repeat(len(batch), 1)
        for row, (pair, clips) in enumerate(
            zip(batch.pairs.tolist(), batch.clips.tolist(), strict=True)
        ):
            draw = generator(seed, "shuffled clips", pairs.video_ids[pair])
            order[row, :clips] = torch.from_numpy(draw.permutation(clips))
        rows = torch.arange(len(batch))[:, None]
        device = batch.features.device
        return replace(batch, features=batch.features[rows.to(device), order.to(device)])

    return change


def by_place(tiou: NDArray[np.float64], pairs: Pairs, *, bins: int = BINS) -> list[Place]:
    """Return the score of each cell of a grid of starts and ends; `tiou` is (N,).

    Every pair is in one cell, so the mean over places, weighted by pairs, is the whole score.
    """
    cells = np.minimum((locations(pairs) * bins).astype(np.int64), bins - 1)
    found = []
    for start, end in np.unique(cells, axis=0).tolist():
        here = (cells == [start, end]).all(axis=1)
        found.append(
            Place(
                start=(start / bins, (start + 1) / bins),
                end=(end / bins, (end + 1) / bins),
                pairs=int(here.sum()),
                metrics=summary(tiou[here]),
            )
        )
    return found


def gap(in_distribution: Metrics, out_of_distribution: Metrics) -> Metrics:
    """Return by how many points each metric is better in distribution."""
    return {name: value - out_of_distribution[name] for name, value in in_distribution.items()}


def summary(tiou: NDArray[np.float64]) -> Metrics:
    """Return mIoU and R1@m of (N,) temporal IoUs, percent.

    >>> summary(np.array([1.0, 0.5, 0.0]))["r1_iou0.7"]
    33.33333333333333
    """
    hits = {f"r1_iou{m}": 100.0 * float((tiou >= m).mean()) for m in LOGGED}
    return {"miou": 100.0 * float(tiou.mean()), **hits}
