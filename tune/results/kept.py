"""What a choice of champions leaves in files and attributes, and whether it is still that."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from refkd.errors import CheckpointError
from refkd.exported import RECORD, check_export
from refkd.files import canonical_json, sha256_file
from tune.study.events import AliasMoved, ChampionsChosen

SCORES = "scores.json"
"""The copy of a choice's scores, beside its champions."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Unlike:
    """A file or an attribute that is not what was left."""

    what: str
    path: Path | None = None
    """The file; None for an attribute."""


def file_hashes(folder: Path, *files: Path) -> dict[str, str]:
    """Return the sha256 of files by their paths in a study's folder."""
    return {file.relative_to(folder).as_posix(): sha256_file(file) for file in files}


def note_hash(value: Any) -> str:
    """Return the sha256 of an attribute."""
    return hashlib.sha256(canonical_json(value)).hexdigest()


def unlike(
    folder: Path, attributes: Mapping[str, Any], left: ChampionsChosen | AliasMoved
) -> Iterator[Unlike]:
    """Yield what is not as it was left; a retriever's record vouches for the files beside it."""
    for name, expected in (left.files or {}).items():
        path = folder / name
        try:
            if path.name == RECORD:
                check_export(path.parent)
            if sha256_file(path) != expected:
                yield Unlike(what=f"{path}: changed since it was written", path=path)
        except CheckpointError as error:
            yield Unlike(what=str(error).partition("; ")[0], path=path)
        except FileNotFoundError:
            yield Unlike(what=f"{path}: is gone", path=path)
        except OSError as error:
            yield Unlike(what=f"{path}: cannot be read ({error.strerror})", path=path)
    if left.files is None and isinstance(left, ChampionsChosen):
        yield from _unlike_itself(folder, left)
    notes = left.notes or {} if isinstance(left, ChampionsChosen) else {}
    for name, expected in notes.items():
        if name not in attributes or note_hash(attributes[name]) != expected:
            yield Unlike(what=f"{name!r} of the study is not what it was when it was chosen")


def _unlike_itself(folder: Path, left: ChampionsChosen) -> Iterator[Unlike]:
    """Yield the retrievers of an earlier refkd's choice that are not what they say they are."""
    home = folder if left.by == "search" else folder / "finalists"
    for alias in left.champions:
        try:
            check_export(home / "champions" / alias)
        except CheckpointError as error:
            yield Unlike(what=str(error).partition("; ")[0], path=home / "champions" / alias)
