"""Events on their way to a tracking server: a file that outlives the server and the driver.

One JSON line an event, appended and flushed. A mark beside it says how far a receiver has come,
so what is not marked is sent again: receivers must take an event twice without harm.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import secrets
from collections import deque
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from refkd.files import replaced, write_json

STUDY_RUN = "study"
"""Key of the run that is the parent of all others."""

Kind = Literal["run", "epoch", "file", "inputs", "model", "end"]
_log = logging.getLogger(__name__)


class RefusedError(Exception):
    """An event that a receiver will never take, however often it is sent."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Event:
    """Something that happened to a run; `time` is in milliseconds since 1970."""

    kind: Kind
    run: str
    """Key of the run in its study, such as `trial/0003`."""
    time: int
    body: dict[str, Any]

    @property
    def topic(self) -> str:
        """What the event is about: a later event on the same topic repeats or replaces it."""
        part = {"epoch": "step", "file": "path"}.get(self.kind)
        return f"{self.kind}/{self.run}" + (f"/{self.body[part]}" if part else "")

    @property
    def content(self) -> str:
        """What is new if it differs from the topic's last: nothing, for an epoch."""
        if self.kind == "epoch":
            return ""
        return hashlib.sha256(json.dumps(self.body, sort_keys=True).encode()).hexdigest()


class Spool:
    """The events of one study, in order, in a folder of their own.

    >>> from tempfile import mkdtemp
    >>> spool = Spool(Path(mkdtemp()))
    >>> event = Event(kind="end", run="trial/0001", time=0, body={"status": "FINISHED"})
    >>> spool.append(event), spool.append(event)
    (True, False)
    >>> [event.run for _, event in spool.read(0)]
    ['trial/0001']
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.rejected = folder / "rejected.jsonl"
        self.identity = _identity(folder / "identity")
        self._path = folder / "events.jsonl"
        self._path.touch()
        _cut_torn_line(self._path)
        self._told: dict[str, str] = {}
        self._times: dict[str, int] = {}
        self._unwritten: deque[str] = deque()
        self.problem: OSError | None = None
        """Why events wait in memory."""
        for _, event in self.read(0, size=-1):
            if isinstance(event, Event):
                self._note(event)

    def append(self, event: Event) -> bool:
        """Write an event and return True; False where the spool already holds it.

        Where the disk is full the event is kept in memory and written, in its place, as soon as
        that is possible: nobody who tells of an event fails for that.
        """
        if self._told.get(event.topic) == event.content:
            return False
        self._unwritten.append(json.dumps(asdict(event), ensure_ascii=False) + "\n")
        self._note(event)
        self.flush()
        return True

    def flush(self) -> int:
        """Write what a full disk kept out, in order; return how many events are left."""
        try:
            while self._unwritten:
                _append(self._path, self._unwritten[0].encode())
                self._unwritten.popleft()
            self.problem = None
        except OSError as error:
            if self.problem is None:
                _log.warning("%s; what happens waits in memory until it can be written", error)
            self.problem = error
        return len(self._unwritten)

    def holds(self, kind: Kind, run: str) -> bool:
        """Return whether a run has begun (`run`) or, after it last began, has ended (`end`)."""
        return f"{kind}/{run}" in self._told

    def time_of(self, run: str, epoch: int) -> int | None:
        """Return when an epoch was told, in milliseconds since 1970; None where it was not."""
        return self._times.get(f"epoch/{run}/{epoch}")

    def set_time(self, run: str, epoch: int, time: int) -> None:
        """Remember when an epoch was told that stands in no event here."""
        self._times[f"epoch/{run}/{epoch}"] = time

    def read(self, offset: int, *, size: int = 1 << 18) -> list[tuple[int, Event | str]]:
        """Return whole events from `offset` on, each with the offset behind it.

        About `size` bytes are read; a line that is no event comes as its text.
        """
        found: list[tuple[int, Event | str]] = []
        with self._path.open("rb") as handle:
            handle.seek(offset)
            for line in handle.readlines(size):
                if line.endswith(b"\n"):
                    offset += len(line)
                    found.append((offset, _parse(line)))
        return found

    def mark(self, target: str) -> int:
        """Return the offset up to which a receiver has everything."""
        path = self._mark_path(target)
        if not path.is_file():
            return 0
        offset: int = json.loads(path.read_text(encoding="utf-8"))["offset"]
        return offset if offset <= self._path.stat().st_size else 0

    def set_mark(self, target: str, offset: int) -> None:
        """Remember how far a receiver has come."""
        write_json(self._mark_path(target), {"offset": offset})

    def reject(self, event: Event | str, reason: str) -> None:
        """Put an event aside that a receiver will never take."""
        shown = event if isinstance(event, str) else asdict(event)
        with self.rejected.open("a", encoding="utf-8") as handle:
            handle.write(json.dumps({"reason": reason, "event": shown}, ensure_ascii=False) + "\n")

    def _note(self, event: Event) -> None:
        self._told[event.topic] = event.content
        if event.kind == "epoch":
            self._times.setdefault(event.topic, event.time)
        if event.kind == "run":
            self._told.pop(f"end/{event.run}", None)

    def _mark_path(self, target: str) -> Path:
        # A digest: an address may hold a password.
        return self.folder / f"sent-{hashlib.sha256(target.encode()).hexdigest()[:12]}.json"


def _append(path: Path, line: bytes) -> None:
    """Append a line; what a failed write has left of it is cut off again."""
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND)
    try:
        size = os.fstat(descriptor).st_size
        try:
            while line:
                line = line[os.write(descriptor, line) :]
        except OSError:
            os.ftruncate(descriptor, size)
            raise
    finally:
        os.close(descriptor)


def _identity(path: Path) -> str:
    """Return what tells this study from another of its name on the same server."""
    if not path.is_file():
        with replaced(path) as temporary:
            temporary.write_text(secrets.token_hex(6), encoding="ascii")
    return path.read_text(encoding="ascii")


def _cut_torn_line(path: Path) -> None:
    """Remove what a killed writer left of its last line."""
    with path.open("rb+") as handle:
        handle.truncate(handle.read().rfind(b"\n") + 1)


def _parse(line: bytes) -> Event | str:
    text = line.decode("utf-8", errors="replace").rstrip("\n")
    try:
        return Event(**json.loads(text))
    except (json.JSONDecodeError, TypeError):
        return text
