"""A small VSLNet saved as its reference saves it, with words and characters of its own."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from refkd.data.dataset import Dataset
from refkd.data.inputs import ModelInputs
from refkd.data.words import Words
from refkd.models import VSLNetConfig, build_backbone
from refkd.models.backbone import Backbone

THEIRS = (
    (r"^embedding\.unknown", "embedding_net.word_emb.unk_vec"),
    (r"^embedding\.characters\.", "embedding_net.char_emb.char_emb."),
    (r"^embedding\.convolutions\.(\d)\.", r"embedding_net.char_emb.char_convs.\1.0."),
    (r"^embedding\.linear\.", "embedding_net.linear.conv1d."),
    (r"^video\.", "video_affine.linear.conv1d."),
    (r"encoder\.positions\.table\.", "encoder.pos_embedding.position_embeddings."),
    (r"encoder\.conv\.norms\.", "encoder.conv_block.layer_norms."),
    (r"conv\.depthwise\.(\d)\.", r"conv_block.depthwise_separable_conv.\1.0."),
    (r"conv\.pointwise\.(\d)\.", r"conv_block.depthwise_separable_conv.\1.1."),
    (r"encoder\.attention\.norm", "encoder.attention_block.layer_norm"),
    (r"encoder\.attention\.out\.", "encoder.attention_block.out_layer.conv1d."),
    (r"encoder\.attention\.(query|key|value)\.", r"encoder.attention_block.\1.conv1d."),
    (r"^encoder\.", "feature_encoder."),
    (r"^attention\.context", "cq_attention.w4C"),
    (r"^attention\.query", "cq_attention.w4Q"),
    (r"^attention\.product", "cq_attention.w4mlu"),
    (r"^attention\.linear\.", "cq_attention.cqa_linear.conv1d."),
    (r"^concat\.pool", "cq_concat.weighted_pool.weight"),
    (r"^concat\.linear\.", "cq_concat.conv1d.conv1d."),
    (r"^highlight\.", "highlight_layer.conv1d.conv1d."),
    (r"^span_head\.(start|end)_rnn\.", r"predictor.\1_encoder.lstm."),
    (r"^span_head\.(start|end)_norm\.", r"predictor.\1_layer_norm."),
    (r"^span_head\.(start|end)\.(\d)\.", r"predictor.\1_block.\2.conv1d."),
    (r"^span_head\.encoder\.", "predictor.encoder."),
)


def theirs(name: str) -> str:
    for pattern, new in THEIRS:
        name = re.sub(pattern, new, name)
    return name


def as_published(network: Backbone, vectors: np.ndarray) -> dict[str, Tensor]:
    """Return the weights of a network as the reference saves them."""
    state = {theirs(name): held.clone() for name, held in network.state_dict().items()}
    for name in state:
        if "conv1d.weight" in name:
            state[name] = state[name][..., None]  # a linear layer is a convolution there
    words = torch.from_numpy(vectors)
    state["embedding_net.word_emb.glove_vec"] = words
    state["embedding_net.word_emb.pad_vec"] = torch.zeros(1, words.shape[1])
    return state


Files = dict[str, Path]
SETTINGS: dict[str, Any] = {"hidden": 8, "heads": 4, "char_dim": 6, "max_positions": 24}


def published_vslnet(
    predictor: Literal["rnn", "transformer"], dataset: Dataset, folder: Path
) -> tuple[Backbone, Words, Files]:
    tokens = list(dataset.words.tokens)[::-2]
    vectors = np.random.default_rng(0).normal(size=(len(tokens), 7)).astype(np.float32)
    words = Words(tokens, vectors, dataset.words.characters[::-1])
    inputs = ModelInputs(
        feature_dim=dataset.feature_dim, word_vectors=vectors, characters=words.character_count
    )
    network = build_backbone(VSLNetConfig(predictor=predictor, **SETTINGS), inputs, seed=1)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter += 0.1 * torch.randn_like(parameter)
    files = {name: folder / name for name in ("vslnet_99.t7", "vocabulary.json", "answers.npz")}
    torch.save(as_published(network, vectors), files["vslnet_99.t7"])
    (folder / "configs.json").write_text(json.dumps({"num_heads": 4, "dim": 8}), "utf-8")
    held = {"words": tokens, "characters": words.characters}
    files["vocabulary.json"].write_text(json.dumps(held), "utf-8")
    return network, words, files
