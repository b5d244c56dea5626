"""Finding a study that exists, without importing what trains: for commands that only look."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from refkd.errors import RefKDError
from tune.config.yaml_file import read_yaml
from tune.study.view import SCHEMA

if TYPE_CHECKING:
    import optuna

    from tune.config.study_file import StudyFile


_NAMED = re.compile(r"(.*)#([A-Za-z0-9][A-Za-z0-9_-]{0,63})", re.DOTALL)
"""A URL with the name of a study behind it."""


class NoStudyError(RefKDError):
    """There is no study where one was looked for."""


@dataclass(frozen=True, kw_only=True, slots=True)
class StudyPlace:
    """Where a study lives; its URLs are as the study file has them, to be shown with care."""

    name: str
    folder: Path
    storage: str = field(repr=False)
    tracking: str = field(repr=False)
    path: Path | None = None
    """The study file; None where the study was found by its folder or its storage."""


def default_storage(folder: Path) -> str:
    """Return the storage of a study whose file names none."""
    return f"sqlite:///{folder / 'study.db'}"


def default_tracking(workspace: Path) -> str:
    """Return the tracking store of a study whose file names none."""
    return f"sqlite:///{workspace.absolute() / 'mlflow.db'}"


def locate(path: Path | str) -> StudyPlace:
    """Return where the study of a study file lives; only what is needed is read from it."""
    content = read_yaml(Path(path)).content
    name = content.get("name")
    if not isinstance(name, str):
        raise NoStudyError(f"{path}: has no name; is it a study file?")
    workspace = Path(content.get("workspace") or "runs").absolute()
    folder = workspace / "studies" / name
    tracking = content.get("tracking") or {}
    return StudyPlace(
        name=name,
        folder=folder,
        storage=content.get("storage") or default_storage(folder),
        tracking=tracking.get("uri") or default_tracking(workspace),
        path=Path(path),
    )


def find_study(where: Path | str) -> StudyPlace:
    """Return where a study lives, from its study file, its folder, or the URL of its storage.

    Where a storage holds several studies, its URL ends with `#NAME`. Raises `NoStudyError` where
    no study is there.
    """
    if not str(where):
        raise NoStudyError("no study is named; give a study file, its folder or its storage's URL")
    if isinstance(where, str) and ("://" in where or where.startswith("journal:")):
        return _at_url(where)
    if Path(where).is_dir():
        return _at_folder(Path(where).absolute())
    return locate(where)


def _at_folder(folder: Path) -> StudyPlace:
    if not (folder / "study.db").is_file():
        raise NoStudyError(
            f"{folder}: holds no study.db; name the study file, or the URL of the study's storage"
        )
    return StudyPlace(
        name=folder.name,
        folder=folder,
        storage=default_storage(folder),
        tracking=default_tracking(folder.parent.parent),
    )


def _at_url(where: str) -> StudyPlace:
    from tune.config.urls import without_password
    from tune.study.storage import file_of

    named = _NAMED.fullmatch(where)  # a password may hold the sign as well
    url, name = (named[1], named[2]) if named else (where, "")
    file = file_of(url)
    if file is not None and not file.exists():
        raise NoStudyError(f"{without_password(url)}: {file} does not exist")
    names = _names_in(url)
    if name not in names and (name or len(names) != 1):
        shown = ", ".join(names) or "none"
        raise NoStudyError(
            f"{without_password(url)}: holds the studies {shown}; name one as URL#NAME"
        )
    name = name or names[0]
    folder = Path("runs").absolute() / "studies" / name
    if file is not None and file.parent.parts[-2:] == ("studies", name):
        folder = file.parent
    tracking = default_tracking(folder.parent.parent)
    return StudyPlace(name=name, folder=folder, storage=url, tracking=tracking)


def _names_in(url: str) -> list[str]:
    from tune.study.storage import close_storage, open_storage

    storage = open_storage(url, create=False)
    try:
        return [study.study_name for study in storage.get_all_studies()]
    finally:
        close_storage(storage)


def place_of(file: StudyFile) -> StudyPlace:
    """Return where the study of a checked study file lives."""
    return StudyPlace(
        name=file.name,
        folder=file.folder,
        storage=file.storage or default_storage(file.folder),
        tracking=file.tracking.uri or default_tracking(file.workspace),
    )


def open_study(place: StudyPlace) -> optuna.Study:
    """Open a study for reading; `NoStudyError` says how to begin it."""
    import optuna

    from tune.study.storage import file_of, open_storage

    file = file_of(place.storage)
    if file is not None and not file.exists():
        raise NoStudyError(
            f"study {place.name!r} has not been begun: {file} does not exist; run `refkd search`"
        )
    try:
        study = optuna.load_study(study_name=place.name, storage=open_storage(place.storage))
    except KeyError:
        raise NoStudyError(
            f"study {place.name!r} is not in its storage; run `refkd search` to begin it, or name "
            "its study file if its folder was renamed"
        ) from None
    check_schema(place.name, study.user_attrs)
    return study


def check_schema(name: str, attributes: Mapping[str, Any]) -> None:
    """Raise `NoStudyError` where a study is stored in another version than this refkd reads."""
    schema = attributes.get("schema", SCHEMA)
    if schema != SCHEMA:
        raise NoStudyError(
            f"study {name!r} is stored in version {schema}, this refkd reads {SCHEMA}; use "
            "the release that wrote it, or give the study file another name"
        )
