"""`refkd cluster check` finds nothing in what ships, and every fault that is planted there."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from broken_clusters import BROKEN, Broken
from shipped_clusters import AWS, FIXED, KUBE, SHIPPED, lay_out
from typer.testing import CliRunner

from tune.cli import app
from tune.cluster.check import check_file
from tune.cluster.findings import Finding
from tune.cluster.source import ClusterError
from tune.spec.yaml_file import YamlError

STUDY = Path("studies/cluster.yaml")


@pytest.fixture(autouse=True)
def launcher(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Stand in the launcher's folder, which is its home as well."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    return lay_out(tmp_path)


def break_file(case: Broken) -> Path:
    path = Path(case.file)
    text = path.read_text(encoding="utf-8")
    assert case.before in text, "the file that ships no longer says this"
    path.write_text(text.replace(case.before, case.after, 1), encoding="utf-8")
    return path


def problems(path: Path, *, study: Path | None = None) -> list[Finding]:
    return check_file(path, study=study).problems


@pytest.mark.parametrize("name", SHIPPED)
def test_what_ships_is_clean(name: str) -> None:
    assert problems(Path(name), study=STUDY) == []


@pytest.mark.parametrize("case", BROKEN.values(), ids=BROKEN)
def test_a_fault_is_found_with_its_remedy(case: Broken) -> None:
    found = problems(break_file(case))
    there = [finding for finding in found if finding.field == case.field]
    assert there, f"found at {[finding.field for finding in found]}"
    assert {finding.file for finding in there} == {case.file}
    assert any(case.what in f.what and case.remedy in f.remedy for f in there), there


def test_a_line_is_that_of_the_fault() -> None:
    path = break_file(BROKEN["worker twice"])
    (finding,) = problems(path)
    lines = path.read_text(encoding="utf-8").splitlines()
    assert finding.line is not None
    assert "worker_ips" in lines[finding.line - 1]
    assert finding.value == "192.168.1.11"


def test_secrets_that_others_can_read_and_two_wheels(launcher: Path) -> None:
    (launcher / ".ray" / "auth_token").chmod(0o644)
    (launcher / ".ssh" / "refkd-cluster").write_text("", encoding="utf-8")
    (launcher / "dist" / "refkd-0.0.9-py3-none-any.whl").touch()
    found = {f.field: f.what for f in problems(Path(FIXED))}
    assert found == {
        "file_mounts.~/.ray/auth_token": "the token can be read by others",
        "auth.ssh_private_key": "the key is not there",
        "file_mounts.~/refkd-files/wheels": "holds 2 wheels of refkd instead of one",
    }


def test_no_secret_is_shown() -> None:
    case = BROKEN["written password"]
    checked = check_file(break_file(case))
    assert "hunter2" not in checked.model_dump_json()


@pytest.mark.parametrize(
    ("before", "after", "field", "remedy"),
    [
        ("workspace: /shared/refkd/runs", "workspace: runs", "workspace", "/shared/refkd"),
        ("dataset: /shared/refkd/datasets", "dataset: /home/ubuntu", "dataset", "/shared/refkd"),
        ("storage: journal:/shared", "storage: sqlite:////shared", "storage", "journal:"),
        ("storage: ", "# ", "storage", "journal:"),
        ("  cpu: 1", "  cpu: 64", "resources", "lower"),
        ("  gpu: 0 ", "  gpu: 2 ", "resources", "lower"),
    ],
)
@pytest.mark.parametrize("cluster", [AWS, KUBE])
def test_a_study_that_does_not_fit(
    cluster: str, before: str, after: str, field: str, remedy: str
) -> None:
    text = STUDY.read_text(encoding="utf-8")
    assert before in text
    STUDY.write_text(text.replace(before, after, 1), encoding="utf-8")
    (finding,) = problems(Path(cluster), study=STUDY)
    assert (finding.file, finding.field) == (str(STUDY), field)
    assert remedy in finding.remedy


def test_fixed_machines_fit_by_what_ray_start_says() -> None:
    path = Path(FIXED)
    text = path.read_text(encoding="utf-8").replace("ray start --", "ray start --num-cpus=2 --")
    path.write_text(text, encoding="utf-8")
    STUDY.write_text(STUDY.read_text().replace("  cpu: 1", "  cpu: 3", 1), encoding="utf-8")
    (finding,) = problems(path, study=STUDY)
    assert "head: 2 CPUs, 0 GPUs" in finding.what


def test_the_command() -> None:
    run = CliRunner()
    clean = run.invoke(app, ["cluster", "check", FIXED, "--study", str(STUDY)])
    assert clean.exit_code == 0
    assert "nothing wrong" in clean.output
    break_file(BROKEN["dashboard open"])
    told = run.invoke(app, ["cluster", "check", AWS])
    assert told.exit_code == 1
    assert "1 problem" in told.output
    listed = run.invoke(app, ["cluster", "check", AWS, "--json"])
    assert listed.exit_code == 1
    levels = [finding["level"] for finding in json.loads(listed.output)["findings"]]
    assert levels[0] == "problem"
    assert set(levels[1:]) == {"note"}


def test_what_cannot_be_checked(tmp_path: Path) -> None:
    with pytest.raises(ClusterError, match="no such file"):
        check_file(tmp_path / "none.yaml")
    other = tmp_path / "gcp.yaml"
    other.write_text("cluster_name: x\nprovider:\n  type: gcp\n", encoding="utf-8")
    with pytest.raises(ClusterError, match=r"gcp.yaml:3: provider.type is 'gcp'"):
        check_file(other)
    other.write_text("a: 1\na: 2\n", encoding="utf-8")
    with pytest.raises(YamlError, match="stands twice"):
        check_file(other)
