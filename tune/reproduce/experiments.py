"""What each table and figure of the paper compares, as systems, and how large they are trained."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
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
    students = [
        System(label=variant, backbone=PRIMARY, distill=VARIANTS[variant].settings)
        for variant in variants
    ]
    systems = [*teacher_systems("", PRIMARY).values(), *students]
    return Experiment(name=name, title=title, systems=systems, metrics=ABLATED)


def _family(prefix: str, backbone: str) -> list[System]:
    student = System(label=f"{prefix}RefKD", backbone=backbone)
    return [*teacher_systems(prefix, backbone).values(), student]


NETWORKS: dict[str, dict[str, Any]] = {
    "vslnet-rnn": {"name": "vslnet", "predictor": "rnn"},
    **{name: {"name": name} for name in ("seqpan", "mrtnet", "emb", "qave", "tan2d")},
}
"""The backbones by the name that tables and logs use."""


@dataclass(frozen=True, kw_only=True)
class Scale:
    """What it costs to fill a table."""

    name: str
    seeds: int
    """Teachers and students of each row."""
    training: dict[str, Any]
    warmup_epochs: int
    """W of the students, unless a row says otherwise."""
    sweep: Sequence[int]
    """The warm-up lengths of Figure 3."""
    sizes: dict[str, Any]
    """Sizes of every network of the VSLNet family; empty for the paper's."""
    others: dict[str, dict[str, Any]]
    """Sizes of the networks that have others."""
    rates: Mapping[str, float] = field(default_factory=dict)
    """Learning rates of networks that need another."""

    def with_epochs(self, epochs: int) -> Scale:
        """Return the scale with another number of epochs, and warm-ups of the same share of them.

        >>> SCALES["small"].with_epochs(4).warmup_epochs
        1
        """
        share = epochs / self.training["epochs"]
        return replace(
            self,
            name=f"{self.name}, {epochs} epochs",
            training={**self.training, "epochs": epochs},
            warmup_epochs=round(self.warmup_epochs * share),
            sweep=sorted({round(warmup * share) for warmup in self.sweep}),
        )

    def network(self, key: str) -> dict[str, Any]:
        """Return the backbone section for a key of `NETWORKS`."""
        return {**NETWORKS[key], **self.others.get(key, self.sizes)}

    def training_settings(self, key: str) -> dict[str, Any]:
        """Return what every network of a key of `NETWORKS` has in its training section."""
        rates = {"learning_rate": self.rates[key]} if key in self.rates else {}
        return {**self.training, **rates}


SMALL = {"hidden": 32, "heads": 4}
MAP = {"map_clips": 8, "segments": 32, "convolutions": 2, "kernel": 3, "text_layers": 1}
SCALES = {
    scale.name: scale
    for scale in (
        Scale(
            name="smoke",
            seeds=2,
            training={"epochs": 2, "batch_size": 64},
            warmup_epochs=1,
            sweep=(0, 1, 2),
            sizes={"hidden": 8, "heads": 2, "char_dim": 4},
            others={
                "emb": {"hidden": 8, "heads": 2, "block": 4},
                "qave": {"hidden": 8, "span_hidden": 8},
                "tan2d": {"hidden": 8, **MAP},
            },
        ),
        Scale(
            name="small",
            seeds=3,
            training={"epochs": 8, "batch_size": 16, "learning_rate": 2e-3},
            warmup_epochs=2,
            sweep=(0, 2, 4, 8),
            sizes=SMALL,
            others={
                "emb": SMALL,
                "qave": {"hidden": 32, "span_hidden": 32},
                "tan2d": {"hidden": 32, **MAP, "map_clips": 16},
            },
            rates={"tan2d": 1e-2},
        ),
        Scale(
            name="paper",
            seeds=5,
            training={"epochs": 100, "batch_size": 32, "learning_rate": 1e-3},
            warmup_epochs=20,
            sweep=(0, 5, 10, 15, 20, 30, 40, 60),
            sizes={},
            others={},
        ),
    )
}
