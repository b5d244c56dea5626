"""`refkd cluster check` finds nothing in what ships, and every fault that is planted there."""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from broken_aws import BROKEN_AWS
from broken_clusters import BROKEN, Broken
from broken_fixed import BROKEN_FIXED
from broken_kube import BROKEN_KUBE
from broken_secrets import BROKEN_SECRETS
from shipped_clusters import AWS, FIXED, KUBE, SHIPPED, lay_out
from typer.testing import CliRunner

from refkd.errors import RefKDError
from tune.cli import app
from tune.cluster.check import check_file
from tune.cluster.findings import ClusterFinding, Keys
from tune.cluster.source import value_at
from tune.config.yaml_file import YamlError

STUDY = Path("studies/cluster.yaml")
ALL = BROKEN | BROKEN_FIXED | BROKEN_AWS | BROKEN_KUBE | BROKEN_SECRETS


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


def problems(path: Path, *, study: Path | None = None) -> list[ClusterFinding]:
    return check_file(path, study=study).problems


@pytest.mark.parametrize("name", SHIPPED)
def test_what_ships_is_clean(name: str) -> None:
    assert problems(Path(name), study=STUDY) == []


@pytest.mark.parametrize("case", ALL.values(), ids=ALL)
def test_a_fault_is_found_with_its_remedy(case: Broken) -> None:
    found = check_file(break_file(case), study=STUDY).findings
    found = [finding for finding in found if finding.level == case.level]
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
        "auth.ssh_private_key": "the key is not there: its file is empty",
        "file_mounts.~/refkd-files/wheels": "holds 2 wheels of refkd instead of one",
    }


@pytest.mark.parametrize("name", ["written password", *BROKEN_SECRETS])
def test_no_secret_is_shown(name: str) -> None:
    case = ALL[name]
    path = break_file(case)
    # What is wrong beside it must not show the command that holds it.
    text = path.read_text(encoding="utf-8").replace("unset OMP_NUM_THREADS", "true")
    path.write_text(text.replace("--head ", "--redis-password=hunter2 "), encoding="utf-8")
    told = check_file(path, study=STUDY).model_dump_json()
    assert "hunter2" not in told
    assert "0123abc" not in told


POLICY = "podSelector: {matchLabels: {ray.io/cluster: refkd}}\n  policy"


@pytest.mark.parametrize(
    ("file", "before", "after"),
    [
        (FIXED, "=0' > ~/.refkd.sh\n  - grep", "=0' >> ~/.bashrc\n  - true || grep"),
        (FIXED, "export RAY_AUTH_MODE=token;", 'export RAY_AUTH_MODE="token";'),
        (FIXED, "ray start --head", "ray start --num-cpus=$(nproc --all) --num-gpus $GPUS --head"),
        (FIXED, "--dashboard-host=127.0.0.1", "--dashboard-host '127.0.0.1'"),
        (FIXED, "REFKD_WORK", "HF_TOKEN=$(cat ~/t) RAY_AUTH_TOKEN_PATH=~/t REFKD_WORK"),
        (FIXED, "REFKD_WORK", "SECRET_NAME=x GIT_ASKPASS=true REFKD_WORK"),
        (FIXED, "192.168.1.11", "fe80::1"),
        (FIXED, "192.168.1.11", "gpu-1.lab.university.edu"),
        (AWS, "InstanceType: *w", "NetworkPerformanceOptions: {}\n      InstanceType: *w"),
        (AWS, "us-west-2a,us-west-2b", "us-west-2-lax-1a, us-west-2b"),
        (AWS, "sudo mount -t nfs4", "sudo mount.nfs4 -v"),
        (AWS, "fs-0123456789abcdef0.efs.us-west-2.amazonaws.com:/", "${SYSTEM}:/export"),
        (AWS, "{CPU: 4, GPU: 1}", "{CPU: 4, GPU: 1, memory: 1000}"),
        (KUBE, POLICY, "podSelector: {}\n  policy"),
        (KUBE, "  policyTypes: [Ingress]\n", ""),
        (KUBE, "    - from:\n", "    - from:\n        - ipBlock: {cidr: 10.1.0.0/16}\n"),
        (KUBE, "cpu: 200m", "cpu: .5"),
        (KUBE, "&image refkd:0.1.0", "&image registry.host:5000/refkd:0.1.0@sha256:abc"),
    ],
)  # fmt: skip
def test_what_is_right_in_another_way(file: str, before: str, after: str) -> None:
    assert problems(break_file(Broken(file, before, after, "", "", "")), study=STUDY) == []


@pytest.mark.parametrize(
    ("before", "after", "field", "remedy"),
    [
        ("workspace: /shared/refkd/runs", "workspace: runs", "workspace", "/shared/refkd"),
        ("dataset: /shared/refkd/datasets", "dataset: /home/ubuntu", "dataset", "/shared/refkd"),
        ("workspace: /shared/refkd/runs", "workspace: s3://b/runs", "workspace", "/shared/refkd"),
        ("workspace: /shared/refkd/runs", "workspace: /shared/refkd/../x", "workspace", "/shared"),
        ("storage: journal:/shared", "storage: sqlite:////shared", "storage", "journal:"),
        ("storage: journal:/", "storage: sqlite+pysqlite:////", "storage", "journal:"),
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
    assert "head: 2 CPUs; workers: 2 CPUs" in finding.what


@pytest.mark.parametrize("dataset", ["file:///var/tmp/ds", "file:///shared/refkd/../ds"])
def test_a_dataset_by_the_address_of_a_file(dataset: str) -> None:
    content = yaml.safe_load(STUDY.read_text(encoding="utf-8")) | {"dataset": dataset}
    del content["simulate"]
    STUDY.write_text(yaml.safe_dump(content), encoding="utf-8")
    (finding,) = problems(Path(AWS), study=STUDY)
    assert (finding.field, finding.value) == ("dataset", dataset)


@pytest.mark.parametrize(
    ("before", "after", "wanted", "what"),
    [
        ("", "", "gpu: 1", "what head, workers have"),
        ("", "", "cpu: 500", "what head, workers have"),
        ("ray start --head", "ray start --num-cpus=0 --head", "cpu: 2", "what workers have"),
        ("ray start --", "ray start --num-cpus=$(nproc) --", "cpu: 2", "what head, workers have"),
    ],
)
def test_fixed_machines_that_do_not_say_what_they_have(
    before: str, after: str, wanted: str, what: str
) -> None:
    path = Path(FIXED)
    path.write_text(path.read_text(encoding="utf-8").replace(before or "\0", after), "utf-8")
    key = wanted.partition(":")[0]
    text = re.sub(rf"  {key}: [01]", f"  {wanted}", STUDY.read_text(encoding="utf-8"))
    STUDY.write_text(text, encoding="utf-8")
    notes = [f for f in check_file(path, study=STUDY).findings if f.field == "resources"]
    assert [note.level for note in notes] == ["note"]
    assert what in notes[0].what
    assert "--address" in notes[0].remedy


def test_a_head_without_workers() -> None:
    path = Path(AWS)
    content = yaml.safe_load(path.read_text(encoding="utf-8"))
    del content["available_node_types"]["gpu_spot"]
    path.write_text(yaml.safe_dump(content, sort_keys=False), encoding="utf-8")
    (finding,) = problems(path, study=STUDY)
    assert finding.field == "available_node_types"
    assert "no worker could come" in finding.what


@pytest.mark.parametrize("token", ["", " \n\t"])
def test_a_token_that_is_empty(launcher: Path, token: str) -> None:
    (launcher / ".ray" / "auth_token").write_text(token, encoding="utf-8")
    (finding,) = problems(Path(FIXED))
    assert "its file is empty" in finding.what
    assert "get-auth-token --generate" in finding.remedy


def test_a_wheel_of_another_version(launcher: Path) -> None:
    project = launcher / "pyproject.toml"
    project.write_text('[project]\nname = "refkd"\nversion = "0.1.0"\n', encoding="utf-8")
    assert check_file(Path(FIXED)).findings == []
    project.write_text('[project]\nname = "refkd"\nversion = "0.2.0"\n', encoding="utf-8")
    (note,) = check_file(Path(FIXED)).findings
    assert (note.level, note.value) == ("note", "refkd-0.1.0-py3-none-any.whl")


ODD = (None, -1, "many", [None], {7: [1]}, 1.5)


def places(content: object, keys: Keys = ()) -> Iterator[Keys]:
    """Yield where every value of a file stands."""
    inner = content.items() if isinstance(content, dict) else ()
    for key, value in enumerate(content) if isinstance(content, list) else inner:
        yield (*keys, key)
        yield from places(value, (*keys, key))


@pytest.mark.parametrize("name", SHIPPED)
def test_whatever_stands_there_is_told_and_never_raised(name: str) -> None:
    path = Path(name)
    text = path.read_text(encoding="utf-8")
    odd, seen = itertools.cycle(ODD), set[tuple[str, ...]]()
    for position, document in enumerate(yaml.safe_load_all(text)):
        for keys in places(document):
            kind = tuple(key for key in keys if isinstance(key, str))[-2:]
            if kind in seen or keys in (("kind",), ("provider",), ("provider", "type")):
                continue  # the same again, or no file that refkd knows
            seen.add(kind)
            documents = list(yaml.safe_load_all(text))
            inner = value_at(documents[position], keys[:-1])
            inner[keys[-1]] = next(odd)
            path.write_text(yaml.safe_dump_all(documents), encoding="utf-8")
            check_file(path, study=STUDY)


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
    with pytest.raises(RefKDError, match="no such file"):
        check_file(tmp_path / "none.yaml")
    other = tmp_path / "gcp.yaml"
    other.write_text("cluster_name: x\nprovider:\n  type: gcp\n", encoding="utf-8")
    with pytest.raises(RefKDError, match=r"gcp.yaml:3: provider.type is 'gcp'"):
        check_file(other)
    for kind in ("RayJob", "RayClusters"):
        other.write_text(f"apiVersion: ray.io/v1\nkind: {kind}\n", encoding="utf-8")
        with pytest.raises(RefKDError, match=rf"gcp.yaml:2: kind is {kind}; .* a RayCluster"):
            check_file(other)
    other.write_text("a: 1\na: 2\n", encoding="utf-8")
    with pytest.raises(YamlError, match=r"^[^:]+:\d+: the key .* stands twice"):
        check_file(other)


@pytest.mark.parametrize("name", SHIPPED)
def test_a_line_before_or_after_all_documents_is_none_of_them(name: str) -> None:
    text = Path(name).read_text(encoding="utf-8")
    Path(name).write_text(f"---\n{text}---\n", encoding="utf-8")
    assert problems(Path(name)) == []
