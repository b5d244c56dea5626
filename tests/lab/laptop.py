"""The project on the laptop of a lab, as a user has it, with the lines changed that are his.

A lab has no package index. What `pip` would bring from one lies in the environment of every host
already: the packages of the environment that the tests run in, without refkd and without Ray's
commands on the `PATH`. The wheel, and all that the cluster file does, is as for everybody.
"""

from __future__ import annotations

import os
import shutil
import sys
import sysconfig
from pathlib import Path

import yaml
from lab import HOME, ROOT, SHARED, Lab
from support.project import MADE

STUDY = {
    "budget": {"trials": 3},
    "simulate": {"videos": 40},
    "training": {"epochs": 9, "learning_rate": 3.0e-3},
}
"""A smaller study than the shipped one."""
_PORT = "--metrics-export-port=52368"
ENVIRONMENT = HOME / "refkd-env"
"""Where the cluster file installs everything."""


def provision(lab: Lab, name: str, *folders: Path) -> None:
    """Give a host the packages of an index, and those of further folders."""
    made = lab.on(name, "python3", "-m", "venv", "--without-pip", ENVIRONMENT)
    assert made.returncode == 0, made.stderr
    ours = lab.home(name) / ENVIRONMENT.relative_to(HOME)
    packages = [sysconfig.get_path("purelib"), *map(str, folders)]
    (site,) = ours.glob("lib/*/site-packages")
    (site / "packages.pth").write_text("\n".join(packages), encoding="utf-8")
    for script in filter(Path.is_file, Path(sysconfig.get_path("scripts")).iterdir()):
        first, _, rest = script.read_bytes().partition(b"\n")
        if script.name != "refkd" and first.startswith(b"#!") and b"python" in first:
            (ours / "bin" / script.name).write_bytes(
                f"#!{ENVIRONMENT}/bin/python\n".encode() + rest
            )
            (ours / "bin" / script.name).chmod(0o755)


class Laptop:
    """A checkout on the laptop; the documentation's `/shared/refkd` is the lab's shared folder."""

    def __init__(self, lab: Lab, name: str = "cluster/onprem.yaml") -> None:
        self.lab, self.root = lab, lab.folder / "refkd"
        self.file = self.root / name
        shutil.copytree(ROOT, self.root, ignore=shutil.ignore_patterns(*MADE, ".*", "*.egg-info"))
        (self.root / ".venv").symlink_to(sys.prefix)
        for made in ("requirements.lock", "pyproject.toml"):
            os.utime(self.root / made, (0, 0))  # else `make` would install them once more
        # What the head of the file asks for; then, that several hosts share one machine.
        self.change("ssh_user: ubuntu", "ssh_user: root")
        self.change("/shared/refkd", str(SHARED))
        self.change(_PORT, f"{_PORT} --object-store-memory=100000000")
        self._make_study_small()

    def change(self, old: str, new: str) -> None:
        """Change a text of the cluster file, wherever it stands."""
        text = self.file.read_text(encoding="utf-8")
        assert old in text, old
        self.file.write_text(text.replace(old, new), encoding="utf-8")

    def run(self, command: str, *, seconds: float = 300, **variables: str) -> str:
        """Run a line of the documentation in the checkout; return what it prints."""
        line = command.replace("/shared/refkd", str(SHARED))
        script = f"cd {self.root} && {line}"
        told = self.lab.on("laptop", "bash", "-c", script, seconds=seconds, **variables)
        assert told.returncode == 0, f"{line}\n{(told.stdout + told.stderr)[-3000:]}"
        return told.stdout + told.stderr

    def _make_study_small(self) -> None:
        path = self.root / "studies" / "cluster.yaml"
        text = path.read_text(encoding="utf-8").replace("/shared/refkd", str(SHARED))
        path.write_text(yaml.safe_dump(yaml.safe_load(text) | STUDY), encoding="utf-8")
