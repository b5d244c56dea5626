"""Readers of the published feature layouts; each yields a video's rows, (T, V), by its id.

A folder of `.npy` (VSLNet, SeqPAN, LGI: (T, V) or (T, 1, 1, V)), a folder of `.npz` (Moment-DETR
family, CLIP), or one HDF5 file whose entries are arrays or groups that hold one (2D-TAN's C3D).
A video is found by its id with or without `v_`. Nothing is unpickled.
"""

from __future__ import annotations

import zipfile
from collections.abc import Collection
from pathlib import Path
from typing import Any, Protocol

import h5py
import numpy as np
from numpy.typing import NDArray

from refkd.errors import DataError

NPZ_KEYS = ("features", "arr", "image_embeddings")
HDF5_KEYS = ("c3d_features", "c3d_fc6_features")
HDF5_SUFFIXES = (".hdf5", ".h5")


class FeatureSource(Protocol):
    """Where the rows of a video come from."""

    layout: str
    """Name of the layout, part of the features' identity."""

    def __contains__(self, video: str) -> bool:
        """Return whether the video has features."""
        ...

    def where(self, video: str) -> str:
        """Return the file, and the entry in it, that errors name."""
        ...

    def read(self, video: str) -> NDArray[Any]:
        """Return the array of a video as it is stored; threads may call this at once."""
        ...


def open_features(path: Path) -> FeatureSource:
    """Return the source for a folder of `.npy` or `.npz`, or for an HDF5 file."""
    if path.is_dir():
        kinds = [suffix for suffix in (".npy", ".npz") if any(path.glob(f"*{suffix}"))]
        if len(kinds) != 1:
            held = "both .npy and .npz" if kinds else "neither .npy nor .npz files"
            raise DataError(
                f"{path}: the folder holds {held}; give a folder of one kind, VIDEO.npy or "
                f"VIDEO.npz, or an HDF5 file"
            )
        return FolderFeatures(path, kinds[0])
    if not path.is_file():
        raise DataError(f"{path}: no such file or folder; give the features' path")
    if path.suffix not in HDF5_SUFFIXES:
        raise DataError(
            f"{path}: unknown kind {path.suffix!r}; give a folder of .npy or .npz files, or an "
            f"HDF5 file (.hdf5, .h5)"
        )
    return Hdf5Features(path)


class FolderFeatures:
    """A folder with a file a video."""

    def __init__(self, folder: Path, suffix: str) -> None:
        self.layout = suffix.removeprefix(".")
        self._paths = {path.stem: path for path in sorted(folder.glob(f"*{suffix}"))}

    def __contains__(self, video: str) -> bool:
        return _find(self._paths, video) is not None

    def where(self, video: str) -> str:
        """Return the file of a video."""
        return str(self._paths[_find(self._paths, video) or video])

    def read(self, video: str) -> NDArray[Any]:
        """Return the array in a video's file."""
        path = self._paths[_find(self._paths, video) or video]
        try:
            with path.open("rb") as handle:
                loaded = np.load(handle, allow_pickle=False)
                return loaded if isinstance(loaded, np.ndarray) else _from_npz(path, loaded)
        except (ValueError, OSError, EOFError, zipfile.BadZipFile) as error:
            raise DataError(
                f"{path}: cannot be read ({error}); it may be cut off or pickled, save it again "
                f"as a plain array"
            ) from None


class Hdf5Features:
    """One HDF5 file with an entry a video."""

    def __init__(self, path: Path) -> None:
        self.layout = "hdf5"
        self._path = path
        try:
            self._file = h5py.File(path, "r")
            self._keys = frozenset(self._file)
        except (OSError, RuntimeError) as error:
            raise DataError(f"{path}: not an intact HDF5 file ({error}); get it again") from None

    def __contains__(self, video: str) -> bool:
        return _find(self._keys, video) is not None

    def where(self, video: str) -> str:
        """Return the file and the entry of a video."""
        return f"{self._path}[{_find(self._keys, video)!r}]"

    def read(self, video: str) -> NDArray[Any]:
        """Return the array of a video's entry."""
        try:
            entry = self._file[_find(self._keys, video) or video]
            if isinstance(entry, h5py.Group):
                entry = _only(entry, HDF5_KEYS, self.where(video))
            return np.asarray(entry[()])
        except (OSError, RuntimeError) as error:
            raise DataError(
                f"{self.where(video)}: cannot be read ({error}); the file may be cut off, get it "
                f"again"
            ) from None


def checked_rows(source: FeatureSource, video: str) -> NDArray[np.floating]:
    """Return a video's rows (T, V), T ≥ 1, finite; `DataError` with file, value and remedy."""
    array, where = source.read(video), source.where(video)
    if array.dtype.kind != "f":
        raise DataError(f"{where}: holds {array.dtype}, not floating point; extract it again")
    middle = array.shape[1:-1]
    if array.ndim < 2 or any(size != 1 for size in middle):
        raise DataError(f"{where}: has the shape {array.shape}; expected (T, V), or (T, 1, 1, V)")
    rows = array.reshape(array.shape[0], array.shape[-1])
    if rows.size == 0:
        raise DataError(f"{where}: has no rows ({array.shape}); extract it again")
    if not np.isfinite(rows).all():
        row, column = np.argwhere(~np.isfinite(rows))[0]
        raise DataError(
            f"{where}: row {row}, column {column} is {rows[row, column]}; extract it again"
        )
    return rows


def _find(keys: Collection[str], video: str) -> str | None:
    for key in (video, f"v_{video}", video.removeprefix("v_")):
        if key in keys:
            return key
    return None


def _from_npz(path: Path, loaded: Any) -> NDArray[Any]:
    with loaded as arrays:
        return np.asarray(_only(arrays, NPZ_KEYS, str(path)))


def _only(entries: Any, names: tuple[str, ...], where: str) -> Any:
    for name in names:
        if name in entries:
            return entries[name]
    raise DataError(
        f"{where}: holds {sorted(entries)}; expected one of {', '.join(names)}; rename the array"
    )
