"""Sizes and switches that several backbones share."""

from __future__ import annotations

from typing import Self

from pydantic import Field, model_validator

from refkd.config import Settings


class NamedConfig(Settings):
    """A network by its name."""

    @property
    def label(self) -> str:
        """What tables call this network: its plain name, unless that would promise too much."""
        return type(self).__name__.removesuffix("Config")


class AttentionConfig(NamedConfig):
    """The sizes of a network with attention; the defaults are RefKD's (section 4)."""

    hidden: int = Field(default=128, ge=1)
    """D, the width of every layer."""
    heads: int = Field(default=8, ge=1)
    """Attention heads; must divide `hidden`."""
    dropout: float = Field(default=0.2, ge=0, lt=1)
    """p, the share of activations dropped in training."""
    max_positions: int = Field(default=128, ge=1)
    """L_max, the longest video in clips and the longest query in words."""

    @model_validator(mode="after")
    def _heads_divide(self) -> Self:
        if self.hidden % self.heads:
            raise ValueError(f"hidden={self.hidden} is not divisible by heads={self.heads}")
        return self


class NetworkConfig(AttentionConfig):
    """What the VSLNet family has beside: characters, and convolutions over clips and words."""

    char_dim: int = Field(default=50, ge=1)
    """Width of a character's embedding (50 for Charades, 100 for ActivityNet)."""
    mask_conv: bool = True
    """Mask padded rows before each convolution; false is the references' behaviour."""
