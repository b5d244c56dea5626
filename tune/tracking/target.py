"""Where the record of a study is kept: the server, the names there, and what it has already."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from refkd.files import write_json
from refkd.scoped import log_levels, variables
from tune.config.study_file import StudyFile
from tune.config.urls import resolve, without_password
from tune.study.locate import place_of
from tune.tracking.operations import BeginRun, EndRun, LogEpoch, Operation

if TYPE_CHECKING:
    from tune.tracking.writer import Writer

CLIENT_SETTINGS = {
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_LOGGING_LEVEL": "WARNING",  # where MLflow is first imported meanwhile
}
"""MLflow's own client would retry for minutes, print, and report usage; a delivery retries."""
BEFORE = "-before"
"""Ending of the alias that the earlier holder of an alias gets in the registry."""
REFUSED = "refused.jsonl"
"""In a study's tracking folder: operations that the server refused, with the reasons."""
_log = logging.getLogger(__name__)


class Cursor:
    """The operations that one experiment of one server has, in one small file.

    The file may be lost or outdated: then operations are sent again, which does no harm.
    """

    def __init__(self, folder: Path, uri: str, experiment: str) -> None:
        # A digest: an address may hold a password, and is too long for a file's name.
        target = f"{without_password(uri)}\n{experiment}"
        name = f"cursor-{hashlib.sha256(target.encode()).hexdigest()[:12]}.json"
        self._path = folder / name
        self._has: dict[str, str] = {}
        self._epochs: dict[str, int] = {}
        if self._path.is_file():
            try:
                held = json.loads(self._path.read_bytes())
                self._has, self._epochs = dict(held["operations"]), dict(held["epochs"])
            except (ValueError, KeyError, TypeError) as error:
                self.clear()
                _log.warning(
                    "%s is damaged (%s); all is sent again, to no harm", self._path, error
                )

    def pending(self, operations: Iterable[Operation]) -> list[Operation]:
        """Return those that the server lacks; a run that is continued is to be closed again."""
        found: list[Operation] = []
        opened: set[str] = set()
        for one in operations:
            if isinstance(one, LogEpoch):
                lacks = one.epoch > self._epochs.get(one.run, 0)
            else:
                lacks = self._has.get(one.key) != one.digest
            if lacks or (isinstance(one, EndRun) and one.run in opened):
                found.append(one)
                if isinstance(one, BeginRun):
                    opened.add(one.run)
        return found

    def add(self, operations: Iterable[Operation]) -> None:
        """Note that the server has some; the epochs of a run come in their order."""
        for one in operations:
            if isinstance(one, LogEpoch):
                self._epochs[one.run] = max(one.epoch, self._epochs.get(one.run, 0))
            else:
                self._has[one.key] = one.digest
            if isinstance(one, BeginRun):
                self._has.pop(f"{EndRun.__name__}/{one.run}", None)

    def forget(self, operations: Iterable[Operation]) -> None:
        """Note that the server lacks some."""
        for one in operations:
            self._has.pop(one.key, None)
            if isinstance(one, LogEpoch):
                self._epochs.pop(one.run, None)

    def clear(self) -> None:
        """Note that the server has nothing."""
        self._has, self._epochs = {}, {}

    def save(self) -> None:
        """Write the file, in the place of the one before."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        write_json(self._path, {"operations": self._has, "epochs": self._epochs})


@dataclass(frozen=True, kw_only=True)
class Target:
    """The runs of one study in an experiment of a tracking server."""

    uri: str = field(repr=False)
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
        local = not resolve(self.uri).startswith(("http://", "https://"))
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
    with variables(CLIENT_SETTINGS), log_levels({"mlflow": logging.WARNING}):
        yield
