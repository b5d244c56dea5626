"""Backbones: a file each, all behind the contract of `refkd.models.backbone`."""

from __future__ import annotations

import hashlib
import inspect
from types import ModuleType
from typing import Annotated, Any, NamedTuple

import torch
from pydantic import Discriminator, Tag

from refkd.data.inputs import ModelInputs
from refkd.models import (
    attention,
    backbone,
    blocks,
    convolution,
    decode,
    dropout,
    elastic,
    emb,
    guided,
    layers,
    map2d,
    mrtnet,
    qave,
    recurrent,
    seqpan,
    tan2d,
    vslnet,
)
from refkd.models.backbone import Backbone, SpanBackbone
from refkd.models.emb import EMB, EMBConfig
from refkd.models.mrtnet import MRTNet, MRTNetConfig
from refkd.models.qave import QAVE, QAVEConfig
from refkd.models.seqpan import SeqPAN, SeqPANConfig
from refkd.models.tan2d import Tan2D, Tan2DConfig
from refkd.models.vslnet import VSLNet, VSLNetConfig
from refkd.seeds import derive_seed


def _name(config: Any) -> str:
    """Return which backbone a configuration is of; one without a name is VSLNet's."""
    named = config.get("name") if isinstance(config, dict) else getattr(config, "name", None)
    return "vslnet" if named is None else str(named)


BackboneConfig = Annotated[
    Annotated[VSLNetConfig, Tag("vslnet")]
    | Annotated[SeqPANConfig, Tag("seqpan")]
    | Annotated[MRTNetConfig, Tag("mrtnet")]
    | Annotated[EMBConfig, Tag("emb")]
    | Annotated[QAVEConfig, Tag("qave")]
    | Annotated[Tan2DConfig, Tag("tan2d")],
    Discriminator(_name),
]
"""The configuration of any backbone; `name` says which."""


_SHARED = (attention, backbone, convolution, decode, dropout, layers)
"""The contract and the layers that every network may be made of."""


class _Network(NamedTuple):
    network: type[Backbone]
    code: tuple[ModuleType, ...]
    """What turns its weights into logits, beside the contract and the shared layers."""


NETWORKS = {
    "vslnet": _Network(VSLNet, (vslnet,)),
    "seqpan": _Network(SeqPAN, (seqpan, vslnet)),
    "mrtnet": _Network(MRTNet, (mrtnet, vslnet)),
    "emb": _Network(EMB, (emb, blocks, elastic, guided, recurrent, vslnet)),
    "qave": _Network(QAVE, (qave, recurrent)),
    "tan2d": _Network(Tan2D, (tan2d, map2d)),
}
"""The backbones by the name in their configuration."""


def build_backbone(config: BackboneConfig, inputs: ModelInputs, *, seed: int) -> Backbone:
    """Return a fresh network; equal arguments give equal weights, whatever ran before."""
    network: Any = NETWORKS[config.name].network
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive_seed(seed, "backbone"))
        built: Backbone = network(config, inputs)
    return built


def is_student(config: BackboneConfig) -> bool:
    """Return whether the network has a span predictor, so that a student can be made of it."""
    return issubclass(NETWORKS[config.name].network, SpanBackbone)


def source_digest(config: BackboneConfig) -> str:
    """Return a hash over the code that turns this backbone's weights into logits.

    Knowledge is filed under it, so logits of older code are never mistaken for today's.
    """
    digest = hashlib.sha256()
    for module in (*_SHARED, *NETWORKS[config.name].code):
        digest.update(inspect.getsource(module).encode())
    return digest.hexdigest()


__all__ = [
    "NETWORKS",
    "Backbone",
    "BackboneConfig",
    "EMBConfig",
    "MRTNetConfig",
    "QAVEConfig",
    "SeqPANConfig",
    "SpanBackbone",
    "Tan2DConfig",
    "VSLNetConfig",
    "build_backbone",
    "is_student",
    "source_digest",
]
