"""Where a study lives, found without importing what trains: for commands that only read."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from refkd.errors import RefKDError
from refkd.urls import Url
from tune.config.yaml_file import YamlError, YamlFile, read_yaml

if TYPE_CHECKING:
    from tune.config.study_file import StudyFile


_NAMED = re.compile(r"(.*)#([A-Za-z0-9][A-Za-z0-9_-]{0,63})", re.DOTALL)
"""A URL with the name of a study behind it."""


class NoStudyError(RefKDError):
    """There is no study where one was looked for."""


@dataclass(frozen=True, kw_only=True, slots=True)
class StudyPlace:
    """Where a study lives."""

    name: str
    folder: Path
    storage: Url
    tracking: Url
    path: Path | None = None
    """The study file; None where the study was found by its folder or its storage."""


def default_tracking(workspace: Path) -> Url:
    """Return the tracking server where none is named: `MLFLOW_TRACKING_URI`, else a file."""
    named = os.environ.get("MLFLOW_TRACKING_URI")
    return Url(named) if named else Url.of_file(workspace.absolute() / "mlflow.db")


def locate(path: Path | str) -> StudyPlace:
    """Return where the study of a study file lives; only what is needed is read from it."""
    file = read_yaml(Path(path))
    name = _text(file, "name")
    if name is None:
        raise NoStudyError(f"{path}: has no name; is it a study file?")
    folder = Path(_text(file, "workspace") or "runs").absolute() / "studies" / name
    place = _place(name, folder, _url(file, "storage"), _url(file, "tracking", "uri"))
    return replace(place, path=Path(path))


def _text(file: YamlFile, *keys: str) -> str | None:
    value: Any = file.content
    for key in keys:
        value = value.get(key) if isinstance(value, dict) else [value]
        if value is None:
            return None
    if not isinstance(value, str):
        place = f"{file.path}:{file.line(keys)}: {'.'.join(keys)}"
        raise YamlError(f"{place}: give a text, not {str(value)[:40]}")
    return value


def _url(file: YamlFile, *keys: str) -> Url | None:
    written = _text(file, *keys)
    return Url(written) if written else None


def place_of(file: StudyFile) -> StudyPlace:
    """Return where the study of a checked study file lives."""
    return _place(file.name, file.folder, file.storage, file.tracking.uri)


def find_study(where: Path | str | Url) -> StudyPlace:
    """Return where the study of a study file, folder or storage's URL (`URL#NAME`) lives."""
    if not str(where):
        raise NoStudyError("no study is named; give a study file, its folder or its storage's URL")
    if isinstance(where, Url):
        return _at_url(where)
    if isinstance(where, str) and ("://" in where or where.startswith("journal:")):
        named = _NAMED.fullmatch(where)  # a password may hold the sign as well
        return _at_url(Url(named[1]), named[2]) if named else _at_url(Url(where))
    folder = Path(where).absolute()
    if not folder.is_dir():
        return locate(where)
    if not (folder / "study.db").is_file():
        raise NoStudyError(
            f"{folder}: holds no study.db; name the study file, or the URL of the study's storage"
        )
    return _place(folder.name, folder)


def _at_url(url: Url, name: str = "") -> StudyPlace:
    from tune.study.storage import close_storage, file_of, open_storage

    file = file_of(url)
    if file is not None and not file.exists():
        raise NoStudyError(f"{url}: {file} does not exist")
    storage = open_storage(url, write=False)
    try:
        names = [study.study_name for study in storage.get_all_studies()]
    finally:
        close_storage(storage)
    if name not in names and (name or len(names) != 1):
        shown = ", ".join(names) or "none"
        raise NoStudyError(f"{url}: holds the studies {shown}; name one as URL#NAME")
    name = name or names[0]
    folder = Path("runs").absolute() / "studies" / name
    if file is not None and file.parent.parts[-2:] == ("studies", name):
        folder = file.parent
    return _place(name, folder, url)


def _place(
    name: str, folder: Path, storage: Url | None = None, tracking: Url | None = None
) -> StudyPlace:
    return StudyPlace(
        name=name,
        folder=folder,
        storage=storage or Url.of_file(folder / "study.db"),
        tracking=tracking or default_tracking(folder.parent.parent),
    )
