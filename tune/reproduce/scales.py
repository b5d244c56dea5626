"""How large the networks of an experiment are, and how long they train."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

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
