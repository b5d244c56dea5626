"""A dataset on an object store or a shared folder, and the one local copy of it on a machine.

`s3://bucket/path`, `gs://…`, `file:///shared/path`: whatever pyarrow's file systems read. The
first process of a machine that opens such a dataset copies its open files, under a lock, and
compares each with its hash in the manifest; all others wait and then map the same pages. Copies
lie by fingerprint in `$XDG_CACHE_HOME/refkd/datasets`, or `~/.cache/refkd/datasets`. Credentials
come from the environment or the machine's role, never from the address.
"""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import pyarrow as pa
from filelock import FileLock
from pyarrow import fs

from refkd.data.manifest import MANIFEST, OPEN_FILES, Manifest, check_files, read_manifest
from refkd.errors import DataError

_URI = re.compile(r"[a-z][a-z0-9+.-]+://")


def is_uri(path: Path | str) -> bool:
    """Return whether a dataset's place is an address and no folder.

    >>> is_uri("s3://bucket/charades"), is_uri("datasets/charades")
    (True, False)
    """
    return isinstance(path, str) and _URI.match(path) is not None


def local_copy(uri: str) -> Path:
    """Return the folder of this machine's copy of a dataset, made now unless it is there.

    The sealed test roles are left where they are. Raises `DataError` where the address cannot be
    read, or what was copied is not what the manifest says.
    """
    _refuse_password(uri)
    cache = _cache()
    cache.mkdir(parents=True, exist_ok=True, mode=0o700)
    with tempfile.TemporaryDirectory(dir=cache, prefix=".fetched-") as scratch:
        fetched = Path(scratch) / "dataset"
        fetched.mkdir()
        fetch(uri, (MANIFEST,), fetched)
        manifest = read_manifest(fetched)
        kept = cache / manifest.fingerprint
        with FileLock(cache / f"{manifest.fingerprint}.lock"):
            if not kept.is_dir():
                fetch(uri, OPEN_FILES, fetched)
                check_files(fetched, manifest, OPEN_FILES, full=True)
                fetched.rename(kept)
    return kept


def fetch(uri: str, names: tuple[str, ...], folder: Path) -> None:
    """Copy files from an address into a folder; `DataError` where they cannot be read."""
    with _read(uri) as (system, root):
        for name in names:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            with (
                system.open_input_stream(f"{root}/{name}") as source,
                (folder / name).open("wb") as target,
            ):
                shutil.copyfileobj(source, target, 1 << 22)


def check_address(uri: str, manifest: Manifest, names: tuple[str, ...]) -> None:
    """Compare the sizes of files at an address with the manifest, opening none of them."""
    with _read(uri) as (system, root):
        for name, info in zip(
            names, system.get_file_info([f"{root}/{n}" for n in names]), strict=True
        ):
            if info.size != manifest.files[name].bytes:
                found = "missing" if info.size is None else f"{info.size:,} bytes"
                raise DataError(
                    f"{uri}/{name}: {found}, {manifest.files[name].bytes:,} bytes expected; copy "
                    "the dataset there again"
                )


@contextmanager
def _read(uri: str) -> Iterator[tuple[fs.FileSystem, str]]:
    """Give the file system and the path of an address, and say what fails there."""
    try:
        system, root = fs.FileSystem.from_uri(uri)
        yield system, root.rstrip("/")
    except (OSError, pa.ArrowException) as error:
        reason = str(error).splitlines()[0]
        raise DataError(
            f"{uri}: cannot be read ({reason}); is it the folder of a prepared dataset, and do "
            f"this machine's credentials reach it?"
        ) from None


def _cache() -> Path:
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "refkd" / "datasets"


def _refuse_password(uri: str) -> None:
    """Refuse an address that holds a password: it would be written into the study."""
    parts = urlsplit(uri)
    if parts.password is not None:
        raise DataError(
            f"{parts.scheme}://***@{parts.hostname}{parts.path}: holds a password, which would be "
            f"stored with the study; give it by the environment (AWS_ACCESS_KEY_ID, "
            f"AWS_SECRET_ACCESS_KEY) or the machine's role"
        )
