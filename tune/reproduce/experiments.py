"""What each table and figure of the paper compares, as systems, and how large they are trained."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from refkd.distill.variants import VARIANTS

PRIMARY = "mrtnet"
"""The paper's backbone of teachers and student."""
ABLATED = ("r1_iou0.5", "r1_iou0.7", "miou")
"""Metrics of the tables that leave a part of the method out."""


@dataclass(frozen=True, kw_only=True)
class System:
    """One row: a network trained by a recipe, or distilled from the two teachers of its kind."""

    label: str
    backbone: str
    """Key of `NETWORKS`."""
    network: Mapping[str, Any] = field(default_factory=dict)
    """Settings of the backbone that this row needs."""
    recipe: str | None = None
    """Of a teacher or a baseline; None for a student."""
    selects: Literal["id", "ood"] = "id"
    """The validation role by which the kept epoch of a teacher is chosen."""
    distill: Mapping[str, Any] = field(default_factory=dict)
    """Settings of a student that differ from RefKD's."""


@dataclass(frozen=True, kw_only=True)
class Experiment:
    """A table or a figure."""

    name: str
    title: str
    kind: Literal["table", "scatter", "curve", "timelines"] = "table"
    systems: Sequence[System]
    metrics: tuple[str, ...] = ("r1_iou0.3", "r1_iou0.5", "r1_iou0.7", "miou")


def teacher_systems(prefix: str, backbone: str) -> dict[str, System]:
    """Return both teachers of a backbone, by `id` and `ood`."""
    inside, outside = f"{prefix}ID teacher", f"{prefix}OOD teacher"
    return {
        "id": System(label=inside, backbone=backbone, recipe="id"),
        "ood": System(label=outside, backbone=backbone, recipe="refkd_text", selects="ood"),
    }


def experiments(sweep: Sequence[int] = ()) -> dict[str, Experiment]:
    """Return all by name, in the paper's order; `sweep` are the warm-up lengths of Figure 3."""
    primary = _family("", PRIMARY)
    others = [*_family("VSLNet ", "vslnet-rnn"), *_family("SeqPAN ", "seqpan")]
    warmups = [
        System(label=f"W = {n}", backbone=PRIMARY, distill={"warmup_epochs": n}) for n in sweep
    ]
    found = [
        Experiment(
            name="table1",
            title="Table 1: RefKD and published systems",
            systems=[
                System(label="2D-TAN", backbone="tan2d", recipe="id"),
                System(label="VSLNet", backbone="vslnet-rnn", recipe="id"),
                System(
                    label="Shuffle Video",
                    backbone="qave",
                    network={"match_weight": 0.0},  # the recipe has this loss already
                    recipe="hao2022",
                ),
                System(label="To-Debias", backbone="vslnet-rnn", recipe="zhang2021b"),
                System(label="SeqPAN", backbone="seqpan", recipe="id"),
                System(label="EMB", backbone="emb", recipe="id"),
                *primary,
            ],
        ),
        Experiment(name="table2", title="Table 2: RefKD on other backbones", systems=others),
        _ablation("table3", "Table 3: strategies", "RefKD", "w/o LR", "w/o DR", "w/o both"),
        _ablation("table4", "Table 4: label rectification", "RefKD", "Pure GT", "Window f"),
        _ablation(
            "table5",
            "Table 5: teachers, RefKD, and RefKD without label rectification",
            *("RefKD", "w/o LR"),
        ),
        Experiment(
            name="figure1",
            title="Figure 1: in and out of distribution, from teachers to students",
            kind="scatter",
            systems=[*_family("MRTNet ", PRIMARY), *others],
        ),
        Experiment(
            name="figure3",
            title="Figure 3: length of the warm-up",
            kind="curve",
            systems=[*primary[:2], *warmups],
        ),
        Experiment(
            name="figure4",
            title="Figure 4: what teachers and student answer",
            kind="timelines",
            systems=primary,
        ),
    ]
    return {one.name: one for one in found}


def _ablation(name: str, title: str, *variants: str) -> Experiment:
    """Return a table of both teachers and of variants of the method."""
    students = [System(label=v, backbone=PRIMARY, distill=VARIANTS[v].settings) for v in variants]
    systems = [*teacher_systems("", PRIMARY).values(), *students]
    return Experiment(name=name, title=title, systems=systems, metrics=ABLATED)


def _family(prefix: str, backbone: str) -> list[System]:
    student = System(label=f"{prefix}RefKD", backbone=backbone)
    return [*teacher_systems(prefix, backbone).values(), student]
