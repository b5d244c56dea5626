"""How a network is trained, whichever role it has."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from refkd.config import Config, Settings

Selection = Literal["last", "best"]
SeveralWindows = Literal["drawn", "soft"]
SelectionMetric = Literal["val_id/miou", "val_ood/miou", "harmonic"]


class TrainingConfig(Settings):
    """The optimiser, its schedule and which epoch is kept; defaults are the paper's (section 4).

    >>> TrainingConfig(epochs=4).learning_rate
    0.001
    """

    epochs: int = Field(default=100, ge=1)
    """E, passes over the fit role."""
    batch_size: int = Field(default=32, ge=1)
    """B, pairs a step."""
    pool: int = Field(default=16, ge=1)
    """Batches drawn together and cut by length, so that each is padded little; 1 for none."""
    learning_rate: float = Field(default=1e-3, gt=0)
    """Step size at the first step; it falls linearly to 0 over all steps."""
    weight_decay: float = Field(default=0.0, ge=0)
    """Decoupled decay of AdamW, on all but biases and normalisation (A23: the paper has none)."""
    clip_norm: float | None = Field(default=1.0, gt=0)
    """Largest gradient norm; null for no clipping (the paper names none, VSLNet uses 1.0)."""
    precision: Literal["float32", "bfloat16"] = "float32"
    """Arithmetic of the forward pass; bfloat16 is autocast, weights stay float32. Slower than
    float32 on processors without instructions for it, which a warning says."""
    ema: float = Field(default=0.0, ge=0, lt=1)
    """Decay of an exponential average of the weights over the steps: it is what is validated and
    kept; 0 for the weights themselves. Its memory is about 1 / (1 - ema) steps."""
    windows: SeveralWindows = "drawn"
    """What is learned of a query with several windows: one of them, drawn anew for each epoch, or
    a soft label that all of them share equally, starts with starts and ends with ends."""
    select: Selection = "last"
    """Which epoch's weights are kept: the last one, or the best by `select_by`."""
    select_by: SelectionMetric = "harmonic"
    """What `best` means; harmonic is the harmonic mean of the ID and OOD validation mIoU."""


LATER: dict[str, Any] = {"ema": 0.0, "windows": "drawn"}
"""Settings that earlier versions had not, with what they did."""


def recorded(config: Config) -> dict[str, Any]:
    """Return the configuration of a student or a teacher as JSON, as earlier versions had it.

    A setting that they had not is left out while it is off: equal trainings keep their address.
    """
    content = config.model_dump(mode="json")
    for name, off in LATER.items():
        if content["training"][name] == off:
            del content["training"][name]
    return content
