"""The distribution: what a built wheel holds, and what it asks for."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tomllib
from email import message_from_bytes
from pathlib import Path
from zipfile import ZipFile

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version
from support.project import ROOT

from tune.cluster.versions import read_lock

FLOORS = {"ray": "2.54", "mlflow": "3.11", "torch": "2.6"}
"""The oldest releases without a known hole that matters here."""
METHOD = {
    *("torch", "numpy", "h5py", "pyarrow", "safetensors", "pydantic", "scipy", "nltk", "tqdm"),
    "filelock",
}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the wheel from a copy, so that the project's folder stays as it is."""
    source = tmp_path_factory.mktemp("source")
    for name in ("refkd", "tune"):
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("mlflow", "tests", "studies"):
        (source / name).mkdir()
        (source / name / "stray.py").touch()
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    command = ["pip", "wheel", "-q", "--no-deps", "--no-build-isolation", "-w", "out", "."]
    subprocess.run([sys.executable, "-m", *command], cwd=source, check=True)
    (built,) = (source / "out").iterdir()
    return built


def test_the_wheel_holds_our_two_packages_and_nothing_else(wheel: Path) -> None:
    names = ZipFile(wheel).namelist()
    tops = {name.split("/")[0] for name in names}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"refkd", "tune"}


def test_the_wheel_holds_every_file_of_the_packages(wheel: Path) -> None:
    wanted = {
        str(path.relative_to(ROOT))
        for package in ("refkd", "tune")
        for path in (ROOT / package).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert wanted - set(ZipFile(wheel).namelist()) == set()


def test_the_method_alone_asks_for_few_libraries(wheel: Path) -> None:
    with ZipFile(wheel) as archive:
        (name,) = (n for n in archive.namelist() if n.endswith(".dist-info/METADATA"))
        fields = message_from_bytes(archive.read(name))
    needs = [Requirement(text) for text in fields.get_all("Requires-Dist", [])]
    assert {need.name for need in needs if need.marker is None} == METHOD
    assert fields["License-Expression"] == "Apache-2.0"


def test_ranges_lie_above_the_security_floors() -> None:
    ranges = declared()
    for name, floor in FLOORS.items():
        lowest = min(
            Version(part.version.removesuffix(".*"))
            for part in ranges[name].specifier
            if part.operator in (">=", "==")
        )
        assert lowest >= Version(floor), name


def test_the_lock_is_exact_and_within_the_ranges() -> None:
    """torch alone is not in it: each machine takes its own build, by the range."""
    text = (ROOT / "requirements.lock").read_text(encoding="utf-8")
    blocks = [block for block in re.split(r"\n(?=[^ ])", text) if not block.startswith("#")]
    pin = re.compile(
        r"([\w.-]+)==([\w.]+)( ; [^\n]+)? \\(\n    --hash=sha256:[0-9a-f]{64}( \\)?)+\n?"
    )
    assert [block for block in blocks if not pin.fullmatch(block)] == []
    found = [re.match(r"([^=]+)==(\S+)", block) for block in blocks]
    locked = {canonicalize_name(m[1]): m[2] for m in found if m}
    assert [name for name in locked if name.startswith(("nvidia", "cuda", "triton"))] == []
    wrong = {
        name: locked.get(name)
        for name, need in declared().items()
        if name not in locked or not need.specifier.contains(locked[name])
    }
    assert wrong == {"torch": None}


def test_the_constraints_are_the_lock_and_torch_without_hashes() -> None:
    text = (ROOT / "constraints.txt").read_text(encoding="utf-8")
    assert "--hash" not in text
    constraints, lock = read_lock(ROOT / "constraints.txt"), read_lock(ROOT / "requirements.lock")
    torch = constraints.pop("torch")
    assert constraints == lock
    assert declared()["torch"].specifier.contains(torch)


def test_pip_takes_the_constraints_for_a_wheel_of_ours(tmp_path: Path) -> None:
    wheel = tmp_path / "ours-1.0-py3-none-any.whl"
    with ZipFile(wheel, "w") as archive:
        for name, text in {
            "METADATA": "Metadata-Version: 2.1\nName: ours\nVersion: 1.0\n",
            "WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
            "RECORD": "",
        }.items():
            archive.writestr(f"ours-1.0.dist-info/{name}", text)
    command = [sys.executable, "-m", "pip", "install", "--dry-run", "--no-index", "--quiet"]
    command += ["--target", str(tmp_path / "t"), "--constraint", str(ROOT / "constraints.txt")]
    told = subprocess.run([*command, str(wheel)], capture_output=True, text=True)
    assert told.returncode == 0, told.stderr


def declared() -> dict[str, Requirement]:
    """Return what pyproject.toml asks for, extras included, by canonical name."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    lists = [project["dependencies"], *project["optional-dependencies"].values()]
    needs = [Requirement(text) for texts in lists for text in texts]
    return {canonicalize_name(need.name): need for need in needs if need.name != "refkd"}
