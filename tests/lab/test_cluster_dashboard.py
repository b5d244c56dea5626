"""With Ray's dashboard, job API and client installed, nobody without the token may use them."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import requires
from pathlib import Path

import pytest
from asks import ASK_A_CLIENT, ASK_FOR_A_JOB, STRANGERS
from clouds import bring
from hosts import WORKERS, Cluster, on_three_hosts
from lab import ADDRESSES, STRICT, Lab, require_lab
from packaging.requirements import Requirement

pytestmark = [
    pytest.mark.cluster, pytest.mark.nightly, pytest.mark.timeout(1800),
]  # fmt: skip
AGENT = f"http://{ADDRESSES['head']}:52365/api/job_agent/jobs/"
DASHBOARD = "http://127.0.0.1:8265/api/jobs/"
CLIENT = f"ray://{ADDRESSES['head']}:10001"
MARKER = Path("/tmp/a-job-was-here")
REFUSED = {"": "401", "0" * 64: "403"}
"""The answer to no token, and to a wrong one."""


@dataclass(frozen=True)
class Opened:
    """A cluster that has what `ray[default]` brings."""

    cluster: Cluster
    packages: Path

    @property
    def token(self) -> str:
        path = self.cluster.lab.home("laptop") / ".ray" / "auth_token"
        return path.read_text(encoding="ascii").strip()

    def job(self, host: str, url: str, token: str) -> str:
        """Return the status of the answer to a job, asked from a host."""
        lab = self.cluster.lab
        told = lab.on(host, "python", "-c", ASK_FOR_A_JOB, url, MARKER, token, seconds=60)
        return told.stdout.strip()

    def client(self, **variables: str) -> subprocess.CompletedProcess[str]:
        """Run a task of a client on the laptop, which has what Ray's client needs."""
        lab = self.cluster.lab
        paths = {"PYTHONPATH": f"{lab.hooks}:{self.packages}"}
        return lab.on(
            "laptop", "python", "-c", ASK_A_CLIENT, CLIENT, seconds=300, **paths, **variables
        )

    def marked(self) -> bool:
        """Return whether a job of ours has run on the head."""
        return self.cluster.lab.on("head", "test", "-e", MARKER).returncode == 0


@pytest.fixture(scope="module")
def opened() -> Iterator[Opened]:
    require_lab()
    with Lab() as lab:
        packages = lab.folder / "packages"
        reason = bring(packages, *extras("ray", "default"))
        if reason is not None:
            pytest.skip(f"ray[default] cannot be installed: {reason}")
        cluster = on_three_hosts(lab, packages)
        cluster.laptop.change("# - ~/refkd-env/bin/pip", "- ~/refkd-env/bin/pip")
        cluster.prepare()
        cluster.make_whole()
        yield Opened(cluster, packages)


def extras(package: str, extra: str) -> list[str]:
    """Return what an extra of an installed package asks for."""
    asked = [Requirement(line) for line in requires(package) or []]
    wanted = [r for r in asked if r.marker and r.marker.evaluate({"extra": extra})]
    return [f"{r.name}{r.specifier}" for r in wanted if not r.marker.evaluate({"extra": ""})]  # type: ignore[union-attr]


@pytest.mark.parametrize(("host", "url"), [("laptop", AGENT), ("head", DASHBOARD)])
def test_a_job_needs_the_token(opened: Opened, host: str, url: str) -> None:
    opened.cluster.lab.on("head", "rm", "-f", MARKER)
    for token, answer in REFUSED.items():
        assert opened.job(host, url, token) == answer
    assert not opened.marked()
    assert opened.job(host, url, opened.token) == "200"
    while not opened.marked():
        time.sleep(0.5)


def test_the_dashboard_cannot_be_reached_from_another_host(opened: Opened) -> None:
    url = f"http://{ADDRESSES['head']}:8265/api/jobs/"
    assert opened.job("laptop", url, opened.token) == "URLError"


def test_a_client_needs_the_token(opened: Opened) -> None:
    for stranger in STRANGERS.values():
        refused = opened.client(**stranger)
        assert refused.returncode != 0
        assert refused.stdout == ""
    known = opened.client(**STRICT)
    assert known.stdout.strip() in {f"rk-{name}" for name in ("head", *WORKERS)}, known.stderr
