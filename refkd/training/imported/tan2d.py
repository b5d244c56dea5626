"""2D-TAN's published checkpoints: microsoft/VideoX, `2D-TAN/lib/models/tan.py`.

Names of weights as read in that code (MIT). No weight tells the size of the map, so the settings
are the experiment's YAML file (`experiments/*/*.yaml`). Word vectors are those of GloVe 6B, a file
of their own, and queries are cut at blanks, as there. It answers with scored spans.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from pydantic import ValidationError

from refkd.data.dataset import Dataset
from refkd.data.inputs import ModelInputs
from refkd.data.roles import OPEN_ROLES
from refkd.data.vectors import read_vectors
from refkd.data.words import FIRST, UNKNOWN
from refkd.errors import CheckpointError
from refkd.models import Tan2DConfig, build_backbone
from refkd.models.map2d import DENSE, STEPS, scales
from refkd.training.imported.vocabulary import PlainWords
from refkd.training.imported.weights import (
    Asked,
    Checkpoint,
    Reference,
    Settings,
    check_grid,
    read_settings,
)

FRAMES = "frame_layer.vis_conv.weight"
TEXT = "fusion_layer.textual_encoder.weight_ih_l0"
CONVOLUTION = "map_layer.convs.0.weight"
POOLINGS: dict[str, Literal["pool", "conv"]] = {
    "SparsePropMaxPool": "pool",
    "SparsePropConv": "conv",
}


def _sparse(found: re.Match[str]) -> str:
    """Return our name of a layer that the reference counts anew in each scale."""
    scale, number = int(found[1]), int(found[2])
    return f"sparse.{number if scale == 0 else DENSE + STEPS * (scale - 1) + number}."


TAN2D = Reference(
    title="2D-TAN (microsoft/VideoX)",
    first={
        r"frame_layer\.vis_conv\.": "frames.",
        r"prop_layer\.layers\.(\d+)\.(\d+)\.": _sparse,
        r"fusion_layer\.textual_encoder\.": "text.",
        r"fusion_layer\.tex_linear\.": "text_linear.",
        r"fusion_layer\.vis_conv\.": "cells.",
        r"map_layer\.convs\.": "convolutions.layers.",
        r"pred_layer\.": "prediction.",
    },
)


def ask_tan2d(checkpoint: Checkpoint, files: Mapping[str, Path], dataset: Dataset) -> Asked:
    """Return 2D-TAN of a checkpoint, with the vectors of the words that the dataset says."""
    settings = read_settings(files["settings"])
    config = _config(checkpoint, settings)
    cut = _cut_charades if settings.get("DATASET", "NAME") == "Charades" else _cut
    queries = [query for role in OPEN_ROLES for query in dataset.role(role).queries]
    held = read_vectors(files["vectors"], {w for q in queries for w in cut(q)}, further=0)
    width, expected = held.vectors.shape[1], checkpoint.shape(TEXT, 2)[1]
    if width != expected:
        raise CheckpointError(
            f"{files['vectors']}: word vectors of {width} numbers, but the checkpoint has "
            f"{expected}; give those that it was trained with (GloVe 6B, 300 numbers)"
        )
    features = checkpoint.shape(FRAMES, 3)[1]
    inputs = ModelInputs(feature_dim=features, word_vectors=held.vectors, characters=FIRST)
    network = TAN2D.load(checkpoint, build_backbone(config, inputs, seed=0))
    check_grid(checkpoint, dataset, width=features, clips=None)
    ids = {word: row + FIRST for word, row in held.rows.items()}
    words = PlainWords(cut=cut, ids=ids, unknown=UNKNOWN)
    return Asked(network=network, words=words, kind="spans")


def _config(checkpoint: Checkpoint, settings: Settings) -> Tan2DConfig:
    """Return the network that the settings tell; `CheckpointError` where refkd has none such."""
    segments = settings.number("DATASET", "NUM_SAMPLE_CLIPS")
    stride = settings.number("DATASET", "TARGET_STRIDE")
    layers = len({n.split(".")[2] for n in checkpoint.state if n.startswith("map_layer.convs.")})
    hidden, kernel = checkpoint.shape(CONVOLUTION, 4)[::3]
    frames, prop, text, cells = (
        ("TAN", f"{part}_MODULE", "PARAMS") for part in ("FRAME", "PROP", "FUSION", "MAP")
    )
    settings.require("DATASET", "NAME", among=("Charades", "ActivityNet", "TACoS"))
    settings.require("DATASET", "NORMALIZE", among=(True,))
    settings.require("TAN", "FRAME_MODULE", "NAME", among=("FrameAvgPool",))
    settings.require(*frames, "KERNEL_SIZE", among=(stride,))
    settings.require(*frames, "STRIDE", among=(stride,))
    settings.require(*cells, "STRIDES", among=([1] * layers,))
    settings.require(*cells, "DILATIONS", among=([1] * layers,))
    padding = layers * (kernel // 2)
    settings.require(*cells, "PADDINGS", among=([padding] + [0] * (layers - 1),))
    pooling = settings.require("TAN", "PROP_MODULE", "NAME", among=tuple(POOLINGS))
    try:
        config = Tan2DConfig(
            hidden=hidden,
            segments=segments,
            map_clips=segments // stride,
            sparse=POOLINGS[pooling],
            convolutions=layers,
            kernel=kernel,
            text_layers=settings.number(*text, "LSTM", "NUM_LAYERS"),
            nms=settings.get("TEST", "NMS_THRESH"),
        )
    except ValidationError as error:
        raise CheckpointError(
            f"{settings.path}: {error.errors()[0]['msg']}; refkd's 2D-TAN has no such form, give "
            "a checkpoint of another"
        ) from None
    settings.require(*prop, "NUM_SCALE_LAYERS", among=(list(scales(config.map_clips)),))
    return config


def _cut(query: str) -> list[str]:
    return query.lower().split()


def _cut_charades(query: str) -> list[str]:
    return _cut(query.rstrip("\n").removesuffix("."))
