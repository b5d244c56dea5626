"""A cluster that `ray up` starts on the hosts of a lab."""

from __future__ import annotations

import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from documented import FIRST, LAUNCH, command, commands
from lab import ADDRESSES, STRICT, Lab
from laptop import Laptop, provision

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


def on_three_hosts(lab: Lab, *packages: Path) -> Cluster:
    """Return a cluster of the shipped file, not prepared yet; its nodes have a core each."""
    for name in lab.running - {"laptop"}:
        provision(lab, name, *packages)
    laptop = Laptop(lab)
    laptop.change("--metrics-export-port", "--num-cpus=1 --metrics-export-port")
    return Cluster(lab, laptop)


@dataclass
class Cluster:
    """Three nodes, of which the head has a driver too, and a folder that all of them share."""

    lab: Lab
    laptop: Laptop
    whole: bool = False
    """Whether all nodes are up, as far as the tests know."""
    variables: dict[str, str] = field(default_factory=dict)
    """What whoever joins it needs in the environment beside the token."""

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
            for name in ADDRESSES:
                self.lab.mend(name)
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
            on,
            "python",
            "-c",
            code,
            *arguments,
            seconds=seconds,
            **{**STRICT, **self.variables, **variables},
        )
