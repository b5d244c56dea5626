"""A published checkpoint asked about every pair of a dataset: a file of answers to import."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from pydantic import ValidationError
from torch import Tensor

from refkd.config import Config
from refkd.data.batch import Batch
from refkd.data.containers import load_torch
from refkd.data.dataset import Dataset
from refkd.data.pairs import Pairs
from refkd.data.roles import OPEN_ROLES
from refkd.data.words import FIRST, Words
from refkd.errors import CheckpointError, DataError
from refkd.evaluation.predictions import Change
from refkd.files import replaced
from refkd.models.published import CHARACTERS, WORD_VECTORS, published_vslnet
from refkd.training.knowledge import teacher_logits

CONFIG = "configs.json"
"""The settings that VSLNet writes beside its checkpoints."""


class Vocabulary(Config):
    """The words and characters of a checkpoint, in the order of its ids from 2 on."""

    words: list[str]
    characters: list[str]


def vslnet_answers(
    checkpoint: Path,
    vocabulary: Path,
    dataset: Dataset,
    out: Path,
    *,
    device: torch.device | str = "cpu",
) -> None:
    """Ask a checkpoint of VSLNet's PyTorch code about all open pairs, and write its logits as npz.

    `vocabulary` is JSON, `{"words": […], "characters": […]}`. Queries are cut into words as
    refkd does, and looked up among the checkpoint's own words, vectors and characters. Of the
    checkpoint tensors alone are read. Raises `CheckpointError` where a file does not fit.
    """
    if out.suffix != ".npz" or out.exists():
        why = "exists, and may be a study's teacher" if out.exists() else "is no .npz file"
        raise CheckpointError(f"{out}: {why}; give another name")
    state = _state(checkpoint)
    with _naming(checkpoint):
        network = published_vslnet(
            state,
            heads=_heads(checkpoint.with_name(CONFIG)),
            max_clips=max(int(dataset.role(role).clips.max()) for role in OPEN_ROLES),
            feature_dim=dataset.feature_dim,
        )
    words = _words(vocabulary, state)
    ids: list[str] = []
    spans: dict[str, list[np.ndarray]] = {"start": [], "end": []}
    for role in OPEN_ROLES:
        pairs = dataset.role(role)
        logits = teacher_logits(network, pairs, device=device, change=in_words(words, pairs))
        room = ((0, 0), (0, dataset.max_clips - logits.shape[2]))
        ids += pairs.pair_ids
        for edge, held in enumerate(spans.values()):
            held.append(np.pad(logits[:, edge], room))
    joined = {name: np.concatenate(held) for name, held in spans.items()}
    with replaced(out) as temporary, temporary.open("wb") as handle:
        np.savez(handle, pair_id=np.array(ids, dtype=np.str_), **joined, allow_pickle=False)


def in_words(words: Words, pairs: Pairs) -> Change:
    """Return what puts the queries of a batch of these pairs into the ids of a vocabulary."""

    def change(batch: Batch) -> Batch:
        queries = [pairs.queries[row] for row in batch.pairs.tolist()]
        found, characters = (
            torch.from_numpy(ids).to(batch.words.device) for ids in words.encode_batch(queries)
        )
        return replace(batch, words=found, characters=characters)

    return change


@contextmanager
def _naming(path: Path) -> Iterator[None]:
    """Name a file in front of what is wrong with its content."""
    try:
        yield
    except CheckpointError as error:
        raise CheckpointError(f"{path}: {error}") from None


def _state(path: Path) -> dict[str, Tensor]:
    if not path.is_file():
        raise CheckpointError(f"{path}: is missing; give the checkpoint's file")
    try:
        held = load_torch(path)
    except DataError as error:
        raise CheckpointError(str(error)) from None
    if not isinstance(held, Mapping) or not all(isinstance(v, Tensor) for v in held.values()):
        raise CheckpointError(f"{path}: is no state_dict; save the network's state_dict alone")
    return {str(name): tensor for name, tensor in held.items()}


def _heads(path: Path) -> int:
    try:
        return int(json.loads(path.read_text(encoding="utf-8"))["num_heads"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CheckpointError(
            f"num_heads is not known ({error}); put {path.name}, which VSLNet writes beside its "
            "checkpoints, there"
        ) from None


def _words(path: Path, state: Mapping[str, Tensor]) -> Words:
    """Return a vocabulary with the vectors of a checkpoint."""
    try:
        held = Vocabulary.model_validate_json(path.read_bytes())
    except (OSError, ValidationError) as error:
        said = error.errors()[0]["msg"] if isinstance(error, ValidationError) else error
        raise CheckpointError(
            f'{path}: is no vocabulary ({said}); write {{"words": […], "characters": […]}}, each '
            "in the order of the checkpoint's ids from 2 on"
        ) from None
    rows = {"words": len(state[WORD_VECTORS]), "characters": len(state[CHARACTERS]) - FIRST}
    for name, given in (("words", held.words), ("characters", held.characters)):
        if len(given) != rows[name] or len(set(given)) != len(given):
            raise CheckpointError(
                f"{path}: {len(given)} {name}, {len(set(given))} of them different, but the "
                f"checkpoint has {rows[name]}; give those that it was trained with"
            )
    return Words(held.words, state[WORD_VECTORS].float().numpy(), held.characters)
