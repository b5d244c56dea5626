"""A cluster that `ray up` starts on the hosts of a lab, and what is asked of it."""

from __future__ import annotations

import secrets
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from chaos import SIMULATE, Workspace, environment_with
from chaos_hooks import Epochs
from documented import FIRST, LAUNCH, command, commands
from lab import ADDRESSES, Lab
from laptop import Laptop, provision

STRICT = {"RAY_AUTH_MODE": "token"}
WORKERS = ("w1", "w2")
_ALIVE = """\
import ray, sys, time
ray.init(address="auto", logging_level="ERROR", log_to_driver=False)
wanted, end = sorted(sys.argv[2:]), time.time() + float(sys.argv[1])
while (found := sorted(n["NodeManagerHostname"] for n in ray.nodes() if n["Alive"])) != wanted:
    if time.time() > end:
        sys.exit(f"{found} are alive, expected {wanted}")
    time.sleep(0.2)
"""


@dataclass
class Cluster:
    """Three nodes, of which the head has a driver too, and a folder that all of them share."""

    lab: Lab
    laptop: Laptop
    whole: bool = False
    """Whether all nodes are up, as far as the tests know."""

    @property
    def file(self) -> Path:
        return self.laptop.file

    def prepare(self) -> None:
        """Do what the documentation asks for before the first launch."""
        for start in ("make wheel", "ray get-auth-token", "ssh-keygen"):
            self.laptop.run(command(FIRST, start))
        self.lab.authorize(self.laptop.run("cat ~/.ssh/refkd-cluster.pub"))

    def make_whole(self) -> None:
        """Start what is not there: at first, and after a test that has lost something."""
        for name in ADDRESSES:
            if name not in self.lab.running:
                self.lab.boot(name)
                provision(self.lab, name)
                self.whole = False
        if not self.whole:
            self.up()
            self.whole = True

    def up(self) -> None:
        """`ray up` until every node has joined: what did not start in time is not tried again.

        Ray gives a node's start 30 seconds, which a machine that plays several may not have.
        """
        for _ in range(3):
            told = self.lab.on(
                "laptop", "sh", "-c", f"cd {self.laptop.root} && {command(LAUNCH, 'ray up')}",
                seconds=300,
            )  # fmt: skip
            if told.returncode == 0 and self.alive("head", *WORKERS).returncode == 0:
                return
        pytest.fail(f"the cluster does not start: {(told.stdout + told.stderr)[-3000:]}")

    def down(self) -> None:
        """Stop MLflow on the head, then `ray down`."""
        self.whole = False
        for line in commands(LAUNCH)[-2:]:
            self.laptop.run(line)

    def gone(self, name: str, *, seconds: float = 120) -> None:
        """Wait until nothing of Ray is left on a host: workers notice the head's end late."""
        end = time.monotonic() + seconds
        while left := [
            line for line in self.lab.processes(name).values() if "ray" in line.lower()
        ]:
            assert time.monotonic() < end, left
            time.sleep(0.5)

    def alive(self, *names: str, seconds: float = 150) -> subprocess.CompletedProcess[str]:
        """Wait until exactly these hosts are alive as nodes; say which are where that fails."""
        hosts = [f"rk-{name}" for name in names]
        return self.python(_ALIVE, str(seconds), *hosts, seconds=seconds + 60)

    def wait_for_nodes(self, *names: str) -> None:
        """Wait until exactly these hosts are alive as nodes."""
        told = self.alive(*names)
        assert told.returncode == 0, told.stdout + told.stderr

    def python(
        self, code: str, *arguments: str, on: str = "head", seconds: float = 120, **variables: str
    ) -> subprocess.CompletedProcess[str]:
        """Run Python on a host."""
        return self.lab.on(
            on, "python", "-c", code, *arguments, seconds=seconds, **{**STRICT, **variables}
        )


@dataclass(frozen=True)
class Begun:
    """An epoch that began: of which trial, and on which host."""

    trial: int
    epoch: int
    host: str


@dataclass
class Search:
    """A search on a cluster: its driver runs on the head, its files lie in the shared folder."""

    cluster: Cluster
    workspace: Workspace
    log: Path
    driver: subprocess.Popen[bytes] | None = None

    @classmethod
    def prepare(cls, cluster: Cluster, name: str, *, seconds: float, **changes: Any) -> Search:
        """Write a study; its epochs take `seconds` more than they need."""
        folder = cluster.lab.shared / f"{name}-{secrets.token_hex(3)}"
        folder.mkdir()
        log = folder / "epochs"
        environment_with([Epochs(path=str(log), seconds=seconds)], cluster.lab.hooks)
        workspace = Workspace(folder, folder / "dataset")
        workspace.write(**{"simulate": SIMULATE, "workers": 3, **changes})
        return cls(cluster, workspace, log)

    def start(self, **variables: str) -> None:
        """Begin or continue the search, with more variables in the driver's environment."""
        self.driver = self.cluster.lab.start(
            "head", "refkd", "search", self.workspace.study,
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
        assert self.cluster.lab.kill("head", "refkd search") > 0
        self.driver.wait()

    def wait(self, happened: Callable[[list[Begun]], bool]) -> None:
        """Wait until the epochs that began are as wanted; the search must not end before."""
        assert self.driver is not None
        while not happened(self.begun()):
            assert self.driver.poll() is None, self.workspace.said()
            time.sleep(0.05)

    def busy(self, host: str) -> Begun:
        """Wait until a trial begins its second epoch or a later one on a host; return it."""
        already = len(self.begun())

        def found(begun: list[Begun]) -> list[Begun]:
            return [b for b in begun[already:] if b.host == f"rk-{host}" and b.epoch >= 2]

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
