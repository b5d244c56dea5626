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
from lab import HOME, ROOT, Lab
from project import MADE

STUDY = {
    "budget": {"trials": 3},
    "simulate": {"videos": 40},
    "training": {"epochs": 2, "learning_rate": 3.0e-3},
}
"""A smaller study than the shipped one."""
_PORT = "--metrics-export-port=52368"
_LIMITS = f"{_PORT} --num-cpus=1 --object-store-memory=100000000"
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
    for script in Path(sysconfig.get_path("scripts")).iterdir():
        first, _, rest = script.read_bytes().partition(b"\n")
        if script.name != "refkd" and first == b"#!" + os.fsencode(sys.executable):
            (ours / "bin" / script.name).write_bytes(
                f"#!{ENVIRONMENT}/bin/python\n".encode() + rest
            )
            (ours / "bin" / script.name).chmod(0o755)


class Laptop:
    """A checkout on the laptop; the documentation's `/shared/refkd` is the lab's shared folder."""

    def __init__(self, lab: Lab) -> None:
        self.lab, self.root = lab, lab.folder / "refkd"
        self.file = self.root / "cluster" / "onprem.yaml"
        shutil.copytree(ROOT, self.root, ignore=shutil.ignore_patterns(*MADE, ".*", "*.egg-info"))
        (self.root / ".venv").symlink_to(sys.prefix)
        for name in ("requirements.lock", "pyproject.toml"):
            os.utime(self.root / name, (0, 0))  # else `make` would install them once more
        self._change_lines()
        self._make_study_small()

    def run(self, command: str, *, seconds: float = 300) -> str:
        """Run a line of the documentation in the checkout; return what it prints."""
        line = self.as_here(command)
        told = self.lab.on(
            "laptop", "bash", "-c", f"cd {self.root} && {line}", seconds=seconds
        )  # fmt: skip
        assert told.returncode == 0, f"{line}\n{(told.stdout + told.stderr)[-3000:]}"
        return told.stdout + told.stderr

    def as_here(self, text: str) -> str:
        """Return a text of the documentation with the lab's shared folder in it."""
        return text.replace("/shared/refkd", str(self.lab.shared))

    def _change_lines(self) -> None:
        """Change what the head of the file asks for, and let three hosts share one machine."""
        text = self.file.read_text(encoding="utf-8")
        assert text.count("ssh_user: ubuntu") == 1
        assert text.count(_PORT) == 2
        text = self.as_here(text).replace("ssh_user: ubuntu", "ssh_user: root")
        self.file.write_text(text.replace(_PORT, _LIMITS), encoding="utf-8")

    def _make_study_small(self) -> None:
        path = self.root / "studies" / "cluster.yaml"
        study = yaml.safe_load(self.as_here(path.read_text(encoding="utf-8")))
        path.write_text(yaml.safe_dump(study | STUDY), encoding="utf-8")
