"""A prepared dataset, opened: its open roles and nothing of what is sealed."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np

from refkd.data.inputs import ModelInputs
from refkd.data.local_copy import folder_or_address, local_copy
from refkd.data.manifest import (
    FEATURES,
    MOMENTS,
    TEXT,
    WORDS,
    Manifest,
    check_files,
    read_manifest,
)
from refkd.data.pairs import Pairs
from refkd.data.roles import OPEN_ROLES, SEALED_ROLES, OpenRole, Role
from refkd.data.store import open_store
from refkd.data.tables import read_pairs
from refkd.data.verified import verify_files, verify_once
from refkd.data.words import Words
from refkd.errors import DataError, SealedError
from refkd.urls import Url


class Dataset:
    """A prepared dataset: `fit`, `val_id` and `val_ood`; the test roles stay closed.

    Reads `manifest.json`, `moments.parquet`, `features.h5` and `words.npz` of its folder, and
    `text.h5` where queries are given as features, never `sealed/`.

    >>> import tempfile
    >>> from refkd import SimulationConfig, simulate
    >>> folder = tempfile.TemporaryDirectory()
    >>> _ = simulate(out=Path(folder.name, "tiny"), config=SimulationConfig(videos=40))
    >>> dataset = Dataset.open(Path(folder.name, "tiny"))
    >>> pairs = dataset.role("val_ood")
    >>> pairs.batch([0, 1]).features.shape[2] == dataset.feature_dim
    True
    >>> dataset.role("test_ood")
    Traceback (most recent call last):
    ...
    refkd.errors.SealedError: ...the role test_ood is sealed; a search reads only fit, ...
    >>> folder.cleanup()
    """

    def __init__(self, path: Path, manifest: Manifest, words: Words, roles: dict[Role, Pairs]):
        self.path = path
        self.manifest = manifest
        self.words = words
        self._roles = roles

    @classmethod
    def open(
        cls,
        path: Path | str | Url,
        *,
        fingerprint: str | None = None,
        verify: bool = True,
        anew: bool = False,
    ) -> Dataset:
        """Open a folder, or this machine's copy of what lies at an address such as `s3://…`.

        Raises `DataError` where it is missing, foreign or damaged: the manifest is checked by its
        own hash, the files by theirs. A machine reads all files for that the first time and
        whenever one was written since, or `anew`, which finds what a disk has lost without a
        write; with `verify=False` it compares sizes alone. With a `fingerprint` the copy of this
        machine is opened without reading from the address.
        """
        place = folder_or_address(path)
        folder = place if isinstance(place, Path) else local_copy(place, fingerprint=fingerprint)
        manifest = read_manifest(folder)
        if anew:
            verify_files(folder, manifest, manifest.open_files)
        elif verify:
            verify_once(folder, manifest, manifest.open_files)
        else:
            check_files(folder, manifest, manifest.open_files, full=False)
        words = read_words(folder / WORDS)
        present = [role for role in OPEN_ROLES if role in manifest.roles]
        store = open_store(folder / FEATURES)
        text = None if manifest.text is None else open_store(folder / TEXT)
        roles = read_pairs(folder / MOMENTS, present, store, words, text)
        return cls(folder, manifest, words, roles)

    @property
    def name(self) -> str:
        """Name of the dataset, such as `charades-cd`."""
        return self.manifest.name

    @property
    def fingerprint(self) -> str:
        """Sha256 over the content of every file and everything it was made of."""
        return self.manifest.fingerprint

    @property
    def feature_dim(self) -> int:
        """V, the width of a clip's feature vector."""
        return self.manifest.features.dim

    @property
    def max_clips(self) -> int:
        """Clips a video has at most."""
        return self.manifest.max_clips

    def role(self, role: OpenRole) -> Pairs:
        """Return the pairs of a role; `SealedError` for a test role."""
        if str(role) in SEALED_ROLES:
            raise SealedError(
                f"{self.path}: the role {role} is sealed; a search reads only "
                f"{', '.join(OPEN_ROLES)}"
            )
        if role not in self._roles:
            raise DataError(
                f"{self.path}: has no role {role!r}, only {', '.join(self._roles)}; prepare it "
                f"from all split files"
            )
        return self._roles[role]

    def model_inputs(self) -> ModelInputs:
        """Return what a backbone must know before it can be built."""
        return ModelInputs(
            feature_dim=self.feature_dim,
            word_vectors=self.words.vectors,
            characters=self.words.character_count,
            text_dim=0 if self.manifest.text is None else self.manifest.text.dim,
        )

    def verify(self) -> None:
        """Read every open file and compare it with the manifest; `DataError` where one differs."""
        verify_files(self.path, self.manifest, self.manifest.open_files)


def write_words(path: Path, words: Words) -> None:
    """Write a vocabulary as plain arrays."""
    np.savez(
        path,
        tokens=np.array(words.tokens, dtype=np.str_),
        vectors=words.vectors,
        characters=np.array(words.characters, dtype=np.str_),
        allow_pickle=False,
    )


def read_words(path: Path) -> Words:
    """Read a vocabulary; `DataError` where the file is damaged."""
    try:
        with path.open("rb") as handle, np.load(handle, allow_pickle=False) as arrays:
            return Words(
                tokens=arrays["tokens"].tolist(),
                vectors=arrays["vectors"],
                characters=arrays["characters"].tolist(),
            )
    except (KeyError, ValueError, OSError, zipfile.BadZipFile) as error:
        raise DataError(f"{path}: damaged ({error}); prepare the dataset again") from None


__all__ = ["Dataset", "Pairs", "read_words", "write_words"]
