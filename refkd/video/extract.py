"""Features of a folder of videos in one HDF5 file, video by video, so that it can go on."""

from __future__ import annotations

import fcntl
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import h5py
import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from refkd.data.extraction import EXTRACTION, Extraction, extraction_of
from refkd.errors import DataError
from refkd.files import VIDEO_SUFFIXES, canonical_json, replaced, write_text
from refkd.video.encoder import Encoder
from refkd.video.frames import Frames

BATCH = 32
"""Frames that are described at once, and held in memory."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Extracted:
    """What came of an extraction."""

    path: Path
    videos: int
    """Videos in the file."""
    made: int
    """Videos of them that were not there before."""
    failed: Mapping[str, str]
    """What is wrong with the files that could not be read, by file."""


def extract(
    videos: Path,
    model: str,
    out: Path,
    *,
    fps: float = 1.0,
    device: str = "cpu",
    progress: bool = True,
) -> Extracted:
    """Write the features of every video below a folder to `out`, and what made them beside.

    What is there stays, so that the same call goes on after it was killed, and adds new videos.
    A file that cannot be read is named in the result, and the others are done. `DataError` where
    nothing can be done: no video, two of one name, another model or rate than before.
    """
    if not 0 < fps <= 240:
        raise DataError(f"fps is {fps:g}; give the frames a second that are described, to 240")
    if out.suffix not in (".h5", ".hdf5"):
        raise DataError(f"{out}: name a file that ends in .h5 or .hdf5")
    files = _files(videos)
    encoder = Encoder(model, device=device)
    made_by = Extraction(model=str(model), sha256=encoder.sha256, fps=fps)
    parts = out.with_name(f".{out.name}.parts")
    failed: dict[str, str] = {}
    made = 0
    there = _there(out, made_by)
    with _mine(parts, made_by, out):
        left = [v for v in files if v not in there and not (parts / f"{v}.npz").is_file()]
        for video in tqdm(left, desc="videos", unit="video", disable=not progress):
            try:
                rows, duration = describe(files[video], encoder, fps)
            except DataError as error:
                failed[str(files[video])] = str(error)
                continue
            with replaced(parts / f"{video}.npz") as temporary, temporary.open("wb") as handle:
                np.savez(handle, rows=rows.astype(np.float16), duration=duration)
        if len(failed) == len(files):
            raise DataError(f"{videos}: none of its videos can be read; {_first(failed)}")
        made = _join(parts, out, made_by)
    with h5py.File(out, "r") as file:
        return Extracted(path=out, videos=len(file), made=made, failed=failed)


def describe(path: Path, encoder: Encoder, fps: float) -> tuple[NDArray[np.float32], float]:
    """Return a row for each 1 / fps seconds of a video (T, V), and its seconds."""
    frames = Frames(path, fps)
    images = iter(frames)
    rows = []
    while batch := list(islice(images, BATCH)):
        rows.append(encoder(batch))
    return np.concatenate(rows), frames.duration


def _files(folder: Path) -> dict[str, Path]:
    """Return the files of videos by their names without the ending."""
    if not folder.is_dir():
        raise DataError(f"{folder}: no such folder; give the one with the videos")
    found: dict[str, Path] = {}
    for path in sorted(folder.rglob("[!.]*")):
        if path.suffix.lower() not in VIDEO_SUFFIXES or not path.is_file():
            continue
        if path.stem in found:
            raise DataError(f"{path}: has the name of {found[path.stem]}; rename one of them")
        found[path.stem] = path
    if not found:
        raise DataError(
            f"{folder}: holds no video ({', '.join(VIDEO_SUFFIXES)}); give another folder"
        )
    return found


@contextmanager
def _mine(parts: Path, made_by: Extraction, out: Path) -> Iterator[None]:
    """Hold the folder of what is done so far, alone; remove it once all of it is in `out`."""
    parts.mkdir(parents=True, exist_ok=True)
    with (parts / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise DataError(f"{out}: another extraction writes it; wait for its end") from None
        begun = parts / "extraction.json"
        facts = canonical_json(made_by.model_dump()).decode()
        done = any(parts.glob("*.npz"))
        if done and begun.is_file() and begun.read_text(encoding="utf-8") != facts:
            raise DataError(
                f"{parts}: was begun with another model or rate; remove the folder, or go on with "
                f"{begun.read_text(encoding='utf-8')}"
            )
        write_text(begun, facts)
        yield
        shutil.rmtree(parts)


def _first(failed: Mapping[str, str]) -> str:
    return next(iter(failed.values()))


def _there(out: Path, made_by: Extraction) -> set[str]:
    if not out.exists():
        return set()
    held = extraction_of(out)
    if held != made_by:
        raise DataError(
            f"{out}: exists, made by {held or 'something else'}; give another file, or remove it"
        )
    with h5py.File(out, "r") as file:
        return set(file)


def _join(parts: Path, out: Path, made_by: Extraction) -> int:
    """Write what was there and what is done to one file; return how many videos are new."""
    done = {path.stem: path for path in sorted(parts.glob("*.npz"))}
    if not done and out.exists():
        return 0
    with replaced(out) as temporary, h5py.File(temporary, "w") as file:
        file.attrs[EXTRACTION] = made_by.model_dump_json()
        if out.exists():
            with h5py.File(out, "r") as before:
                for video in sorted(set(before) - set(done)):  # in both after a kill just here
                    before.copy(video, file)
        for video, path in done.items():
            with np.load(path, allow_pickle=False) as part:
                file[video] = part["rows"]
                file[video].attrs["duration"] = float(part["duration"])
    return len(done)
