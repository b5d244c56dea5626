"""The one door to the test roles; only the final evaluation may import this module."""

from __future__ import annotations

import shutil
from pathlib import Path

from refkd.data.dataset import read_words
from refkd.data.local_copy import fetch
from refkd.data.manifest import (
    FEATURES,
    MANIFEST,
    MOMENTS,
    SEALED,
    TEXT,
    WORDS,
    check_files,
    read_manifest,
)
from refkd.data.pairs import Pairs
from refkd.data.roles import SEALED_ROLES, SealedRole
from refkd.data.store import open_store
from refkd.data.tables import read_pairs
from refkd.errors import DataError
from refkd.urls import Url


def sealed_copy(uri: Url, path: Path, folder: Path) -> Path:
    """Fetch the test roles from an address into an empty folder, and return it.

    `path` is this machine's copy of the open files, to which nothing sealed is added. Raises
    `DataError` where the address cannot be read.
    """
    for name in (MANIFEST, WORDS):
        shutil.copyfile(path / name, folder / name)
    fetch(uri, read_manifest(folder).sealed_files, folder)
    return folder


def open_sealed(path: Path | str, role: SealedRole) -> Pairs:
    """Return the pairs of a test role; every byte that is read is verified first."""
    folder = Path(path)
    if role not in SEALED_ROLES:
        raise DataError(f"{folder}: {role!r} is not sealed; use Dataset.open(...).role({role!r})")
    manifest = read_manifest(folder)
    if role not in manifest.roles:
        raise DataError(f"{folder}: has no role {role!r}; prepare it from all split files")
    check_files(folder, manifest, (*manifest.sealed_files, WORDS), full=True)
    sealed = folder / SEALED
    store = open_store(sealed / FEATURES)
    text = None if manifest.text is None else open_store(sealed / TEXT)
    return read_pairs(sealed / MOMENTS, [role], store, read_words(folder / WORDS), text)[role]
