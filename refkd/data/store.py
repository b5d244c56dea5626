"""One packed, memory-mapped store of all clips of a set of videos.

An HDF5 file with `rows`, (R, V) float16 in one contiguous piece that every process on a machine
maps to the same pages, `first` (N + 1,) the first row of each video and the end, and `videos`.
"""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from refkd.data.features import FeatureSource, checked_rows
from refkd.data.grid import pool
from refkd.errors import DataError

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


@dataclass(frozen=True, kw_only=True, slots=True)
class _Video:
    video: str
    clips: NDArray[np.float16]
    rows: int
    digest: bytes


def pack(
    source: FeatureSource,
    videos: Sequence[str],
    path: Path,
    *,
    max_clips: int,
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
    with spool.open("wb") as handle:
        for item in _progress(_read_all(source, videos, max_clips, jobs), len(videos), progress):
            dim = dim or item.clips.shape[1]
            if item.clips.shape[1] != dim:
                raise DataError(
                    f"{source.where(item.video)}: has {item.clips.shape[1]} columns, the others "
                    f"{dim}; extract it again with the same network"
                )
            clips[item.video], rows[item.video] = len(item.clips), item.rows
            if not item.clips.any():
                zero.append(item.video)
            handle.write(item.clips.tobytes())
            content.update(f"{item.video}\0{len(item.clips)}\0".encode() + item.clips.tobytes())
            origin.update(item.video.encode() + b"\0" + item.digest)
    dim = dim or 0
    _write(path, spool, clips, dim)
    return Packed(
        clips=clips,
        rows=rows,
        zero=zero,
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
    return Store(rows=mapped, first=dict(zip(videos, first.tolist(), strict=False)))


def _read_all(
    source: FeatureSource, videos: Sequence[str], max_clips: int, jobs: int
) -> Iterator[_Video]:
    """Yield the videos in order, read by `jobs` threads a bounded way ahead."""
    with ThreadPoolExecutor(max_workers=jobs) as threads:
        waiting: deque[Future[_Video]] = deque()
        try:
            for video in videos:
                waiting.append(threads.submit(_read_one, source, video, max_clips))
                if len(waiting) > READ_AHEAD * jobs:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()


def _read_one(source: FeatureSource, video: str, max_clips: int) -> _Video:
    rows = checked_rows(source, video)
    pooled = pool(rows, max_clips)
    limit = float(np.finfo(np.float16).max)
    if np.abs(pooled).max() > limit:
        raise DataError(
            f"{source.where(video)}: holds {np.abs(pooled).max():g}, above {limit:g}, the largest "
            f"float16; scale or normalise the features"
        )
    described = f"{rows.dtype.str}{rows.shape}".encode() + np.ascontiguousarray(rows).tobytes()
    return _Video(
        video=video,
        clips=pooled.astype(np.float16),
        rows=len(rows),
        digest=hashlib.sha256(described).digest(),
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
