"""A place where real commands run and are killed: one workspace, set back before each of them."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import psutil
import yaml
from storm.real.kill_table import PHASES, Begin, Kind, Phase
from storm.real.postgres import Database
from support import published_layouts as published
from support.chaos import REFKD, SIMULATE, environment_with, session
from support.chaos_hooks import Epochs, Hook, Mark
from support.tracking_server import Server

from refkd.data.simulate import SimulationConfig, simulate
from refkd.urls import Url

NAME, TRIALS, EPOCHS = "storm", 3, 3
GROWN = {"trials": TRIALS + 1, "epochs": EPOCHS + 1}
EPOCH_SECONDS = 0.3
"""How much longer an epoch is than it needs, so that the kills find trials at work."""
PATIENCE = 240.0
"""Seconds after which a command counts as one that hangs."""
LEFT_SECONDS = 30.0
"""Seconds in which nothing of a command is left after its end."""


@dataclass(frozen=True)
class Ended:
    """A command that has ended."""

    code: int
    seconds: float
    said: str
    calls: dict[str, float]
    """After how many seconds each function was called that begins or ends a phase."""

    def length(self, phase: Phase) -> float:
        """Return how many seconds a phase of the command lasted."""
        begun = self.calls[phase.begins] if phase.begins else 0.0
        ended = self.calls[phase.ends] if phase.ends else self.seconds
        return max(ended - begun, 0.05)


class Site:
    """A folder of its own with a workspace, its copies, and what servers there are."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="s", dir="/tmp"))  # short: Ray makes sockets
        self.folder.chmod(0o711)  # PostgreSQL may run as another user
        self.work, self.temporary = self.folder / "w", self.folder / "t"
        self.kind: Kind = "files"
        self.database: Database | None = None
        self._server: Server | None = None
        self._begun: list[int] = []

    def __enter__(self) -> Self:
        self.temporary.mkdir()
        template = self.folder / "new"
        template.mkdir()
        simulate(out=template / "dataset", config=SimulationConfig(**SIMULATE))
        videos = published.video_ids(published.write_annotations(template / "published"))
        rows = {video: published.rows_of(video) for video in videos}
        published.write_features(template / "features", "npy", rows)
        published.write_words(template / "words.txt")
        return self

    def __exit__(self, *_: object) -> None:
        for process in self.alive():
            with suppress(psutil.NoSuchProcess):
                process.kill()
        if self._server is not None:
            self._server.kill()
        if self.database is not None:
            self.database.kill()
        shutil.rmtree(self.folder)

    @property
    def study(self) -> Path:
        return self.work / "study.yaml"

    @property
    def runs(self) -> Path:
        return self.work / "runs"

    @property
    def epochs(self) -> Path:
        """Where the epochs that began are written down."""
        return self.work / "epochs"

    @property
    def tracking(self) -> Url:
        if self.kind == "server":
            return Url(self._the_server().uri)
        return Url(f"sqlite:///{self.runs / 'mlflow.db'}")

    def _the_server(self) -> Server:
        if self._server is None:
            self._server = Server(self.folder / "m")
            self._server.workspace.mkdir()
        return self._server

    def restore(self, kind: Kind, start: Begin, *, grown: bool = False) -> None:
        """Make the workspace what it is as a phase begins."""
        self.kind = kind
        if self._server is not None:
            self._server.kill()
        shutil.rmtree(self.work, ignore_errors=True)
        source = self.folder / ("new" if start == "new" else f"{kind}-{start}")
        shutil.copytree(source, self.work)
        if kind == "database":
            if self.database is None:
                (self.folder / "p").mkdir()
                self.database = Database(self.folder / "p")
            self.database.start()
            self.database.restore(None if start in ("new", "taught") else start)
        if kind == "server":
            kept = self.work / "server"
            shutil.rmtree(self._the_server().workspace)
            if kept.exists():
                kept.rename(self._the_server().workspace)
            else:
                self._the_server().workspace.mkdir()
            self._the_server().start()
        self.write(grown=grown)

    def keep(self, start: Begin) -> None:
        """Keep the workspace as the one that a phase begins with."""
        kept = self.folder / f"{self.kind}-{start}"
        for told in (self.work / "output.txt", self.epochs):
            told.unlink(missing_ok=True)
        shutil.copytree(self.work, kept)
        if self.kind == "database" and self.database is not None:
            self.database.keep(start)
        if self.kind == "server":
            self._the_server().kill()
            shutil.copytree(self._the_server().workspace, kept / "server")

    def teach(self, kind: Kind) -> None:
        """Keep a new workspace of a kind with the teachers of the search on files."""
        kept = self.folder / f"{kind}-taught"
        shutil.copytree(self.folder / "new", kept)
        for part in ("teachers", "knowledge"):
            shutil.copytree(self.folder / "files-searched" / "runs" / part, kept / "runs" / part)

    def lose_record(self) -> None:
        """Remove all that MLflow holds, as if its machine had been lost."""
        if self.kind == "server":
            self._the_server().kill()
            shutil.rmtree(self._the_server().workspace)
            self._the_server().workspace.mkdir()
            self._the_server().start()
        else:
            (self.runs / "mlflow.db").unlink()
            shutil.rmtree(self.runs / "mlartifacts")

    def is_done(self, phase: Phase, said: str) -> bool:
        """Return whether a command refuses to do again what a killed one had done."""
        if phase.name == "look":
            return bool(list(self.runs.glob("studies/*/final-1.json"))) and "--again" in said
        made = {"prepare": "made/prepared", "simulate": "made/simulated"}.get(phase.name)
        return made is not None and (self.work / made).is_dir() and "exists" in said

    def write(self, *, grown: bool = False) -> None:
        """Write the study file."""
        size = GROWN if grown else {"trials": TRIALS, "epochs": EPOCHS}
        teacher = {"training": {"epochs": 2}}
        content: dict[str, Any] = {
            "name": NAME,
            "dataset": str(self.work / "dataset"),
            "workspace": str(self.runs),
            "backbone": {"hidden": 8, "heads": 2, "char_dim": 4},
            "training": {"epochs": size["epochs"], "batch_size": 64},
            "teachers": {
                "id": {"recipe": "id", **teacher},
                "ood": {"recipe": "refkd_text", **teacher},
            },
            "distill": {"warmup_epochs": 1},
            "space": {"distill.lambda_id": {"float": [0.01, 1.0], "log": True}},
            "budget": {"trials": size["trials"]},
            # Each trial's values and scores depend on its number alone.
            "sampler": {"name": "random"},
            "pruning": {"name": "none"},
            "workers": 2,
        }
        if self.kind == "server":
            content["tracking"] = {"uri": self._the_server().uri}
        if self.kind == "database" and self.database is not None:
            content["storage"] = self.database.url
        self.study.write_text(yaml.safe_dump(content), encoding="utf-8")

    def start(self, phase: Phase) -> subprocess.Popen[bytes]:
        """Start the command of a phase in a session of its own, as a terminal does."""
        hooks: list[Hook] = [Epochs(path=str(self.epochs), seconds=EPOCH_SECONDS)]
        for place in places(phase):
            module, _, name = place.partition(":")
            self.mark(place).unlink(missing_ok=True)
            hooks.append(Mark(module=module, name=name, path=str(self.mark(place))))
        environment = environment_with(hooks, self.work / "hooks")
        environment.pop("RAY_TMPDIR", None)
        environment |= {"TMPDIR": str(self.temporary), "XDG_CACHE_HOME": str(self.folder / "c")}
        words = {"STUDY": str(self.study), "TRACKING": self.tracking.reveal()}
        with (self.work / "output.txt").open("ab") as output:
            process = subprocess.Popen(
                [REFKD, *(words.get(word, word) for word in phase.command)],
                cwd=self.work,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        self._begun.append(process.pid)
        return process

    def mark(self, place: str) -> Path:
        """Return the file that tells that a function was called."""
        return self.work / place.rpartition(":")[2]

    def run(self, phase: Phase) -> Ended:
        """Run the command of a phase without a disturbance."""
        begun, clock = time.time(), time.monotonic()
        before = len(self.said())
        code = wait(self.start(phase))
        marks = {place: self.mark(place) for place in places(phase)}
        calls = {p: mark.stat().st_mtime - begun for p, mark in marks.items() if mark.exists()}
        return Ended(code, time.monotonic() - clock, self.said()[before:], calls)

    def said(self) -> str:
        """Return all that the commands have printed since the workspace was set back."""
        output = self.work / "output.txt"
        return output.read_text("utf-8", "replace") if output.exists() else ""

    def alive(self) -> list[psutil.Process]:
        """Return the processes that are left of any command: in its session, or its folder."""
        found = {pid for leader in self._begun for pid in session(leader)}
        for process in psutil.process_iter():
            with suppress(psutil.Error):
                if str(self.temporary) in process.environ().get("TMPDIR", ""):
                    found.add(process.pid)
        processes = []
        for pid in found - {os.getpid()}:
            with suppress(psutil.Error):
                process = psutil.Process(pid)
                if process.status() != psutil.STATUS_ZOMBIE:
                    processes.append(process)
        return processes

    def left(self) -> list[str]:
        """Return what is left of commands that have ended: processes, and temporary files."""
        until = time.monotonic() + LEFT_SECONDS
        while (processes := self.alive()) and time.monotonic() < until:
            time.sleep(0.1)
        found = []
        for process in processes:
            with suppress(psutil.Error):
                found.append(f"process {' '.join(process.cmdline())[:120]}")
                process.kill()
        self._begun.clear()
        files = [f"temporary {path.name}" for path in self.temporary.iterdir()]
        for path in self.temporary.iterdir():
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        return found + files

    def kill_server(self) -> None:
        """Kill the server that this kind of workspace has."""
        if self.kind == "database" and self.database is not None:
            self.database.kill()
        else:
            self._the_server().kill()

    def start_server(self) -> None:
        """Start it again."""
        if self.kind == "database" and self.database is not None:
            self.database.start()
        elif not self._the_server().processes():
            self._the_server().start()


def places(phase: Phase) -> set[str]:
    """Return the functions that begin or end any phase of a phase's command."""
    phases = [one for one in PHASES.values() if one.command == phase.command]
    return {place for one in phases for place in (one.begins, one.ends) if place is not None}


def wait(process: subprocess.Popen[bytes]) -> int:
    """Return the exit code of a command; one that hangs is killed, and has that of its killer."""
    try:
        return process.wait(PATIENCE)
    except subprocess.TimeoutExpired:
        print(f"hangs: {process.args}", file=sys.stderr)
        for pid in session(process.pid):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        return process.wait() - 1000
