"""The code and the versions that a result is made with."""

from __future__ import annotations

import platform
import subprocess
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from refkd import __version__

PACKAGES = ("torch", "numpy", "ray", "optuna", "mlflow", "h5py", "pyarrow")
UNKNOWN = "unknown"
"""In place of a commit where the code lies in no git checkout."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Environment:
    """What a result can only be repeated with: code and versions."""

    refkd: str
    python: str
    packages: dict[str, str]
    """Version by name."""
    git_commit: str
    git_dirty: str
    """`true` or `false`: whether tracked files differ from the commit; `unknown` without one."""

    def tags(self) -> dict[str, str]:
        """Return it as tags of a run."""
        return {
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
    commit, dirty = _git()
    return Environment(
        refkd=__version__,
        python=platform.python_version(),
        packages={name: version(name) for name in PACKAGES},
        git_commit=commit,
        git_dirty=dirty,
    )


def _git() -> tuple[str, str]:
    """Return commit and dirtiness of the code."""
    folder = Path(__file__).parent
    try:
        commit = _run_git(folder, "rev-parse", "HEAD")
        dirty = bool(_run_git(folder, "status", "--porcelain", "--untracked-files=no"))
    except (OSError, subprocess.CalledProcessError):
        return UNKNOWN, UNKNOWN
    return commit, str(dirty).lower()


def _run_git(folder: Path, *arguments: str) -> str:
    done = subprocess.run(
        ["git", "-C", str(folder), *arguments], capture_output=True, text=True, check=True
    )
    return done.stdout.strip()
