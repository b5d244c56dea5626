"""A look at the sealed test roles: the one door, which writes in the ledger before it opens."""

from __future__ import annotations

import getpass
import socket
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path

from refkd.data.dataset import Dataset
from refkd.data.manifest import SEALED_FILES, check_files
from refkd.data.pairs import Pairs
from refkd.data.roles import SEALED_ROLES
from refkd.data.sealed import open_sealed
from refkd.errors import DataError
from tune.finals.ledger import Evaluated, Look, append_look
from tune.record.environment import environment


def check_sealed(dataset: Dataset) -> None:
    """Try all that can fail without a look; `DataError` where sealed files are missing."""
    missing = [role for role in SEALED_ROLES if role not in dataset.manifest.roles]
    if missing:
        raise DataError(
            f"{dataset.path}: has no role {missing[0]!r}; prepare it from all split files"
        )
    check_files(dataset.path, dataset.manifest, SEALED_FILES, full=False)


def take_look(
    folder: Path,
    dataset: Dataset,
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
        version=facts["refkd.version"],
        git_commit=facts["refkd.git_commit"],
        git_dirty=facts["refkd.git_dirty"],
        reason=None if reason is None else reason.strip(),
    )
    append_look(folder, look)
    written(look)
    path = dataset.path
    return look, (open_sealed(path, "test_id"), open_sealed(path, "test_ood"))
