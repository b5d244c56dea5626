"""The versions of code and packages that a result is made with."""

from __future__ import annotations

import getpass
import platform
import subprocess
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path

from refkd import __version__

PACKAGES = ("torch", "numpy", "ray", "optuna", "mlflow", "h5py", "pyarrow")
UNKNOWN = "unknown"
"""In place of a commit where the code is in no git checkout."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Environment:
    """Versions of code and packages: a result can be repeated only with the same ones."""

    refkd: str
    python: str
    packages: dict[str, str]
    """Version by name."""
    git_commit: str
    git_dirty: str
    """`true` or `false`: whether tracked files differ from the commit; `unknown` without one."""
    user: str = field(default=UNKNOWN, compare=False)
    """Who began it."""

    def tags(self, command: str) -> dict[str, str]:
        """Return it as tags of a run of a command, also under the names that MLflow shows."""
        commit = (
            {} if self.git_commit == UNKNOWN else {"mlflow.source.git.commit": self.git_commit}
        )
        return {
            "mlflow.user": self.user,
            "mlflow.source.name": command,
            "mlflow.source.type": "LOCAL",
            **commit,
            "refkd.version": self.refkd,
            "refkd.version.python": self.python,
            **{f"refkd.version.{name}": found for name, found in self.packages.items()},
            "refkd.git_commit": self.git_commit,
            "refkd.git_dirty": self.git_dirty,
        }

    def __str__(self) -> str:
        changed = " (changed)" if self.git_dirty == "true" else ""
        versions = {"python": self.python, **self.packages}
        listed = ", ".join(f"{name} {found}" for name, found in versions.items())
        return f"refkd {self.refkd}, commit {self.git_commit[:12]}{changed}; {listed}"


def environment() -> Environment:
    """Return the code and the versions of this process."""
    try:
        commit = _git("rev-parse", "HEAD")
        dirty = str(bool(_git("status", "--porcelain", "--untracked-files=no"))).lower()
    except (OSError, subprocess.CalledProcessError):
        commit = dirty = UNKNOWN
    return Environment(
        refkd=__version__,
        python=platform.python_version(),
        packages={name: version(name) for name in PACKAGES},
        git_commit=commit,
        git_dirty=dirty,
        user=_user(),
    )


def _user() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):  # in a container whose user has no name
        return UNKNOWN


def _git(*arguments: str) -> str:
    command = ["git", "-C", str(Path(__file__).parent), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return done.stdout.strip()
