"""Where the rows of a video come from: a folder with a file a video, or one HDF5 file.

A video is found by its id, with or without `v_` (ActivityNet), or with `.avi` (TACoS), or by a
stated pattern.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import h5py
import numpy as np
from numpy.typing import NDArray

from refkd.data.containers import HDF5_SUFFIXES, SUFFIXES, read_array, read_entry
from refkd.data.extraction import Extraction, extraction_of
from refkd.errors import DataError

PLACE = "{vid}"
"""Stands for the id in a pattern of names."""
SAMPLE = 100
"""Videos whose ids are compared with the names that there are, to find a pattern."""


class RowSource(Protocol):
    """What gives the rows of videos."""

    def where(self, video: str) -> str:
        """Return the file, and the entry in it, that errors name."""
        ...

    def read(self, video: str) -> NDArray[Any]:
        """Return the array of a video as it is stored; threads may call this at once."""
        ...


class NamedRows(RowSource, Protocol):
    """Where the rows of what has a name come from: of a video or a query."""

    path: Path
    layout: str
    """Name of the layout, part of the features' identity."""

    def __contains__(self, video: str) -> bool:
        """Return whether the video has features."""
        ...


class FeatureSource(RowSource, Protocol):
    """Where the rows of a video come from."""

    layout: str
    """Name of the layout, part of the features' identity."""
    extraction: Extraction | None
    """How the features were made of video files, where that is known."""

    def __contains__(self, video: str) -> bool:
        """Return whether the video has features."""
        ...

    def missing(self, videos: Sequence[str]) -> str:
        """Return which videos have none, which names there are, and what would find them."""
        ...

    def seconds(self, video: str) -> float | None:
        """Return how long a video is that has features; None where they do not say it."""
        ...


def open_features(
    path: Path, pattern: str | None = None, *, of: str = "video"
) -> FolderFeatures | Hdf5Features:
    """Return the source for a folder of files, nested or not, or for an HDF5 file.

    `pattern` is the name of a video's file or entry, without the ending, such as `{vid}.mp4`; `of`
    is what each file is of. `DataError` where there is no such thing.
    """
    names = Names(pattern, of=of)
    if path.is_dir():
        return FolderFeatures(path, names)
    if not path.is_file():
        raise DataError(f"{path}: no such file or folder; give the features' path")
    if path.suffix not in HDF5_SUFFIXES:
        raise DataError(
            f"{path}: unknown kind {path.suffix!r}; give a folder with a file a {of} "
            f"({', '.join(SUFFIXES)}), or one HDF5 file (.hdf5, .h5)"
        )
    return Hdf5Features(path, names)


class Names:
    """How the name of a video's features follows from its id.

    >>> Names("{vid}.mp4").find({"a.mp4", "v_b"}, "a"), Names().find({"a.mp4", "v_b"}, "b")
    ('a.mp4', 'v_b')
    """

    def __init__(self, pattern: str | None = None, *, of: str = "video") -> None:
        if pattern is not None and PLACE not in pattern:
            raise DataError(f"the id pattern {pattern!r} lacks {PLACE}; give one like {PLACE}.mp4")
        self._pattern = pattern
        self.of = of

    def find(self, names: Collection[str], video: str) -> str | None:
        """Return the name of a video among some; None where none is."""
        told = [] if self._pattern is None else [self._pattern.replace(PLACE, video)]
        for name in (video, f"v_{video}", video.removeprefix("v_"), f"{video}.avi", *told):
            if name in names:
                return name
        return None


def pattern_for(names: Sequence[str], videos: Sequence[str]) -> str | None:
    """Return the pattern by which most of some videos are found; None where few are.

    >>> pattern_for(["a.mp4", "b.mp4"], ["a", "b"])
    '{vid}.mp4'
    """
    asked = videos[:SAMPLE]
    fits: Counter[str] = Counter()
    for video in asked:
        fits.update({name.replace(video, PLACE) for name in names if video in name})
    best, count = fits.most_common(1)[0] if fits else ("", 0)
    return best if 2 * count > len(asked) else None


class _Named:
    """A source of named arrays."""

    extraction: Extraction | None = None

    def __init__(self, path: Path, layout: str, entries: Mapping[str, Any], names: Names) -> None:
        self.path, self.layout, self.entries = path, layout, entries
        self._names = names

    def __contains__(self, video: str) -> bool:
        return self._names.find(self.entries, video) is not None

    def seconds(self, video: str) -> float | None:
        """Return None: a file of features does not say it."""
        return None

    def entry(self, video: str) -> str:
        """Return the name of a video; `DataError` where there is none."""
        found = self._names.find(self.entries, video)
        if found is None:
            raise DataError(f"{self.path}: has no {self.missing([video])}")
        return found

    def missing(self, videos: Sequence[str]) -> str:
        """Return which videos have none, which names there are, and what would find them."""
        names = sorted(self.entries)
        said = f"{_some(videos)}; there are {_some(names)}"
        pattern = pattern_for(names, videos)
        return said if pattern is None else f"{said}; --id-pattern '{pattern}' finds them"


class FolderFeatures(_Named):
    """A folder with a file a video, in it or in folders of it."""

    def __init__(self, folder: Path, names: Names) -> None:
        files = [path for path in sorted(folder.rglob("[!.]*")) if path.suffix in SUFFIXES]
        kinds = sorted({path.suffix for path in files})
        if len(kinds) != 1:
            held = f"files of {len(kinds)} kinds ({', '.join(kinds)})" if kinds else "none"
            raise DataError(
                f"{folder}: expected a file a {names.of}, all {', '.join(SUFFIXES[:-1])} or "
                f"{SUFFIXES[-1]}; the folder holds {held}"
            )
        entries: dict[str, list[Path]] = defaultdict(list)
        for path in files:
            whole = path.relative_to(folder).with_suffix("").as_posix()
            for name in {path.stem, whole}:
                entries[name].append(path)
        super().__init__(folder, kinds[0].removeprefix("."), entries, names)

    def where(self, video: str) -> str:
        """Return the file of a video; `DataError` where it could be several."""
        paths = self.entries[self.entry(video)]
        if len(paths) > 1:
            raise DataError(
                f"{paths[0]}: stands beside {paths[1]}, and both are {video}; give the folder of "
                f"one of them, or a pattern of names with folders, such as 'train/{PLACE}'"
            )
        return str(paths[0])

    def read(self, video: str) -> NDArray[Any]:
        """Return the array in a video's file."""
        return read_array(Path(self.where(video)))


class FeatureFile:
    """A file of one video."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def where(self, video: str) -> str:
        """Return the file."""
        return str(self._path)

    def read(self, video: str) -> NDArray[Any]:
        """Return the array in it."""
        return read_array(self._path)


class Hdf5Features(_Named):
    """One HDF5 file with an entry a video: an array, or a group that holds one."""

    def __init__(self, path: Path, names: Names | None = None) -> None:
        try:
            self._file = h5py.File(path, "r")
            entries = dict.fromkeys(self._file)
        except (OSError, RuntimeError) as error:
            raise DataError(f"{path}: not an intact HDF5 file ({error}); get it again") from None
        super().__init__(path, "hdf5", entries, names or Names())
        self.extraction = extraction_of(path)

    def where(self, video: str) -> str:
        """Return the file and the entry of a video."""
        return f"{self.path}[{self.entry(video)!r}]"

    def read(self, video: str) -> NDArray[Any]:
        """Return the array of a video's entry."""
        where = self.where(video)
        try:
            entry = self._file[self.entry(video)]
        except (OSError, RuntimeError, KeyError) as error:
            raise DataError(f"{where}: cannot be read ({error}); get the file again") from None
        return read_entry(entry, where)

    def seconds(self, video: str) -> float | None:
        """Return the attribute `duration` of a video's entry."""
        held = self._file[self.entry(video)].attrs.get("duration")
        return None if held is None else float(held)


def checked_rows(source: RowSource, video: str) -> NDArray[np.floating]:
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


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:3]) + (", …" if len(names) > 3 else "")
