"""Where the record of a study is kept: which server, which experiment, whose runs."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from refkd.scoped import log_levels, variables
from tune.config.study_file import StudyFile
from tune.config.urls import resolve, scrub
from tune.study.locate import place_of
from tune.tracking.cursor import Cursor
from tune.tracking.delivery import Delivery

if TYPE_CHECKING:
    from collections.abc import Callable

    from tune.tracking.delivery import Source
    from tune.tracking.writer import Writer

CLIENT_SETTINGS = {
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_LOGGING_LEVEL": "WARNING",  # where MLflow is first imported meanwhile
}
"""MLflow's own client would wait for minutes, print, and tell its makers; a delivery waits."""


@dataclass(frozen=True, kw_only=True)
class Target:
    """An experiment of a tracking server, and how far it has come."""

    uri: str = field(repr=False)
    experiment: str
    artifact_root: Path | None
    """Where files of a new experiment lie when no server decides."""
    folder: Path
    """Where is noted what it has, and what it refused."""
    owner: str
    """What tells a study's runs from those of all others, also of the same name."""

    def cursor(self) -> Cursor:
        """Return what it has."""
        return Cursor(self.folder, self.uri, self.experiment)

    def writer(self) -> Writer:
        """Connect to the server; imports MLflow."""
        from tune.tracking.writer import Writer

        return Writer(
            self.uri, self.experiment, owner=self.owner, artifact_root=self.artifact_root
        )

    def delivery(self, source: Callable[[], Source], cursor: Cursor | None = None) -> Delivery:
        """Begin to send what a source says; the client's settings are the caller's matter."""
        show = partial(scrub, url=self.uri)
        held = self.cursor() if cursor is None else cursor
        return Delivery(source, held, self.folder, self.writer, show=show)


def target_of(file: StudyFile, identity: str) -> Target | None:
    """Return where the record of a study is kept; None where tracking is switched off."""
    uri = tracking_uri(file)
    if uri is None:
        return None
    return Target(
        uri=uri,
        experiment=experiment_name(file),
        artifact_root=artifact_root(file),
        folder=tracking_folder(file),
        owner=owner_of(file.name, identity),
    )


def tracking_uri(file: StudyFile) -> str | None:
    """Return where the record is kept; None where tracking is switched off."""
    if not file.tracking.enabled:
        return None
    return place_of(file).tracking


def experiment_name(file: StudyFile) -> str:
    """Return the experiment of a study."""
    return file.tracking.experiment or f"refkd/{file.name}"


def artifact_root(file: StudyFile) -> Path | None:
    """Return where artefacts of a store without a server lie."""
    uri = tracking_uri(file)
    return None if uri is None else local_artifacts(uri, file.workspace)


def local_artifacts(uri: str, workspace: Path) -> Path | None:
    """Return where the artefacts of a store lie; None where a server keeps them."""
    local = not resolve(uri).startswith(("http://", "https://"))
    return workspace.absolute() / "mlartifacts" if local else None


def tracking_folder(file: StudyFile) -> Path:
    """Return where is noted what each server has of a study."""
    return file.folder / "tracking"


def owner_of(study: str, identity: str) -> str:
    """Return what tells a study's runs from those of all others, also of the same name."""
    return f"{study}/{identity}"


@contextmanager
def client_settings() -> Iterator[None]:
    """Set how MLflow's client behaves, where the user's environment does not."""
    with variables(CLIENT_SETTINGS), log_levels({"mlflow": logging.WARNING}):
        yield
