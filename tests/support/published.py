"""Small networks saved as their references save them, with words and settings of their own."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from support.published_names import EMBEDDING, as_published
from torch import Tensor

from refkd.data.batch import Batch
from refkd.data.batches import evaluation_batches
from refkd.data.dataset import Dataset
from refkd.data.inputs import ModelInputs
from refkd.data.pairs import Pairs
from refkd.data.words import Words
from refkd.models import EMBConfig, QAVEConfig, Tan2DConfig, VSLNetConfig, build_backbone
from refkd.models.backbone import Backbone
from refkd.training.imported.published import published_answers

VECTOR = 7
"""Numbers of a word vector."""


@dataclass(frozen=True, kw_only=True)
class Published:
    """A network and the files of its checkpoint."""

    model: str
    network: Backbone
    checkpoint: Path
    given: dict[str, Path]
    """Its other files, by their option."""
    settings: Path
    out: Path
    read: Callable[[Batch, list[str]], Batch]
    """From a batch and its queries to what the reference would read."""

    def set(self, *keys: str, value: Any) -> None:
        """Change a setting, or with the value None remove it."""
        held = place = yaml.safe_load(self.settings.read_text("utf-8"))
        for key in keys[:-1]:
            place = place[key]
        place[keys[-1]] = value
        if value is None:
            del place[keys[-1]]
        self.settings.write_text(json.dumps(held), "utf-8")

    def ask(self, dataset: Dataset) -> None:
        published_answers(self.model, self.checkpoint, self.given, dataset, self.out)

    @torch.inference_mode()
    def answers(self, pairs: Pairs) -> dict[str, tuple[np.ndarray, ...]]:
        """Return what the network alone says of each pair: two of (L,), or one of (K, 3)."""
        found = {}
        for rows in evaluation_batches(pairs, batch_size=64):
            batch = self.read(pairs.batch(rows), [pairs.queries[row] for row in rows])
            output = self.network(batch)
            edges = torch.stack([output.spans.start, output.spans.end], dim=1)
            if self.model == "tan2d":
                listed = self.network.proposals(output, batch, top=10)
            for place, row in enumerate(rows):
                clips = int(pairs.clips[row])
                if self.model == "tan2d":
                    seconds = listed.edges[place] * float(pairs.duration[row]) / clips
                    kept = torch.cat([seconds, listed.score[place, :, None]], dim=1)
                    found[pairs.pair_ids[row]] = (kept[listed.score[place] > 0].numpy(),)
                else:
                    found[pairs.pair_ids[row]] = tuple(edges[place, :, :clips].numpy())
        return found


def perturbed(network: Backbone) -> Backbone:
    """Return the network with all weights moved, so that no zero or one hides a wrong name."""
    draw = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter += 0.1 * torch.randn(parameter.shape, generator=draw)
    return network.eval()


def with_words(batch: Batch, rows: list[list[int]], *, padding: int) -> Batch:
    length = max(map(len, rows))
    words = torch.tensor([[*ids, *[padding] * (length - len(ids))] for ids in rows])
    return replace(batch, words=words, characters=words.new_zeros(*words.shape, 16))


def vectors_of(tokens: list[str]) -> np.ndarray:
    return np.random.default_rng(0).normal(size=(len(tokens), VECTOR)).astype(np.float32)


def spoken(dataset: Dataset) -> list[str]:
    """Return every second word of a dataset, in another order than there."""
    return list(dataset.words.tokens)[::-2]


Sizes = dict[str, Any]
SETTINGS: Sizes = {"hidden": 8, "heads": 4, "max_positions": 24}
Files = tuple[
    Backbone, dict[str, Tensor], dict[str, Any], Any, Callable[[Batch, list[str]], Batch]
]
"""A network, its state, its files by option, its settings, and how it reads."""


def _trained_with_words(model: str, config: Any, dataset: Dataset) -> Files:
    tokens = spoken(dataset)
    vectors = vectors_of(tokens)
    words = Words(tokens, vectors, dataset.words.characters[::-1])
    inputs = ModelInputs(
        feature_dim=dataset.feature_dim, word_vectors=vectors, characters=words.character_count
    )
    network = perturbed(build_backbone(config, inputs, seed=1))
    state = as_published(model, network)
    state[EMBEDDING + "glove_vec"] = torch.from_numpy(vectors)
    state[EMBEDDING + "pad_vec"] = torch.zeros(1, VECTOR)

    def read(batch: Batch, queries: list[str]) -> Batch:
        ids, characters = (torch.from_numpy(found) for found in words.encode_batch(queries))
        return replace(batch, words=ids, characters=characters)

    vocabulary = {"words": tokens, "characters": words.characters}
    return network, state, {"vocabulary": vocabulary}, {"num_heads": 4, "dim": 8}, read


def vslnet(dataset: Dataset, **changes: Any) -> Files:
    config = VSLNetConfig(**SETTINGS, **{"char_dim": 6, **changes})
    return _trained_with_words("vslnet", config, dataset)


def emb(dataset: Dataset, **changes: Any) -> Files:
    config = EMBConfig(**SETTINGS, **{"reference_quirks": True, **changes})
    network, state, *rest = _trained_with_words("emb", config, dataset)
    state["position.pe"] = torch.zeros(24, 8)
    return network, state, *rest


def qave(dataset: Dataset) -> Files:
    tokens = ["#START#", *spoken(dataset)]
    vectors = vectors_of(tokens)
    inputs = ModelInputs(feature_dim=dataset.feature_dim, word_vectors=vectors, characters=2)
    network = build_backbone(QAVEConfig(hidden=3, span_hidden=4), inputs, seed=1)
    network = perturbed(network)
    state = as_published("qave", network)
    del state["words.unknown"]
    state["tod.foreback_context.0.weight"] = torch.zeros(6, 12)  # the order head: not of use

    def read(batch: Batch, queries: list[str]) -> Batch:
        said = [[w for w in re.findall(r"\w+", q.lower()) if w in tokens] for q in queries]
        rows = [[*(2 + tokens.index(w) for w in row), *[2] * 5][:5] for row in said]
        whole = torch.zeros(len(rows), 20, dataset.feature_dim)
        whole[:, : batch.features.shape[1]] = batch.features
        batch = replace(batch, features=whole, clips=torch.full((len(rows),), 20))
        return with_words(batch, rows, padding=2)

    settings = {"m_pred_activ": "relu", "video_len": 20, "sent_len": 5, "train": "charades"}
    files = {"vocabulary": {"words": tokens}, "vectors": vectors}
    return network, state, files, settings, read


def tan2d(dataset: Dataset, **changes: Any) -> Files:
    tokens = spoken(dataset)
    vectors = vectors_of(tokens)
    inputs = ModelInputs(feature_dim=dataset.feature_dim, word_vectors=vectors, characters=2)
    sizes = {"hidden": 6, "segments": 8, "map_clips": 4, "convolutions": 2, "kernel": 3, **changes}
    config = Tan2DConfig(**sizes, text_layers=2, nms=0.4)
    network = perturbed(build_backbone(config, inputs, seed=1))

    def read(batch: Batch, queries: list[str]) -> Batch:
        said = [query.lower().split() for query in queries]
        rows = [[2 + tokens.index(w) if w in tokens else 1 for w in row] for row in said]
        return with_words(batch, rows, padding=0)

    stride = config.segments // config.map_clips
    scale = [4] if config.map_clips == 4 else [16, 8]
    name = {"pool": "SparsePropMaxPool", "conv": "SparsePropConv"}[config.sparse]
    settings = {
        "DATASET": {
            **{"NAME": "ActivityNet", "NUM_SAMPLE_CLIPS": config.segments},
            **{"TARGET_STRIDE": stride, "NORMALIZE": True},
        },
        "TEST": {"NMS_THRESH": 0.4},
        "TAN": {
            "FRAME_MODULE": {
                "NAME": "FrameAvgPool",
                "PARAMS": {"KERNEL_SIZE": stride, "STRIDE": stride},
            },
            "PROP_MODULE": {"NAME": name, "PARAMS": {"NUM_SCALE_LAYERS": scale}},
            "FUSION_MODULE": {"PARAMS": {"LSTM": {"NUM_LAYERS": 2, "BIDIRECTIONAL": False}}},
            "MAP_MODULE": {"PARAMS": {"STRIDES": [1, 1], "PADDINGS": [2, 0], "DILATIONS": [1, 1]}},
        },
    }
    lines = [" ".join([w, *map(repr, v.tolist())]) for w, v in zip(tokens, vectors, strict=True)]
    return network, as_published("tan2d", network), {"vectors": lines}, settings, read


MODELS: dict[str, Callable[..., Files]] = {
    "vslnet": vslnet,
    "emb": emb,
    "qave": qave,
    "tan2d": tan2d,
}
NAMES = {"vslnet": "configs.json", "emb": "configs.json", "qave": "params.json"}


def publish(model: str, dataset: Dataset, folder: Path, **changes: Any) -> Published:
    """Write a small checkpoint and all that stands beside it."""
    network, state, files, settings, read = MODELS[model](dataset, **changes)
    checkpoint, given = folder / f"{model}_99.t7", {}
    torch.save(state, checkpoint)
    beside = folder / NAMES.get(model, "experiment.yaml")
    beside.write_text(json.dumps(settings) if model in NAMES else yaml.safe_dump(settings))
    if model == "tan2d":
        given["settings"] = beside
    for option, content in files.items():
        if option == "vocabulary":
            given[option] = folder / "vocabulary.json"
            given[option].write_text(json.dumps(content), encoding="utf-8")
        elif model == "qave":
            given[option] = folder / "vectors.npy"
            np.save(given[option], content.astype(np.float64))
        else:
            given[option] = folder / "glove.txt"
            given[option].write_text("\n".join(content), encoding="utf-8")
    return Published(
        model=model,
        network=network,
        checkpoint=checkpoint,
        given=given,
        settings=beside,
        out=folder / "answers.npz",
        read=read,
    )
