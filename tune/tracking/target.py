"""Where the record of a study is kept: the server, the names there, and what it has already."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from refkd.scoped import log_levels, variables
from refkd.urls import Url
from tune import compat
from tune.config.study_file import StudyFile
from tune.study.locate import place_of
from tune.tracking.cursor import Cursor

if TYPE_CHECKING:
    from tune.tracking.writer import Writer

CLIENT_SETTINGS = {
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_LOGGING_LEVEL": "WARNING",  # where MLflow is first imported meanwhile
    "PGCONNECT_TIMEOUT": "10",
}
"""MLflow's own client would retry for minutes, print, and report usage; a delivery retries."""
BEFORE = "-before"
"""Ending of the alias that the earlier holder of an alias gets in the registry."""
REFUSED = "refused.jsonl"
"""In a study's tracking folder: operations that the server refused, with the reasons."""


@dataclass(frozen=True, kw_only=True)
class Target:
    """The runs of one study in an experiment of a tracking server."""

    uri: Url
    experiment: str
    study: str
    """The study's name."""
    identity: str
    """Tells the study from another one of its name."""
    workspace: Path
    folder: Path
    """Holds the cursor, and the operations that were refused."""

    @property
    def owner(self) -> str:
        """What begins the tag of each of the study's runs and models."""
        return f"{self.study}/{self.identity}"

    @property
    def artifact_root(self) -> Path | None:
        """Where files of a new experiment lie; None where a server decides."""
        local = not self.uri.reveal().startswith(("http://", "https://"))
        return self.workspace.absolute() / "mlartifacts" if local else None

    @property
    def refused(self) -> Path:
        """The file of operations that the server refused."""
        return self.folder / REFUSED

    def cursor(self) -> Cursor:
        """Return what the experiment has, as it was last noted."""
        return Cursor(self.folder, self.uri, self.experiment)

    def writer(self) -> Writer:
        """Connect to the server; imports MLflow."""
        from tune.tracking.writer import Writer

        return Writer(self)


def target_of(file: StudyFile, identity: str | None) -> Target | None:
    """Return where a study's record is kept; None where tracking is off, or it has no identity."""
    if identity is None or not file.tracking.enabled:
        return None
    return Target(
        uri=place_of(file).tracking,
        experiment=experiment_name(file),
        study=file.name,
        identity=identity,
        workspace=file.workspace,
        folder=file.folder / "tracking",
    )


def experiment_name(file: StudyFile) -> str:
    """Return the experiment of a study."""
    return file.tracking.experiment or f"refkd/{file.name}"


def registered_name(study: str) -> str:
    """Return the name under which a study's champions are registered."""
    return f"refkd-{study}"


@contextmanager
def client_settings() -> Iterator[None]:
    """Set how MLflow's client behaves, where the user's environment does not."""
    levels = {"mlflow": logging.WARNING, compat.STORE_LOGGER: logging.CRITICAL}
    with variables(CLIENT_SETTINGS), log_levels(levels):
        yield
