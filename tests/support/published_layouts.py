"""Tiny files in the published layouts, for tests to write and spoil."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import torch
from numpy.typing import NDArray

SECONDS = 12.0
VIDEOS = {"train": 24, "val": 4, "test_iid": 4, "test_ood": 4}
WORDS = ("person", "opens", "closes", "the", "door", "book")


def write_annotations(folder: Path) -> Path:
    """Write Charades split files: two pairs a video, a few train moments where none else is."""
    folder.mkdir(parents=True, exist_ok=True)
    for split, count in VIDEOS.items():
        videos: dict[str, Any] = {}
        for k in range(count):
            late = split == "test_ood" or k % 6 == 5
            start = 7.0 + 0.2 * (k % 5) if late else 0.5 + 0.1 * (k % 7)
            videos[f"{split[-3:].upper()}{k:02d}"] = {
                "video_duration": SECONDS,
                "timestamps": [[start, start + 3.0], [start + 0.3, start + 2.5]],
                "sentences": ["person opens the door", "person closes the book"],
            }
        (folder / f"charades_{split}.json").write_text(json.dumps(videos), encoding="utf-8")
    return folder


def video_ids(folder: Path) -> list[str]:
    """Return every video of the split files in a folder."""
    files = sorted(folder.glob("charades_*.json"))
    return [video for path in files for video in json.loads(path.read_text(encoding="utf-8"))]


def write_words(path: Path) -> Path:
    """Write word vectors as GloVe's text."""
    lines = [f"{word} {row}.5 -1.0 0.25" for row, word in enumerate(WORDS)]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def rows_of(video: str, *, dim: int = 4, rows: int = 13) -> NDArray[np.float32]:
    """Return the features of a video."""
    seed = int.from_bytes(video.encode()[-8:], "big")
    return np.random.default_rng(seed).standard_normal((rows, dim)).astype(np.float32)


def write_features(path: Path, layout: str, features: dict[str, NDArray[Any]]) -> Path:
    """Write features in a layout; return the path.

    A file a video: npy, npy-4d, npz, h5 or pt; one file of all: hdf5. With `:KEY` the array has
    that name, and with `:KEY+KEY` it has all of them.
    """
    kind, _, named = layout.partition(":")
    keys = named.split("+") if named else []
    if kind == "hdf5":
        with h5py.File(path.with_suffix(".hdf5"), "w") as file:
            for video, rows in features.items():
                for key in keys or [video]:
                    (file.require_group(video) if keys else file)[key] = rows
        return path.with_suffix(".hdf5")
    path.mkdir(parents=True, exist_ok=True)
    for video, rows in features.items():
        arrays = dict.fromkeys(keys or ["only"], rows)
        if kind == "npz":
            np.savez(path / f"{video}.npz", **arrays)
        elif kind == "h5":
            with h5py.File(path / f"{video}.h5", "w") as file:
                file.update(arrays)
        elif kind == "pt":
            tensors = {key: torch.from_numpy(value) for key, value in arrays.items()}
            torch.save(tensors if keys else tensors["only"], path / f"{video}.pt")
        else:
            np.save(path / f"{video}.npy", rows[:, None, None] if kind == "npy-4d" else rows)
    return path
