"""One packed, memory-mapped store of all clips of a set of videos.

An HDF5 file with `rows`, (R, V) float16 in one contiguous piece that every process on a machine
maps to the same pages, `first` (N + 1,) the first row of each video and the end, and `videos`.
"""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import h5py
import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from refkd.data.features import RowSource, checked_rows
from refkd.data.grid import Resample, pool
from refkd.data.joined import digest_of
from refkd.errors import DataError

ToClips = Callable[[NDArray[np.floating]], NDArray[np.float32]]
READ_AHEAD = 4
"""Videos a thread may be ahead of the writer: bounds memory."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Packed:
    """What packing found out."""

    clips: Mapping[str, int]
    """Clips of each video in the store."""
    rows: Mapping[str, int]
    """T, rows of each video as read."""
    zero: Sequence[str]
    """Videos whose features are all 0."""
    constant: Sequence[str]
    """Other videos whose rows are all the same, or that have one row alone."""
    low: Sequence[float]
    """The least value of each column, (V,)."""
    high: Sequence[float]
    """The greatest one."""
    dim: int
    sha256: str
    """Over ids, clip counts and packed clips."""
    source_sha256: str
    """Over the arrays as read."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Store:
    """A packed store, opened: `rows` is a read-only memory map."""

    rows: NDArray[np.float16]
    first: Mapping[str, int]
    """Row of each video's first clip."""
    counts: Mapping[str, int]
    """Clips of each video."""


@dataclass(frozen=True, kw_only=True, slots=True)
class _Video:
    video: str
    clips: NDArray[np.float16]
    rows: int
    digest: bytes


def pack(
    source: RowSource,
    videos: Sequence[str],
    path: Path,
    *,
    max_clips: int,
    resample: Resample = "shorten",
    dim: int | None = None,
    jobs: int = 1,
    progress: bool = False,
) -> Packed:
    """Read, check, pool and pack the features of videos, in their order.

    Memory grows with `jobs`, the bytes do not depend on it. `DataError` where a video's features
    are wrong or of another width than `dim` (else the first video's).
    """
    spool = path.with_suffix(".rows")
    content, origin = hashlib.sha256(), hashlib.sha256()
    clips: dict[str, int] = {}
    rows: dict[str, int] = {}
    zero: list[str] = []
    constant: list[str] = []
    low, high = np.float16(np.inf), np.float16(-np.inf)
    read = _read_all(source, videos, jobs, partial(pool, max_clips=max_clips, resample=resample))
    with spool.open("wb") as handle:
        for item in _progress(read, len(videos), progress):
            dim = dim or item.clips.shape[1]
            if item.clips.shape[1] != dim:
                raise DataError(
                    f"{source.where(item.video)}: has {item.clips.shape[1]} columns, the others "
                    f"{dim}; extract it again with the same network"
                )
            clips[item.video], rows[item.video] = len(item.clips), item.rows
            if not item.clips.any():
                zero.append(item.video)
            elif (item.clips == item.clips[0]).all():
                constant.append(item.video)
            low = np.minimum(low, item.clips.min(axis=0))
            high = np.maximum(high, item.clips.max(axis=0))
            handle.write(item.clips.tobytes())
            content.update(f"{item.video}\0{len(item.clips)}\0".encode() + item.clips.tobytes())
            origin.update(item.video.encode() + b"\0" + item.digest)
    dim = dim or 0
    _write(path, spool, clips, dim)
    return Packed(
        clips=clips,
        rows=rows,
        zero=zero,
        constant=constant,
        low=np.atleast_1d(low).tolist(),
        high=np.atleast_1d(high).tolist(),
        dim=dim,
        sha256=content.hexdigest(),
        source_sha256=origin.hexdigest(),
    )


def open_store(path: Path) -> Store:
    """Map a packed store; `DataError` where it is no such file."""
    try:
        with h5py.File(path, "r") as file:
            rows, first = file["rows"], file["first"][:]
            videos = [video.decode() for video in file["videos"][:]]
            shape, offset = rows.shape, rows.id.get_offset()
    except (OSError, RuntimeError, KeyError) as error:
        raise DataError(f"{path}: damaged ({error}); prepare the dataset again") from None
    mapped: NDArray[np.float16] = np.memmap(
        path, dtype=np.float16, mode="r", offset=offset, shape=shape
    )
    return Store(
        rows=mapped,
        first=dict(zip(videos, first.tolist(), strict=False)),
        counts=dict(zip(videos, np.diff(first).tolist(), strict=True)),
    )


def _read_all(
    source: RowSource, videos: Sequence[str], jobs: int, to_clips: ToClips
) -> Iterator[_Video]:
    """Yield the videos in order, read by `jobs` threads a bounded way ahead."""
    with ThreadPoolExecutor(max_workers=jobs) as threads:
        waiting: deque[Future[_Video]] = deque()
        try:
            for video in videos:
                waiting.append(threads.submit(_read_one, source, video, to_clips))
                if len(waiting) > READ_AHEAD * jobs:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()


def _read_one(source: RowSource, video: str, to_clips: ToClips) -> _Video:
    rows = checked_rows(source, video)
    pooled = to_clips(rows)
    limit = float(np.finfo(np.float16).max)
    if np.abs(pooled).max() > limit:
        raise DataError(
            f"{source.where(video)}: holds {np.abs(pooled).max():g}, above {limit:g}, the largest "
            f"float16; scale or normalise the features"
        )
    return _Video(
        video=video, clips=pooled.astype(np.float16), rows=len(rows), digest=digest_of(rows)
    )


def _write(path: Path, spool: Path, clips: Mapping[str, int], dim: int) -> None:
    first = np.concatenate([[0], np.cumsum(list(clips.values()), dtype=np.int64)])
    block = max(1, (1 << 24) // max(1, 2 * dim))
    with h5py.File(path, "w") as file, spool.open("rb") as handle:
        rows = file.create_dataset("rows", shape=(int(first[-1]), dim), dtype=np.float16)
        for begin in range(0, int(first[-1]), block):
            piece = np.frombuffer(handle.read(block * dim * 2), dtype=np.float16)
            rows[begin : begin + len(piece) // dim] = piece.reshape(-1, dim)
        file.create_dataset("first", data=first)
        file.create_dataset(
            "videos", data=np.array([video.encode() for video in clips], dtype="S")
        )
    spool.unlink()


def _progress(items: Iterator[_Video], total: int, show: bool) -> Iterator[_Video]:
    return iter(tqdm(items, total=total, desc="features", unit="video", disable=not show))
