"""What each table and figure of the paper compares, as systems that can be trained here."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from refkd.distill.variants import VARIANTS

Kind = Literal["table", "scatter", "curve", "timelines"]

PRIMARY = "mrtnet"
"""The paper's backbone of teachers and student."""
TEACHERS = {"id": "id", "ood": "refkd_text"}
"""Recipe of each teacher."""
ABLATED = ("r1_iou0.5", "r1_iou0.7", "miou")
"""Metrics of the tables that leave a part of the method out."""


@dataclass(frozen=True, kw_only=True)
class System:
    """One row: a network trained by a recipe, or distilled from the two teachers of its kind."""

    label: str
    backbone: str
    """Key of `scales.NETWORKS`."""
    network: dict[str, Any] = field(default_factory=dict)
    """Settings of the backbone that this row needs."""
    recipe: str | None = None
    """Of a teacher or a baseline; None for a student."""
    selects: Literal["id", "ood"] = "id"
    """The validation role by which the kept epoch of a teacher is chosen."""
    distill: dict[str, Any] = field(default_factory=dict)
    """Settings of a student that differ from RefKD's."""
    warmup_epochs: int | None = None
    """W of a student where it is not the scale's."""

    @property
    def is_student(self) -> bool:
        """Whether it is distilled."""
        return self.recipe is None


@dataclass(frozen=True, kw_only=True)
class Experiment:
    """A table or a figure."""

    name: str
    title: str
    kind: Kind
    systems: Sequence[System]
    metrics: tuple[str, ...] = ("r1_iou0.3", "r1_iou0.5", "r1_iou0.7", "miou")
    paper: str = ""
    """The table of the paper whose rows are set beside; empty for none."""


def experiment(name: str, *, sweep: Sequence[int]) -> Experiment:
    """Return an experiment by its name; `sweep` are the warm-up lengths of Figure 3."""
    made = {e.name: e for e in [*_tables(), *_figures(sweep)]}
    return made[name]


def names() -> list[str]:
    """Return all names, in the paper's order."""
    return [e.name for e in [*_tables(), *_figures(())]]


def _tables() -> list[Experiment]:
    primary = _family("", PRIMARY)
    return [
        Experiment(
            name="table1",
            title="Table 1: RefKD and published systems",
            kind="table",
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
            paper="table1",
        ),
        Experiment(
            name="table2",
            title="Table 2: RefKD on other backbones",
            kind="table",
            systems=_other_backbones(),
            paper="table2",
        ),
        _ablation("table3", "Table 3: strategies", ["RefKD", "w/o LR", "w/o DR", "w/o both"]),
        _ablation("table4", "Table 4: label rectification", ["RefKD", "Pure GT", "Window f"]),
        Experiment(
            name="table5",
            title="Table 5: teachers, RefKD, and RefKD without label rectification",
            kind="table",
            systems=[*primary, _student("w/o LR", PRIMARY, "w/o LR")],
            metrics=ABLATED,
            paper="table5",
        ),
    ]


def _figures(sweep: Sequence[int]) -> list[Experiment]:
    primary = _family("", PRIMARY)
    return [
        Experiment(
            name="figure1",
            title="Figure 1: in and out of distribution, from teachers to students",
            kind="scatter",
            systems=[*_family("MRTNet ", PRIMARY), *_other_backbones()],
        ),
        Experiment(
            name="figure3",
            title="Figure 3: length of the warm-up",
            kind="curve",
            systems=[
                *primary[:2],
                *(
                    System(label=f"W = {epochs}", backbone=PRIMARY, warmup_epochs=epochs)
                    for epochs in sweep
                ),
            ],
        ),
        Experiment(
            name="figure4",
            title="Figure 4: what teachers and student answer",
            kind="timelines",
            systems=primary,
        ),
    ]


def _ablation(name: str, title: str, variants: Sequence[str]) -> Experiment:
    return Experiment(
        name=name,
        title=title,
        kind="table",
        systems=[
            *_family("", PRIMARY)[:2],
            *(_student(variant, PRIMARY, variant) for variant in variants),
        ],
        metrics=ABLATED,
        paper=name,
    )


def _other_backbones() -> list[System]:
    return [*_family("VSLNet ", "vslnet-rnn"), *_family("SeqPAN ", "seqpan")]


def _family(prefix: str, backbone: str) -> list[System]:
    """Return both teachers of a backbone and its student."""
    return [
        System(label=f"{prefix}ID teacher", backbone=backbone, recipe=TEACHERS["id"]),
        System(
            label=f"{prefix}OOD teacher", backbone=backbone, recipe=TEACHERS["ood"], selects="ood"
        ),
        _student(f"{prefix}RefKD", backbone, "RefKD"),
    ]


def _student(label: str, backbone: str, variant: str) -> System:
    return System(label=label, backbone=backbone, distill=dict(VARIANTS[variant].settings))
