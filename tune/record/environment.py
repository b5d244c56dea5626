"""The code and the versions that a result was made with."""

from __future__ import annotations

import platform
import subprocess
from importlib.metadata import version
from pathlib import Path

from refkd import __version__

PACKAGES = ("torch", "numpy", "ray", "optuna", "mlflow", "h5py", "pyarrow")


def environment() -> dict[str, str]:
    """Return what a result can only be repeated with: code and versions."""
    packages = {f"refkd.version.{name}": version(name) for name in PACKAGES}
    return {
        "refkd.version": __version__,
        "refkd.version.python": platform.python_version(),
        **packages,
        **_git(),
    }


def _git() -> dict[str, str]:
    """Return commit and dirtiness of the code, where it lies in a git checkout."""
    folder = Path(__file__).parent
    try:
        commit = _run_git(folder, "rev-parse", "HEAD")
        dirty = bool(_run_git(folder, "status", "--porcelain", "--untracked-files=no"))
    except (OSError, subprocess.CalledProcessError):
        return {"refkd.git_commit": "unknown", "refkd.git_dirty": "unknown"}
    return {"refkd.git_commit": commit, "refkd.git_dirty": str(dirty).lower()}


def _run_git(folder: Path, *arguments: str) -> str:
    done = subprocess.run(
        ["git", "-C", str(folder), *arguments], capture_output=True, text=True, check=True
    )
    return done.stdout.strip()
