"""Files that hold arrays, `.npy`, `.npz`, `.pt` and HDF5, read without trusting them.

Nothing is unpickled, and no memory is taken for more than a file can hold.
"""

from __future__ import annotations

import lzma
import math
import pickle
import tokenize
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import h5py
import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from refkd.errors import DataError

KEYS = (
    *("features", "arr", "image_embeddings", "c3d_features", "c3d_fc6_features"),
    "last_hidden_state",  # of text, where a network's answer is saved whole
)
"""Names of the array of features where a file or an entry holds several."""
HDF5_SUFFIXES = (".hdf5", ".h5")
SUFFIXES = (".npy", ".npz", ".pt", *HDF5_SUFFIXES)
DAMAGED = (
    *(ValueError, TypeError, OSError, EOFError, RuntimeError, SyntaxError, tokenize.TokenError),
    *(zlib.error, lzma.LZMAError, zipfile.BadZipFile),
)
"""What NumPy and `zipfile` raise for damaged files: a header is read as a Python literal."""
LARGEST_UNPACKED, LARGEST_RATIO = 1 << 28, 100
"""Bytes that may be unpacked whatever they were packed into; beyond, bytes for one of the file."""


def read_array(path: Path) -> NDArray[Any]:
    """Return the array of features in a file, whatever its kind.

    Of several arrays the one with a name of `KEYS`, else the only one. `DataError` where there is
    none such, or the file is damaged or pickled.
    """
    if path.suffix in HDF5_SUFFIXES:
        with open_hdf5(path) as file:
            return read_entry(file, str(path))
    if path.suffix == ".pt":
        return _read_torch(path)
    with open_arrays(path) as loaded:
        if isinstance(loaded, np.ndarray):
            return loaded
        return np.asarray(loaded[_chosen(list(loaded), str(path))])


@contextmanager
def open_hdf5(path: Path) -> Iterator[h5py.File]:
    """Open an HDF5 file to read; `DataError` where it is damaged."""
    try:
        file = h5py.File(path, "r")
    except (OSError, RuntimeError) as error:
        raise DataError(f"{path}: not an intact HDF5 file ({error}); get it again") from None
    with file:
        yield file


def read_entry(entry: Any, where: str) -> NDArray[Any]:
    """Return the array of an entry of an HDF5 file, or that in a group."""
    try:
        if isinstance(entry, h5py.Group):
            entry = entry[_chosen(list(entry), where)]
        if not isinstance(entry, h5py.Dataset):
            raise DataError(f"{where}: is no array; save the features as one")
        require_plausible(entry.nbytes, entry.id.get_storage_size(), where)
        return np.asarray(entry[()])
    except (OSError, RuntimeError) as error:
        raise DataError(
            f"{where}: cannot be read ({error}); the file may be cut off, get it again"
        ) from None


def load_torch(path: Path) -> Any:
    """Return what a file of `torch.save` holds; `DataError` where that is more than tensors."""
    import torch  # seconds to import, and few have such files

    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except (*DAMAGED, KeyError, IndexError, AttributeError, pickle.UnpicklingError) as error:
        raise DataError(
            f"{path}: cannot be read ({str(error).splitlines()[0]}); it may be cut off, or hold "
            f"more than tensors; save tensors alone"
        ) from None


def _read_torch(path: Path) -> NDArray[Any]:
    import torch

    held = load_torch(path)
    if isinstance(held, dict):
        held = held[_chosen(list(held), str(path))]
    if not isinstance(held, torch.Tensor):
        raise DataError(f"{path}: holds {type(held).__name__}, no tensor; save the features alone")
    dense = held.detach().float() if held.dtype == torch.bfloat16 else held.detach()
    return np.asarray(dense.numpy())


def _chosen(names: list[Any], where: str) -> Any:
    known = [name for name in KEYS if name in names]
    if known or len(names) == 1:
        return (known or names)[0]
    raise DataError(
        f"{where}: holds {sorted(map(str, names))}; expected one array, or one by the name of "
        f"{', '.join(KEYS)}; rename the array"
    )


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
