"""A published checkpoint asked about every pair of a dataset: a file of answers to import.

Letters in shapes: N pairs, L clips (padded), K spans.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from refkd.data.dataset import Dataset
from refkd.data.pairs import Pairs
from refkd.data.roles import OPEN_ROLES
from refkd.errors import CheckpointError
from refkd.evaluation.metrics import RANKED
from refkd.evaluation.predictions import edges_to_seconds, predict_listed
from refkd.files import replaced
from refkd.training.imported.emb import ask_emb
from refkd.training.imported.qave import ask_qave
from refkd.training.imported.tan2d import ask_tan2d
from refkd.training.imported.vocabulary import in_words
from refkd.training.imported.vslnet import ask_vslnet
from refkd.training.imported.weights import Asked, Checkpoint, read_checkpoint
from refkd.training.knowledge import teacher_logits

BATCH = 16
"""Pairs whose maps are in memory at a time: a layer of 2D-TAN's largest map takes 50 MB a pair."""
Columns = dict[str, NDArray[np.float32] | NDArray[np.float64]]


class _Importer(NamedTuple):
    ask: Callable[[Checkpoint, Mapping[str, Path], Dataset], Asked]
    needs: tuple[str, ...]
    """The files that it cannot do without, beside the checkpoint."""
    settings: str | None
    """The file of settings that the reference writes beside its checkpoints."""


PUBLISHED = {
    "vslnet": _Importer(ask_vslnet, ("vocabulary",), "configs.json"),
    "emb": _Importer(ask_emb, ("vocabulary",), "configs.json"),
    "qave": _Importer(ask_qave, ("vocabulary", "vectors"), "params.json"),
    "tan2d": _Importer(ask_tan2d, ("vectors", "settings"), None),
}
"""By the name that the network has as a backbone."""


def published_answers(
    model: str,
    checkpoint: Path,
    given: Mapping[str, Path | None],
    dataset: Dataset,
    out: Path,
    *,
    device: torch.device | str = "cpu",
) -> None:
    """Ask a published checkpoint about all open pairs, and write its answers as npz.

    `given` are its `vocabulary`, `vectors` and `settings`, as far as it needs them. Of the
    checkpoint tensors alone are read. Raises `CheckpointError` where a file does not fit.
    """
    if out.suffix != ".npz" or out.exists():
        why = "exists, and may be a study's teacher" if out.exists() else "is no .npz file"
        raise CheckpointError(f"{out}: {why}; give another name")
    files = _files(model, checkpoint, given)
    asked = PUBLISHED[model].ask(read_checkpoint(checkpoint), files, dataset)
    asked.network.to(device)
    told = _logits if asked.kind == "logits" else _spans
    ids: list[str] = []
    found: list[Columns] = []
    for role in OPEN_ROLES:
        pairs = dataset.role(role)
        ids += pairs.pair_ids
        found.append(told(asked, pairs, dataset, device))
    columns = {name: np.concatenate([held[name] for held in found]) for name in found[0]}
    with replaced(out) as temporary, temporary.open("wb") as handle:
        np.savez(handle, pair_id=np.array(ids, dtype=np.str_), **columns, allow_pickle=False)


def _files(model: str, checkpoint: Path, given: Mapping[str, Path | None]) -> dict[str, Path]:
    """Return the files of a checkpoint; `CheckpointError` where one is lacking or of no use."""
    if model not in PUBLISHED:
        raise CheckpointError(f"--import {model}: is none of {', '.join(PUBLISHED)}; give one")
    files = {name: path for name, path in given.items() if path is not None}
    _, needs, settings = PUBLISHED[model]
    options = " and ".join(f"--{name}" for name in needs)
    for name in needs:
        if name not in files:
            raise CheckpointError(f"--{name} is missing: --import {model} needs {options}; add it")
    if settings is not None:
        files.setdefault("settings", checkpoint.with_name(settings))
    for name in files.keys() - {*needs, "settings"}:
        raise CheckpointError(f"--{name}: --import {model} reads none, but {options}; remove it")
    return files


def _logits(asked: Asked, pairs: Pairs, dataset: Dataset, device: torch.device | str) -> Columns:
    """Return (N, L) logits of the first and the last clip, L the most clips of the dataset."""
    change = in_words(asked.words, pairs)
    logits = teacher_logits(asked.network, pairs, device=device, change=change)
    room = ((0, 0), (0, dataset.max_clips - logits.shape[2]))
    return {edge: np.pad(logits[:, n], room) for n, edge in enumerate(("start", "end"))}


def _spans(asked: Asked, pairs: Pairs, _: Dataset, device: torch.device | str) -> Columns:
    """Return (N, K, 3) seconds and scores of the spans that are ranked highest, NaN for none."""
    change = in_words(asked.words, pairs)
    listed = predict_listed(
        asked.network, pairs, top=RANKED, device=device, batch_size=BATCH, change=change
    )
    seconds = edges_to_seconds(listed.edges, pairs)
    spans = np.concatenate([seconds, listed.score[..., None]], axis=2)
    spans[:, 1:][listed.score[:, 1:] == 0] = np.nan  # fewer were left: the best one repeated
    return {"spans": spans}
