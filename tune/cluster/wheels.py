"""The wheel of refkd that machines install: one, and that of this project."""

from __future__ import annotations

import tomllib
from pathlib import Path

from tune.cluster.commands import commands
from tune.cluster.findings import Fault, Faults, Keys
from tune.cluster.source import ClusterFile, section

PROJECT = Path("pyproject.toml")


def check_wheels(file: ClusterFile) -> Faults:
    """Yield folders with several wheels or another version's, where commands install one."""
    installs = [c for c in commands(file.content) if ".whl" in c.text and "pip" in c.text]
    if not installs:
        yield Fault(
            ("setup_commands",),
            None,
            "installs no wheel of refkd",
            "mount ./dist and install it, as the file that ships does",
        )
    for remote, local in section(file.content, "file_mounts").items():
        path = Path(str(local)).expanduser()
        keys: Keys = ("file_mounts", remote)
        if not path.is_dir() or not any(f"{remote}/" in c.text for c in installs):
            continue
        found = sorted(wheel.name for wheel in path.glob("refkd-*.whl"))
        version = _version()
        if len(found) != 1:
            yield Fault(
                keys,
                local,
                f"holds {len(found)} wheels of refkd instead of one",
                "run `make wheel`, which leaves one",
            )
        elif version is not None and not found[0].startswith(f"refkd-{version}-"):
            what = f"is another version than {version} of {PROJECT}"
            yield Fault(keys, found[0], what, "run `make wheel`", level="note")


def _version() -> str | None:
    """Return refkd's version in the folder this is run in, or None."""
    if not PROJECT.is_file():
        return None
    project = tomllib.loads(PROJECT.read_text(encoding="utf-8")).get("project", {})
    return str(project["version"]) if project.get("name") == "refkd" else None
