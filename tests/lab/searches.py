"""A search on the hosts of a lab, and what its epochs tell of where they ran."""

from __future__ import annotations

import secrets
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from lab import STRICT, Lab
from support.chaos import SIMULATE, Workspace, environment_with
from support.chaos_hooks import Epochs, Place


@dataclass(frozen=True)
class Begun:
    """An epoch that began: of which trial, and on which host or node."""

    trial: int
    epoch: int
    host: str


@dataclass
class Search:
    """A search on a cluster: its driver runs on a host, its files lie in the shared folder."""

    lab: Lab
    host: str
    workspace: Workspace
    log: Path
    epochs: int
    driver: subprocess.Popen[bytes] | None = None

    @classmethod
    def prepare(
        cls,
        lab: Lab,
        name: str,
        *,
        seconds: float,
        host: str = "head",
        place: Place = "host",
        **changes: Any,
    ) -> Search:
        """Write a study; its epochs take `seconds` more than they need and tell their place."""
        folder = lab.shared / f"{name}-{secrets.token_hex(3)}"
        folder.mkdir()
        log = folder / "epochs"
        environment_with([Epochs(path=str(log), seconds=seconds, place=place)], lab.hooks)
        workspace = Workspace(folder, folder / "dataset")
        workspace.write(**{"simulate": SIMULATE, "workers": 3, **changes})
        epochs = int(yaml.safe_load(workspace.study.read_text())["training"]["epochs"])
        return cls(lab, host, workspace, log, epochs)

    def start(self, **variables: str) -> None:
        """Begin or continue the search, with more variables in the driver's environment."""
        self.driver = self.lab.start(
            self.host, "refkd", "search", self.workspace.study,
            "--address", "auto", log=self.workspace.output, **STRICT, **variables,
        )  # fmt: skip

    def finish(self) -> None:
        """Wait until the search has ended."""
        assert self.driver is not None
        assert self.driver.wait() == 0, self.workspace.said()

    def begun(self) -> list[Begun]:
        """Return every epoch that any student began."""
        if not self.log.exists():
            return []
        lines = [line.split() for line in self.log.read_text(encoding="ascii").splitlines()]
        return [Begun(int(trial), int(epoch), host) for trial, epoch, _, host in lines]

    def lose_driver(self) -> None:
        """SIGKILL to the driver, as the system does to one that takes too much memory."""
        assert self.driver is not None
        assert self.lab.kill(self.host, "refkd search") > 0
        self.driver.wait()

    def wait(self, happened: Callable[[list[Begun]], bool]) -> None:
        """Wait until the epochs that began are as wanted; the search must not end before."""
        assert self.driver is not None
        while not happened(self.begun()):
            assert self.driver.poll() is None, self.workspace.said()
            time.sleep(0.05)

    def busy(self, host: str) -> Begun:
        """Wait until a trial is in the middle of its epochs on a host; return that epoch.

        Not at their end: a host that is cut off would finish the trial in the shared folder.
        """
        already, middle = len(self.begun()), range(2, self.epochs - 2)

        def found(begun: list[Begun]) -> list[Begun]:
            return [b for b in begun[already:] if b.host == f"rk-{host}" and b.epoch in middle]

        self.wait(lambda begun: bool(found(begun)))
        return found(self.begun())[0]

    def moved(self, lost: Begun) -> tuple[Begun, float]:
        """Wait until a trial goes on at another host; return that and the seconds it took."""
        already, since = len(self.begun()), time.monotonic()

        def found(begun: list[Begun]) -> list[Begun]:
            return [b for b in begun[already:] if b.trial == lost.trial and b.host != lost.host]

        self.wait(lambda begun: bool(found(begun)))
        return found(self.begun())[0], time.monotonic() - since


def most_lost(begun: list[Begun]) -> int:
    """Return the most epochs that any trial had to train again after one of its losses."""
    last: dict[int, int] = {}
    lost = 0
    for b in begun:
        lost = max(lost, last.get(b.trial, 0) + 1 - b.epoch)
        last[b.trial] = b.epoch
    return lost
