"""Finding a study that exists, without importing what trains: for commands that only look."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from refkd.errors import RefKDError
from tune.spec.yaml_file import read_yaml
from tune.study.view import SCHEMA

if TYPE_CHECKING:
    import optuna

    from tune.spec.study_file import StudyFile
    from tune.study.results import Summary


class NoStudyError(RefKDError):
    """There is no study where one was looked for."""


@dataclass(frozen=True, kw_only=True, slots=True)
class StudyPlace:
    """Where a study lives; its URLs are as the study file has them, to be shown with care."""

    name: str
    folder: Path
    storage: str = field(repr=False)
    tracking: str = field(repr=False)


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
    )


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
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        study = optuna.load_study(study_name=place.name, storage=open_storage(place.storage))
    except KeyError:
        raise NoStudyError(
            f"study {place.name!r} is not in its storage; run `refkd search` to begin it"
        ) from None
    _check_schema(place, study.user_attrs)
    return study


def _check_schema(place: StudyPlace, attributes: Mapping[str, Any]) -> None:
    schema = attributes.get("schema", SCHEMA)
    if schema != SCHEMA:
        raise NoStudyError(
            f"study {place.name!r} is stored in version {schema}, this refkd reads {SCHEMA}; use "
            "the release that wrote it, or give the study file another name"
        )


def read_summary(path: Path | str) -> Summary:
    """Return what the study of a study file has found so far."""
    from tune.study.glance import glance
    from tune.study.results import summarise
    from tune.study.view import view

    place = locate(path)
    seen = glance(place.storage, place.name)
    if seen is not None:
        _check_schema(place, seen.attributes)
        return summarise(place.name, [view(t) for t in seen.trials], seen.attributes)
    study = open_study(place)
    views = [view(trial) for trial in study.get_trials(deepcopy=False)]
    return summarise(place.name, views, dict(study.user_attrs))
