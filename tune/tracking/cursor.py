"""What an experiment of a tracking server has already, noted in one small file."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Iterable
from pathlib import Path

from refkd.files import write_json
from refkd.urls import Url
from tune.tracking.operations import BeginRun, EndRun, LogEpoch, Operation

_log = logging.getLogger(__name__)


class Cursor:
    """What one experiment has, in a small file; if it is lost, all is sent again, to no harm."""

    def __init__(self, folder: Path, uri: Url, experiment: str) -> None:
        target = f"{uri}\n{experiment}"
        name = f"cursor-{hashlib.sha256(target.encode()).hexdigest()[:12]}.json"
        self._path = folder / name
        self._has: dict[str, str] = {}
        self._epochs: dict[str, int] = {}
        self._experiment: str | None = None
        if self._path.is_file():
            try:
                held = json.loads(self._path.read_bytes())
                self._has, self._epochs = dict(held["operations"]), dict(held["epochs"])
                self._experiment = held.get("experiment")
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

    def enter(self, experiment: str) -> bool:
        """Note which experiment of the name is there; return whether that forgets anything.

        It does where another one had what was sent: this one has nothing of it.
        """
        known = bool(self._has or self._epochs)
        other = experiment != self._experiment
        if other:
            self.clear()
        self._experiment = experiment
        return other and known

    def clear(self) -> None:
        """Note that the server has nothing."""
        self._has, self._epochs = {}, {}

    def save(self) -> None:
        """Write the file, in the place of the one before."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        held = {"operations": self._has, "epochs": self._epochs, "experiment": self._experiment}
        write_json(self._path, held)
