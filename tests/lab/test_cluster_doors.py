"""What a stranger on the same network reaches of a running cluster: nothing."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from asks import ASK_FOR_A_JOB, STRANGERS
from hosts import WORKERS, Cluster
from lab import ADDRESSES, HOME, STRICT, Lab

pytestmark = [pytest.mark.cluster, pytest.mark.system, pytest.mark.timeout(1800)]
GCS = f"{ADDRESSES['head']}:6379"
ASK_STATUS = ("ray", "status", "--address", GCS)
# Who listens for other machines, beside Ray's workers; anything else is a door nobody looked at.
KNOWN = {"sshd", "gcs_server", "raylet", "python", "python3"}
MLFLOW = """\
import base64, sys, urllib.error, urllib.request
url, password = sys.argv[1:]
word = base64.b64encode(f"admin:{password}".encode()).decode()
headers = {"Authorization": f"Basic {word}"} if password else {}
try:
    print(urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=20).status)
except urllib.error.HTTPError as error:
    print(error.code)
except OSError as error:
    print(error)
"""


@pytest.fixture
def password(cluster: Cluster) -> str:
    """That of MLflow's server, which the cluster file starts on the head."""
    told = cluster.lab.on("head", "cat", HOME / ".mlflow" / "credentials").stdout
    return told.split("password = ")[1].strip()


@pytest.mark.parametrize("who", STRANGERS)
def test_a_stranger_neither_sees_nor_joins_the_cluster(cluster: Cluster, who: str) -> None:
    seen = cluster.lab.on("laptop", *ASK_STATUS, seconds=300, **STRANGERS[who])
    assert seen.returncode != 0
    assert "Active:" not in seen.stdout
    joined = cluster.lab.on(
        "laptop", "ray", "start", f"--address={GCS}", seconds=300, **STRANGERS[who]
    )
    assert joined.returncode != 0
    cluster.wait_for_nodes("head", *WORKERS)


def test_whoever_has_the_token_sees_the_cluster(cluster: Cluster) -> None:
    seen = cluster.lab.on("laptop", *ASK_STATUS, seconds=300, **STRICT)
    assert seen.returncode == 0, seen.stderr
    assert "Active:" in seen.stdout


@pytest.mark.parametrize("name", ["head", "w1"])
def test_no_port_takes_a_job_without_the_token(cluster: Cluster, name: str) -> None:
    lab, marker = cluster.lab, Path("/tmp/a-stranger-was-here")
    doors = listening(lab, name)
    assert {program for program in doors.values() if not program.startswith("ray::")} <= KNOWN
    for port in doors:
        for path in ("api/jobs/", "api/job_agent/jobs/"):
            for token in ("", "0" * 64):
                url = f"http://{ADDRESSES[name]}:{port}/{path}"
                answer = lab.on(
                    "laptop", "python", "-c", ASK_FOR_A_JOB, url, marker, token, seconds=60
                )
                assert answer.stdout.strip() != "200", url
    assert lab.on(name, "test", "-e", marker).returncode != 0


@pytest.mark.parametrize("name", ["head", *WORKERS])
def test_only_its_owner_may_read_the_token(cluster: Cluster, name: str) -> None:
    mode = cluster.lab.on(name, "stat", "-c", "%a", HOME / ".ray" / "auth_token")
    assert mode.stdout.strip() == "600"


def test_mlflow_answers_on_the_head_to_whoever_has_a_password(
    cluster: Cluster, password: str
) -> None:
    path = "5000/api/2.0/mlflow/experiments/get-by-name?experiment_name=Default"

    def ask(host: str, address: str, word: str) -> str:
        url = f"http://{address}:{path}"
        return cluster.lab.on(host, "python", "-c", MLFLOW, url, word).stdout.strip()

    for host in ("laptop", "w1", "head"):
        assert "refused" in ask(host, ADDRESSES["head"], password)
    assert ask("head", "127.0.0.1", "") == "401"
    assert ask("head", "127.0.0.1", "a-wrong-password") == "401"
    assert ask("head", "127.0.0.1", password) == "200"


def listening(lab: Lab, name: str) -> dict[int, str]:
    """Return the program behind each TCP port of a host that other hosts can reach."""
    found = {}
    for line in lab.on(name, "ss", "-lntpH").stdout.splitlines():
        address, port = line.split()[3].rsplit(":", 1)
        program = re.search(r'\(\("([^"]+)"', line)
        if address not in ("127.0.0.1", "[::1]"):
            found[int(port)] = program[1] if program else "unknown"
    return found
