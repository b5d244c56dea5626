"""Knowledge: a frozen teacher's logits for every fit pair, computed once by content address.

Teachers see clean features in evaluation mode (ambiguity A26), and a pair's logits depend neither
on padding nor on its batch, so what is read here equals what the live teacher would say.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from refkd.data.batch import Batch
from refkd.data.batches import evaluation_batches
from refkd.data.dataset import Dataset
from refkd.data.pairs import Pairs
from refkd.distill.objective import TeacherLogits
from refkd.errors import CheckpointError
from refkd.evaluation.predictions import Change, Recorded
from refkd.files import canonical_json, replaced, sha256_file, write_json
from refkd.models.backbone import NEGATIVE, Backbone, SpanLogits
from refkd.recipes.network import network_digest
from refkd.training.imported.teacher import ImportedTeacher
from refkd.training.teacher import AnyTeacher


class TeacherSource(Protocol):
    """Where a student's loss gets the teachers' logits from."""

    def __call__(self, batch: Batch) -> TeacherLogits:
        """Return both teachers' logits for a batch, without gradient."""
        ...


@dataclass(frozen=True, kw_only=True, slots=True)
class Knowledge:
    """One teacher's logits, (N, 2, L) float32 in a memory map shared by all readers."""

    path: Path
    logits: NDArray[np.float32]

    def __call__(self, batch: Batch) -> SpanLogits:
        """Return the teacher's (B, L) logits for the pairs of a fit batch."""
        length = batch.features.shape[1]
        rows = self.logits[batch.pairs.cpu().numpy(), :, :length]
        both = torch.from_numpy(rows).to(batch.features.device)
        return SpanLogits(start=both[:, 0], end=both[:, 1])


def knowledge_address(teacher: AnyTeacher, dataset: Dataset) -> str:
    """Return the content address: dataset, teacher's weights and config, code of its backbone.

    No code makes the logits of an imported teacher.
    """
    parts = {"dataset": dataset.fingerprint, "teacher": teacher.digest}
    if not isinstance(teacher, ImportedTeacher):
        parts["code"] = network_digest(teacher.record.backbone, teacher.record.recipe)
    return hashlib.sha256(canonical_json(parts)).hexdigest()[:24]


def make_knowledge(
    teacher: AnyTeacher, dataset: Dataset, folder: Path, *, device: torch.device | str = "cpu"
) -> Knowledge:
    """Return the teacher's knowledge under `folder`, computing it where it is not there yet.

    A file that was damaged since it was written is computed again.
    """
    address = knowledge_address(teacher, dataset)
    path = folder / f"{address}.npy"
    if not _intact(path):
        network = teacher.backbone(dataset)
        if isinstance(network, Recorded):
            logits = network.logits["fit"]
        else:
            logits = teacher_logits(network, dataset.role("fit"), device=device)
        with replaced(path) as temporary, temporary.open("wb") as handle:
            np.save(handle, logits, allow_pickle=False)
        facts = {"sha256": sha256_file(path), "teacher": teacher.digest, "shape": logits.shape}
        write_json(path.with_suffix(".json"), facts)
    return open_knowledge(path)


def open_knowledge(path: Path) -> Knowledge:
    """Map knowledge that was computed; `CheckpointError` where it is missing or damaged."""
    if not _intact(path):
        raise CheckpointError(
            f"{path}: the knowledge is missing or damaged; start the search again to compute it"
        )
    return Knowledge(path=path, logits=np.load(path, mmap_mode="r", allow_pickle=False))


@torch.inference_mode()
def teacher_logits(
    backbone: Backbone,
    pairs: Pairs,
    *,
    device: torch.device | str = "cpu",
    change: Change | None = None,
) -> NDArray[np.float32]:
    """Return (N, 2, L) logits of a role, L the longest video's clips, padded with `NEGATIVE`."""
    backbone.to(device).eval()
    longest = int(pairs.clips.max())
    logits = np.full((len(pairs), 2, longest), NEGATIVE, dtype=np.float32)
    for indices in evaluation_batches(pairs, batch_size=64):
        batch = pairs.batch(indices).to(device)
        spans = backbone(change(batch) if change else batch).spans
        both = torch.stack([spans.start, spans.end], dim=1).float().cpu().numpy()
        logits[indices, :, : both.shape[2]] = both
    return logits


class CachedTeachers:
    """Both teachers as knowledge: the default."""

    def __init__(self, id_teacher: Knowledge, ood_teacher: Knowledge) -> None:
        self._id, self._ood = id_teacher, ood_teacher

    def __call__(self, batch: Batch) -> TeacherLogits:
        """Return both teachers' logits, read from the memory maps."""
        return TeacherLogits(id=self._id(batch), ood=self._ood(batch))


class LiveTeachers:
    """Both teachers run in the loop: what cached knowledge is tested and measured against."""

    def __init__(self, id_teacher: Backbone, ood_teacher: Backbone) -> None:
        self._id, self._ood = id_teacher.eval(), ood_teacher.eval()

    @torch.no_grad()
    def __call__(self, batch: Batch) -> TeacherLogits:
        """Return both teachers' logits of one forward pass each."""
        return TeacherLogits(id=self._id(batch).spans, ood=self._ood(batch).spans)


def _intact(path: Path) -> bool:
    record = path.with_suffix(".json")
    if not (path.is_file() and record.is_file()):
        return False
    try:
        expected = json.loads(record.read_text(encoding="utf-8"))["sha256"]
    except (ValueError, TypeError, KeyError):  # a damaged record vouches for nothing
        return False
    return bool(sha256_file(path) == expected)


__all__ = [
    "CachedTeachers",
    "Knowledge",
    "LiveTeachers",
    "TeacherSource",
    "knowledge_address",
    "make_knowledge",
    "open_knowledge",
    "teacher_logits",
]
