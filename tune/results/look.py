"""A look at the sealed test roles: the one door, which writes in the ledger before it opens."""

from __future__ import annotations

import getpass
import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from refkd.data.dataset import Dataset
from refkd.data.local_copy import check_address
from refkd.data.manifest import SEALED_FILES, check_files
from refkd.data.pairs import Pairs
from refkd.data.roles import SEALED_ROLES
from refkd.data.sealed import open_sealed, sealed_copy
from refkd.errors import DataError
from tune.study.environment import environment
from tune.study.ledger import Evaluated, Look, append_look


@dataclass(frozen=True, kw_only=True, slots=True)
class SealedPlace:
    """Where the test roles of a dataset lie, and a folder for a copy that goes after the look."""

    at: Path | str
    """The dataset's folder, or its address."""
    scratch: Path

    def folder(self, dataset: Dataset) -> Path:
        """Return the folder to open them in; from an address they are fetched now."""
        if isinstance(self.at, str):
            return sealed_copy(self.at, dataset.path, self.scratch)
        return dataset.path


def check_sealed(dataset: Dataset, at: Path | str) -> None:
    """Try all that can fail without a look; `DataError` where sealed files are missing.

    `at` is the dataset's folder or address.
    """
    missing = [role for role in SEALED_ROLES if role not in dataset.manifest.roles]
    if missing:
        raise DataError(
            f"{dataset.path}: has no role {missing[0]!r}; prepare it from all split files"
        )
    if isinstance(at, str):
        check_address(at, dataset.manifest, SEALED_FILES)
    else:
        check_files(dataset.path, dataset.manifest, SEALED_FILES, full=False)


def take_look(
    folder: Path,
    dataset: Dataset,
    place: SealedPlace,
    *,
    number: int,
    study: str,
    champions: Mapping[str, Evaluated],
    teachers: Mapping[str, str],
    reason: str | None,
    written: Callable[[Look], None] = lambda _: None,
) -> tuple[Look, tuple[Pairs, Pairs]]:
    """Write the look into the ledger of `folder`, then open `test_id` and `test_ood`.

    `written` is called between the two.

    Source: evaluation protocol, "One sealed evaluation".
    """
    facts = environment()
    look = Look(
        look=number,
        time=datetime.now(UTC).isoformat(timespec="milliseconds"),
        user=getpass.getuser(),
        host=socket.gethostname(),
        study=study,
        champions=dict(champions),
        teachers=dict(teachers),
        dataset=dataset.fingerprint,
        sealed={name: dataset.manifest.files[name].sha256 for name in SEALED_FILES},
        version=facts.refkd,
        git_commit=facts.git_commit,
        git_dirty=facts.git_dirty,
        reason=None if reason is None else reason.strip(),
    )
    append_look(folder, look)
    written(look)
    path = place.folder(dataset)
    return look, (open_sealed(path, "test_id"), open_sealed(path, "test_ood"))
