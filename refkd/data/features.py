"""Readers of the published feature layouts; each yields a video's rows, (T, V), by its id.

A folder of `.npy` (VSLNet, SeqPAN, LGI: (T, V) or (T, 1, 1, V)), a folder of `.npz` (Moment-DETR
family, CLIP), or one HDF5 file whose entries are arrays or groups that hold one (2D-TAN's C3D).
A video is found by its id, with or without `v_`, or with `.avi` (TACoS). Nothing is unpickled.
"""

from __future__ import annotations

import lzma
import math
import tokenize
import zipfile
import zlib
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, Protocol

import h5py
import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from refkd.errors import DataError

NPZ_KEYS = ("features", "arr", "image_embeddings")
HDF5_KEYS = ("c3d_features", "c3d_fc6_features")
HDF5_SUFFIXES = (".hdf5", ".h5")
DAMAGED = (
    *(ValueError, TypeError, OSError, EOFError, RuntimeError, SyntaxError, tokenize.TokenError),
    *(zlib.error, lzma.LZMAError, zipfile.BadZipFile),
)
"""What NumPy and `zipfile` raise for damaged files: a header is read as a Python literal."""
LARGEST_UNPACKED, LARGEST_RATIO = 1 << 28, 100
"""Bytes that may be unpacked whatever they were packed into; beyond, bytes for one of the file."""


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
        with open_arrays(path) as loaded:
            if isinstance(loaded, np.ndarray):
                return loaded
            return np.asarray(_only(loaded, NPZ_KEYS, str(path)))


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
            if not isinstance(entry, h5py.Dataset):
                raise DataError(f"{self.where(video)}: is no array; save the features as one")
            require_plausible(entry.nbytes, entry.id.get_storage_size(), self.where(video))
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
    for key in (video, f"v_{video}", video.removeprefix("v_"), f"{video}.avi"):
        if key in keys:
            return key
    return None


@contextmanager
def open_arrays(path: Path) -> Iterator[Any]:
    """Open a `.npy` file as its array, or a `.npz` file as arrays by name; nothing is unpickled.

    Raises `DataError` where the file is damaged or pickled, and before memory is taken where a
    header claims more than the file can hold.
    """
    try:
        with path.open("rb") as handle:
            if handle.read(2) == b"PK":
                _require_plausible_archive(handle, path)
            else:
                handle.seek(0)
                _require_held(handle, path.stat().st_size, str(path))
            handle.seek(0)
            yield np.load(handle, allow_pickle=False)
    except DAMAGED as error:
        raise DataError(
            f"{path}: cannot be read ({error}); it may be cut off or pickled, save it again as "
            f"plain arrays"
        ) from None


def _require_plausible_archive(handle: IO[bytes], path: Path) -> None:
    with zipfile.ZipFile(handle) as archive:
        for entry in archive.infolist():
            where = f"{path}[{entry.filename}]"
            require_plausible(entry.file_size, entry.compress_size, where)
            with archive.open(entry) as member:
                _require_held(member, entry.file_size, where)


def require_plausible(unpacked: int, packed: int, where: str) -> None:
    """Raise `DataError` where so much would be unpacked of so little that it cannot be real."""
    if unpacked > max(LARGEST_UNPACKED, LARGEST_RATIO * packed):
        raise DataError(
            f"{where}: claims {unpacked:,} bytes, packed into {packed:,}; it is no array of "
            "measured values, get the file again"
        )


def _require_held(handle: IO[bytes], size: int, where: str) -> None:
    """Raise `DataError` where the header of an array claims more than `size` bytes hold."""
    try:
        version = npy.read_magic(handle)
        read = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
        shape, _, dtype = read(handle)
    except DAMAGED:
        return  # no array: `numpy.load` says so
    claimed = math.prod(shape) * dtype.itemsize
    if claimed > size and not dtype.hasobject:
        raise DataError(
            f"{where}: its header claims {shape} {dtype}, {claimed:,} bytes, but it holds at most "
            f"{size:,}; it is damaged, get it again"
        )


def _only(entries: Any, names: tuple[str, ...], where: str) -> Any:
    for name in names:
        if name in entries:
            return entries[name]
    raise DataError(
        f"{where}: holds {sorted(entries)}; expected one of {', '.join(names)}; rename the array"
    )
