"""Backbones: a file each, all behind the contract of `refkd.models.backbone`."""

from __future__ import annotations

import hashlib
import inspect

import torch

from refkd.data.inputs import ModelInputs
from refkd.models import backbone, layers, vslnet
from refkd.models.backbone import Backbone
from refkd.models.vslnet import VSLNet, VSLNetConfig
from refkd.seeds import derive_seed

BackboneConfig = VSLNetConfig
"""The configuration of any backbone; `name` says which."""


def build_backbone(config: BackboneConfig, inputs: ModelInputs, *, seed: int) -> Backbone:
    """Return a fresh network; equal arguments give equal weights, whatever ran before."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive_seed(seed, "backbone"))
        return VSLNet(config, inputs)


def source_digest(config: BackboneConfig) -> str:
    """Return a hash over the code that turns this backbone's weights into logits.

    Knowledge is filed under it, so logits of older code are never mistaken for today's.
    """
    digest = hashlib.sha256()
    for module in (backbone, layers, vslnet):
        digest.update(inspect.getsource(module).encode())
    return digest.hexdigest()


__all__ = ["Backbone", "BackboneConfig", "VSLNetConfig", "build_backbone", "source_digest"]
