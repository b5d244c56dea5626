"""The clip features of one video, from a file of any published kind."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
from numpy.typing import NDArray

from refkd.data.features import (
    HDF5_SUFFIXES,
    FeatureSource,
    FolderFeatures,
    Hdf5Features,
    checked_rows,
)
from refkd.errors import DataError

FILE_SUFFIXES = (".npy", ".npz")


def read_video(path: Path, video: str | None = None) -> NDArray[np.floating]:
    """Return the rows (T, V) of a video, a row a clip in order of time; nothing is unpickled.

    An HDF5 file holds an entry a video: `video` says which, where there are several. Raises
    `DataError` where the file is of another kind, cannot be read or holds no such features.
    """
    if not path.is_file():
        raise DataError(f"{path}: no such file; give the features of one video")
    source: FeatureSource
    if path.suffix in FILE_SUFFIXES:
        if video is not None:
            raise DataError(f"{path}: holds one video; --video {video} is for HDF5 files")
        source, video = FolderFeatures(path.parent, path.suffix), path.stem
    elif path.suffix in HDF5_SUFFIXES:
        source = Hdf5Features(path)
        video = video if video is not None else _only_entry(path)
    else:
        kinds = ", ".join((*FILE_SUFFIXES, *HDF5_SUFFIXES))
        raise DataError(f"{path}: unknown kind {path.suffix!r}; give one of {kinds}")
    if video not in source:
        raise DataError(f"{path}: has no entry {video!r}; it holds {_some(_entries(path))}")
    return checked_rows(source, video)


def _only_entry(path: Path) -> str:
    names = _entries(path)
    if len(names) != 1:
        raise DataError(f"{path}: holds {len(names)} videos ({_some(names)}); say which: --video")
    return names[0]


def _entries(path: Path) -> list[str]:
    with h5py.File(path, "r") as file:
        return sorted(file)


def _some(names: list[str]) -> str:
    return ", ".join(names[:3]) + (", …" if len(names) > 3 else "")
