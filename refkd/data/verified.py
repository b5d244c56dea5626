"""Which files of a dataset this machine has compared with their hashes, as they are now."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path

from filelock import FileLock

from refkd.data.manifest import Manifest, check_files
from refkd.files import user_cache, write_json


def verify_once(folder: Path, manifest: Manifest, names: tuple[str, ...]) -> None:
    """Compare the content of files with the manifest unless that was done here before.

    A note in the user's cache holds the size and the times of each file as it was verified; where
    it differs, or cannot be written, the files are read again. Raises `DataError` where one is
    damaged.
    """
    check_files(folder, manifest, names, full=False)
    if not _is_noted(folder, manifest, names):
        with _alone(manifest):
            if not _is_noted(folder, manifest, names):
                verify_files(folder, manifest, names)


def verify_files(folder: Path, manifest: Manifest, names: tuple[str, ...]) -> None:
    """Compare the content of files with the manifest, whatever was done before."""
    before = _times(folder, names) if all((folder / name).is_file() for name in names) else {}
    check_files(folder, manifest, names, full=True)
    with contextlib.suppress(OSError):  # a cache that cannot be written costs time alone
        notes = _notes(manifest) | {str(folder.resolve()): before}
        write_json(_path(manifest), {k: v for k, v in notes.items() if Path(k).is_dir()})


def _is_noted(folder: Path, manifest: Manifest, names: tuple[str, ...]) -> bool:
    return _notes(manifest).get(str(folder.resolve())) == _times(folder, names)


@contextlib.contextmanager
def _alone(manifest: Manifest) -> Iterator[None]:
    """Let one process of this machine read the files, while the others wait for its note."""
    with contextlib.ExitStack() as held:
        with contextlib.suppress(OSError):
            _path(manifest).parent.mkdir(parents=True, exist_ok=True)
            # A soft lock would outlive a process that is killed, and all others wait for ever.
            lock = FileLock(_path(manifest).with_suffix(".lock"), fallback_to_soft=False)
            held.enter_context(lock)
        yield


def _times(folder: Path, names: tuple[str, ...]) -> dict[str, list[int]]:
    """Return the size, the time of the last write and that of the last change of each file."""
    stats = {name: (folder / name).stat() for name in names}
    return {name: [s.st_size, s.st_mtime_ns, s.st_ctime_ns] for name, s in stats.items()}


def _notes(manifest: Manifest) -> dict[str, dict[str, list[int]]]:
    """Return what is noted of each folder that holds this dataset."""
    try:
        notes = json.loads(_path(manifest).read_bytes())
    except (OSError, ValueError):
        return {}
    return notes if isinstance(notes, dict) else {}


def _path(manifest: Manifest) -> Path:
    return user_cache() / "verified" / f"{manifest.fingerprint}.json"
