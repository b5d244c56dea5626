"""`refkd cluster check --address` asks every node of a real Ray cluster of two raylets."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from support.project import ROOT

from refkd.data.dataset import Dataset
from tune.cluster.nodes import NodeFacts
from tune.cluster.running import compare
from tune.config.study_file import StudyFile, load_study_file

TWO_NODES = """
import sys
from ray.cluster_utils import Cluster
cluster = Cluster(
    initialize_head=True,
    head_node_args={"num_cpus": 0, "object_store_memory": 80_000_000, "include_dashboard": False},
)
cluster.add_node(num_cpus=1, object_store_memory=80_000_000)
print(cluster.address, flush=True)
sys.stdin.read()
cluster.shutdown()
"""
COMMAND = "from tune.cli import main; main()"
FOLDER = Path("/shared/refkd")
VERSIONS = dict.fromkeys(("python", "refkd", "ray", "torch", "optuna", "numpy"), "1.2.3")
GOOD = NodeFacts(
    versions=VERSIONS, skew=0.1, latency=0.1, markers=["a", "b", "c"], fingerprint="f"
)


@pytest.fixture(scope="module")
def environment() -> dict[str, str]:
    """Return the environment of a cluster with a token, and of who may join it."""
    cluster = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": "a" * 64, "PYTHONPATH": str(ROOT)}
    return {**os.environ, **cluster, "RAY_USAGE_STATS_ENABLED": "0"}


@pytest.fixture(scope="module")
def address(environment: dict[str, str]) -> Iterator[str]:
    """Yield the address of a cluster of a head without CPUs and one worker."""
    command = [sys.executable, "-c", TWO_NODES]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, env=environment) as cluster:
        assert cluster.stdout is not None
        yield next(line for line in cluster.stdout if line[0].isdigit()).strip()
        cluster.communicate()


def run(
    address: str, environment: dict[str, str], *arguments: object
) -> subprocess.CompletedProcess[str]:
    words = ["cluster", "check", "--address", address, *map(str, arguments)]
    return subprocess.run(
        [sys.executable, "-c", COMMAND, *words],
        capture_output=True,
        text=True,
        env=environment,
        check=False,
    )


def study_of(folder: Path, dataset: Path) -> Path:
    content = yaml.safe_load((ROOT / "studies" / "cluster.yaml").read_text(encoding="utf-8"))
    # Before the first search there is no workspace yet.
    content |= {"dataset": str(dataset), "workspace": str(folder / "runs" / "of-mine")}
    del content["simulate"]
    path = folder / "study.yaml"
    path.write_text(yaml.safe_dump(content), encoding="utf-8")
    return path


@pytest.mark.system
def test_a_cluster_that_is_right(
    address: str, environment: dict[str, str], tmp_path: Path, tiny_dataset: Dataset
) -> None:
    study = study_of(tmp_path, tiny_dataset.path)
    done = run(address, environment, "--study", study)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "2 nodes: nothing wrong" in done.stdout
    assert sorted(path.name for path in tmp_path.iterdir()) == ["study.yaml"], "marks are left"


@pytest.mark.system
def test_every_node_is_named_that_lacks_storage_and_dataset(
    address: str, environment: dict[str, str], tmp_path: Path
) -> None:
    study = study_of(tmp_path, tmp_path / "absent")
    done = run(address, environment, "--study", study, "--storage", tmp_path / "no", "--json")
    assert done.returncode == 1, done.stderr
    findings = json.loads(done.stdout)["findings"]
    assert len({finding["field"] for finding in findings}) == 2
    assert sorted(finding["value"] for finding in findings) == sorted(
        [str(tmp_path / "absent"), str(tmp_path / "no")] * 2
    )


@pytest.mark.system
def test_a_stranger_gets_no_answer(
    address: str, environment: dict[str, str], tmp_path: Path
) -> None:
    stranger = {**environment, "RAY_AUTH_TOKEN": "b" * 64}
    done = run(address, stranger, "--storage", tmp_path)
    assert done.returncode == 2
    assert f"--address {address}: no cluster answers" in done.stderr
    assert "Traceback" not in done.stderr
    assert "b" * 64 not in done.stdout + done.stderr


def told(study: StudyFile | None = None, **changed: object) -> list[tuple[str, str]]:
    odd = replace(GOOD, **changed)  # type: ignore[arg-type]
    nodes = {"a": GOOD, "b": odd, "c": GOOD}
    return [(f.field, f.value) for f in compare("auto", nodes, folder=FOLDER, study=study)]


def test_nodes_that_agree() -> None:
    assert told(load_study_file(ROOT / "studies" / "cluster.yaml")) == []


@pytest.mark.parametrize(
    ("changed", "value"),
    [
        ({"versions": {**VERSIONS, "torch": "1.2.4"}}, "torch 1.2.4"),
        ({"versions": {**VERSIONS, "refkd": "absent"}}, "refkd absent"),
        ({"markers": ["b"]}, str(FOLDER)),
        ({"storage_error": "Read-only file system"}, str(FOLDER)),
        ({"skew": 30.0}, "+30.0 s"),
        ({"skew": -6.0}, "-6.0 s"),
    ],
)
def test_the_node_that_differs_is_named(changed: dict[str, object], value: str) -> None:
    assert told(**changed) == [("b", value)]


def test_a_clock_is_not_blamed_for_a_slow_answer() -> None:
    assert told(skew=9.0, latency=10.0) == []


@pytest.mark.parametrize("fingerprint", ["other", None])
def test_another_dataset_or_none_is_found(fingerprint: str | None) -> None:
    study = load_study_file(ROOT / "studies" / "cluster.yaml")
    assert told(study, fingerprint=fingerprint) == [("b", str(study.dataset))]
