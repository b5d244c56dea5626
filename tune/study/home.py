"""Where a study was begun, so that a workspace that was moved or copied is known as such."""

from __future__ import annotations

import socket
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from refkd.errors import RefKDError
from tune.study.locate import place_of
from tune.study.storage import file_of, store_file

if TYPE_CHECKING:
    from tune.config.study_file import StudyFile
    from tune.study.stored_study import StoredStudy

HOME = "home"
"""The study's attribute that holds where its files lie: `host` and `folder`."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Elsewhere:
    """Another folder than the one at hand, in which a study's files were until now."""

    host: str
    folder: Path
    here: Path
    copied: bool
    """Whether the study is still there."""
    shared: bool
    """Whether both have one MLflow: none that came along in the workspace."""

    @property
    def is_double(self) -> bool:
        """Whether this study would write what belongs to the one it is a copy of."""
        return self.copied and self.shared

    def __str__(self) -> str:
        if not self.copied:
            return (
                f"the workspace was moved from {self.folder} on {self.host}: its study goes on in "
                f"{self.here}; correct scripts and links that name the old folder"
            )
        how = "from now on it has runs of its own in MLflow" if self.shared else "both go on apart"
        return (
            f"{self.here} is a copy of {self.folder}, which is still there: {how}; remove one of "
            "the two if they were to be the same"
        )


def here(file: StudyFile) -> dict[str, str]:
    """Return where a study's files lie now."""
    return {"host": socket.gethostname(), "folder": str(file.folder.resolve())}


def elsewhere(file: StudyFile, attributes: Mapping[str, Any]) -> Elsewhere | None:
    """Return where a study was until now; None where it is there, or nobody knows."""
    held, now = attributes.get(HOME), file.folder.resolve()
    storage = file_of(place_of(file).storage)
    if held is None or Path(held["folder"]) == now:
        return None
    old = Path(held["folder"])
    if storage is None or now not in storage.parents:
        return None  # a storage of its own place holds one study, wherever it is opened
    there = old / storage.relative_to(now)
    copied = there.is_file() and not there.samefile(storage)
    record = store_file(place_of(file).tracking)
    shared = record is None or file.workspace.resolve() not in record.parents
    return Elsewhere(host=held["host"], folder=old, here=now, copied=copied, shared=shared)


def settle(study: StoredStudy, file: StudyFile) -> Elsewhere | None:
    """Note that a study lies here, a copy as one of its own; return where it was until now.

    Only the holder of the study's lease may call it.
    """
    found = elsewhere(file, study.optuna.user_attrs)
    if found is not None and found.is_double:
        study.renew_identity()
    if study.optuna.user_attrs.get(HOME) != here(file):
        study.note(HOME, here(file))
    return found


def check_own(file: StudyFile, attributes: Mapping[str, Any]) -> None:
    """Raise `RefKDError` where a study is a copy that no search has made one of its own yet."""
    found = elsewhere(file, attributes)
    if found is not None and found.is_double:
        raise RefKDError(
            f"{found.here}: is a copy of {found.folder}, whose runs in MLflow it must not write; "
            "run `refkd search` in the copy first, which makes it a study of its own"
        )
