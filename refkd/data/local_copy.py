"""A dataset on an object store or a shared folder, and the one local copy of it on a machine.

`s3://bucket/path`, `gs://…`, `file:///shared/path`: whatever pyarrow's file systems read. The
first process of a machine that opens such a dataset copies its open files, under a lock, and
compares each with its hash in the manifest; all others wait and then map the same pages. Copies
lie by fingerprint in `$XDG_CACHE_HOME/refkd/datasets`, or `~/.cache/refkd/datasets`. Credentials
come from the environment or the machine's role, never from the address.
"""

from __future__ import annotations

import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import parse_qs

import pyarrow as pa
from filelock import FileLock
from pyarrow import fs

from refkd.data.manifest import MANIFEST, Manifest, check_files, read_manifest
from refkd.errors import DataError
from refkd.files import user_cache
from refkd.masking import HIDDEN, password
from refkd.urls import Url

OPTIONS = frozenset(
    ("region", "scheme", "endpoint_override", "project_id", "retry_limit_seconds", "enable_tls")
)
"""What may stand behind the `?` of an address, of the options that pyarrow knows."""
_URI = re.compile(r"[a-z][a-z0-9+.-]+://")


def folder_or_address(place: Path | str | Url) -> Path | Url:
    """Return a dataset's place as a folder or an address; `DataError` if that holds a secret.

    >>> folder_or_address("s3://bucket/charades"), folder_or_address("datasets").name
    (Url('s3://bucket/charades'), 'datasets')
    """
    if isinstance(place, Path) or (isinstance(place, str) and not _URI.match(place)):
        return Path(place)
    _refuse_secrets(Url(place))
    return Url(place)


def local_copy(uri: str | Url, *, fingerprint: str | None = None) -> Path:
    """Return the folder of this machine's copy of a dataset, made now unless it is there.

    The sealed test roles are left where they are. With a `fingerprint` a copy that is there is
    taken without a word to the address, which may be out of reach by now. Raises `DataError` where
    the address cannot be read, or what was copied is not what the manifest says.
    """
    uri = Url(uri)
    _refuse_secrets(uri)
    cache = user_cache() / "datasets"
    cache.mkdir(parents=True, exist_ok=True, mode=0o700)
    if fingerprint is not None and (found := kept_copy(fingerprint)) is not None:
        return found
    with tempfile.TemporaryDirectory() as scratch:
        fetch(uri, (MANIFEST,), Path(scratch))
        manifest = read_manifest(Path(scratch))
        kept = cache / manifest.fingerprint
        with FileLock(cache / f"{manifest.fingerprint}.lock"):
            if not kept.is_dir():
                _fill(kept, uri, Path(scratch) / MANIFEST, manifest)
    return kept


def kept_copy(fingerprint: str) -> Path | None:
    """Return the folder of this machine's copy of a dataset; None where it has none."""
    folder = user_cache() / "datasets" / fingerprint
    return folder if folder.is_dir() else None


def _fill(kept: Path, uri: Url, described: Path, manifest: Manifest) -> None:
    """Fetch the open files, in place of what a process that was killed has left of them."""
    part = kept.with_name(f".fetched-{kept.name}")
    if part.exists():
        shutil.rmtree(part)
    part.mkdir()
    shutil.copyfile(described, part / MANIFEST)
    try:
        fetch(uri, manifest.open_files, part)
        check_files(part, manifest, manifest.open_files, full=True)
        part.rename(kept)
    finally:
        if part.exists():
            shutil.rmtree(part)


def fetch(uri: Url, names: tuple[str, ...], folder: Path) -> None:
    """Copy files from an address into a folder; `DataError` where they cannot be read."""
    with _read(uri) as (system, root):
        for name in names:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            with (
                system.open_input_stream(f"{root}/{name}") as source,
                (folder / name).open("wb") as target,
            ):
                shutil.copyfileobj(source, target, 1 << 22)


def check_address(uri: Url, manifest: Manifest, names: tuple[str, ...]) -> None:
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
def _read(uri: Url) -> Iterator[tuple[fs.FileSystem, str]]:
    """Give the file system and the path of an address, and say what fails there."""
    try:
        system, root = fs.FileSystem.from_uri(uri.reveal())
        yield system, root.rstrip("/")
    except (OSError, pa.ArrowException) as error:
        reason = str(error).splitlines()[0]
        raise DataError(
            f"{uri}: cannot be read ({reason}); is it the folder of a prepared dataset, and do "
            f"this machine's credentials reach it?"
        ) from None


def _refuse_secrets(uri: Url) -> None:
    """Refuse an address that may hold a secret: it would be written into the study."""
    place, _, query = str(uri).partition("?")
    unknown = sorted(set(parse_qs(query, keep_blank_values=True)) - OPTIONS)
    if password(place) is not None or (not unknown and HIDDEN in query):
        what = "holds a password"
    elif unknown:
        what = f"holds {', '.join(unknown)} (known: {', '.join(sorted(OPTIONS))})"
    else:
        return
    raise DataError(
        f"{uri}: {what}, which would be stored with "
        "the study; give secrets by the environment (AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY) or "
        "the machine's role"
    )
