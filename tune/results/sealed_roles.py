"""The sealed test roles: a row in the ledger first, then they are opened."""

from __future__ import annotations

import socket
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path

from refkd.data.dataset import Dataset
from refkd.data.local_copy import check_address
from refkd.data.manifest import SEALED_FILES, check_files
from refkd.data.pairs import Pairs
from refkd.data.roles import SEALED_ROLES
from refkd.data.sealed import open_sealed, sealed_copy
from refkd.errors import DataError
from refkd.urls import Url
from tune.study.environment import environment
from tune.study.ledger import Evaluated, Look, append_look, read_looks
from tune.study.user import user_name


def check_sealed(dataset: Dataset, at: Path | Url) -> None:
    """Check, without opening them, that the sealed files are there; else raise `DataError`.

    `at` is the dataset's folder or address.
    """
    missing = [role for role in SEALED_ROLES if role not in dataset.manifest.roles]
    if missing:
        raise DataError(
            f"{dataset.path}: has no role {missing[0]!r}; prepare it from all split files"
        )
    if isinstance(at, Url):
        check_address(at, dataset.manifest, SEALED_FILES)
    else:
        check_files(dataset.path, dataset.manifest, SEALED_FILES, full=False)


def open_test_roles(
    folder: Path,
    dataset: Dataset,
    at: Path | Url,
    scratch: Path,
    *,
    study: str,
    champions: Mapping[str, Evaluated],
    teachers: Mapping[str, str],
    reason: str | None,
    written: Callable[[Look], None] = lambda _: None,
) -> tuple[Look, tuple[Pairs, Pairs]]:
    """Write a test evaluation into the ledger of `folder`, then open `test_id` and `test_ood`.

    `at` is the dataset's folder or address; from an address they are copied to `scratch`.
    `written` is called between the two. Source: evaluation protocol, "One sealed evaluation".
    """
    facts = environment()
    row = Look(
        look=len(read_looks(folder)) + 1,
        time=datetime.now(UTC).isoformat(timespec="milliseconds"),
        user=user_name(),
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
    append_look(folder, row)
    written(row)
    path = sealed_copy(at, dataset.path, scratch) if isinstance(at, Url) else dataset.path
    return row, (open_sealed(path, "test_id"), open_sealed(path, "test_ood"))
