"""Opening a study for reading."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from refkd.urls import Url
from tune.study.locate import NoStudyError, StudyPlace, default_tracking
from tune.study.view import SCHEMA

if TYPE_CHECKING:
    import optuna


def open_study(place: StudyPlace) -> optuna.Study:
    """Open a study for reading; `NoStudyError` says how to begin it."""
    import optuna

    from tune.study.storage import EmptyStorageError, file_of, open_storage

    file = file_of(place.storage)
    if file is not None and not file.exists():
        raise NoStudyError(
            f"study {place.name!r} has not been begun: {file} does not exist; run `refkd search`"
        )
    try:
        storage = open_storage(place.storage, create=False)
        study = optuna.load_study(study_name=place.name, storage=storage)
    except (EmptyStorageError, KeyError):
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


def as_launched(place: StudyPlace, launched: Mapping[str, Any]) -> StudyPlace:
    """Return a place that no study file gave, with the folder and tracking of its last launch."""
    folder, workspace = place.folder, Path(launched.get("workspace") or "runs")
    if workspace.is_absolute():
        from tune.study.storage import file_of

        file = file_of(place.storage)
        if file is None or file.parent != folder.resolve():
            folder = workspace / "studies" / place.name
    kept = (launched.get("tracking") or {}).get("uri")
    tracking = Url(kept) if kept else default_tracking(folder.parent.parent)
    return replace(place, folder=folder, tracking=tracking)
