"""The sealed test roles: a look is written down first, then they are opened."""

from __future__ import annotations

import socket
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

from refkd.data.dataset import Dataset
from refkd.data.local_copy import check_address
from refkd.data.manifest import check_files
from refkd.data.pairs import Pairs
from refkd.data.sealed import open_sealed, sealed_copy
from refkd.errors import DataError
from refkd.urls import Url
from tune.study.environment import environment
from tune.study.ledger import Evaluated, Look
from tune.study.user import user_name


def check_sealed(dataset: Dataset, at: Path | Url) -> None:
    """Check, without opening them, that the sealed files are there; else raise `DataError`.

    `at` is the dataset's folder or address.
    """
    if absent := dataset.manifest.no_test:
        raise DataError(
            f"{dataset.path}: has {absent}, and a look needs both test "
            f"roles; prepare it with the missing test split in another folder"
        )
    if isinstance(at, Url):
        check_address(at, dataset.manifest, dataset.manifest.sealed_files)
    else:
        check_files(dataset.path, dataset.manifest, dataset.manifest.sealed_files, full=False)


def open_test_roles(
    looks: Sequence[Look],
    dataset: Dataset,
    at: Path | Url,
    scratch: Path,
    *,
    study: str,
    champions: Mapping[str, Evaluated],
    teachers: Mapping[str, str],
    reason: str | None,
    begin: Callable[[Look], None],
) -> tuple[Look, tuple[Pairs, Pairs]]:
    """Let a test evaluation be written down, then open `test_id` and `test_ood`.

    `looks` are those until now; the last one is taken again where nothing of it was shown. `at` is
    the dataset's folder or address; from an address they are copied to `scratch`. `begin` stores
    the row before anything is opened. Source: evaluation protocol, "One sealed evaluation".
    """
    facts = environment()
    begun = looks[-1] if looks and looks[-1].state == "begun" else None
    given = None if reason is None else reason.strip()
    row = Look(
        look=len(looks) + 1 if begun is None else begun.look,
        time=datetime.now(UTC).isoformat(timespec="milliseconds"),
        user=user_name(),
        host=socket.gethostname(),
        study=study,
        champions=dict(champions),
        teachers=dict(teachers),
        dataset=dataset.fingerprint,
        sealed={n: dataset.manifest.files[n].sha256 for n in dataset.manifest.sealed_files},
        version=facts.refkd,
        git_commit=facts.git_commit,
        git_dirty=facts.git_dirty,
        reason=given if begun is None else given or begun.reason,
        state="begun",
    )
    begin(row)
    path = sealed_copy(at, dataset.path, scratch) if isinstance(at, Url) else dataset.path
    return row, (open_sealed(path, "test_id"), open_sealed(path, "test_ood"))
