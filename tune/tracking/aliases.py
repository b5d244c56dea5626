"""Aliases of a registered model in MLflow: their names, reasons and moves."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from refkd.errors import RefKDError
from tune.tracking.target import BEFORE

if TYPE_CHECKING:
    from mlflow import MlflowClient

HEADING = "## Aliases"
LONGEST = 4_900
"""Characters of a description; MLflow's tables hold 5,000."""
LONGEST_REASON = 500
_ALLOWED = re.compile(r"[A-Za-z0-9_-]{1,240}")
_RESERVED = re.compile(r"latest|v\d+", re.IGNORECASE)


def check_alias(alias: str) -> None:
    """Raise `RefKDError` where MLflow would refuse a name, or refkd gives it itself."""
    if _ALLOWED.fullmatch(alias) is None:
        raise RefKDError(
            f"alias {alias!r} is no name that MLflow takes; use letters, digits, _ and -, such as "
            "best-ood"
        )
    if _RESERVED.fullmatch(alias):
        raise RefKDError(
            f"alias {alias!r} is reserved by MLflow; use another, such as stable-{alias}"
        )
    if alias.endswith(BEFORE):
        raise RefKDError(
            f"alias {alias!r} is given to the earlier holder of {alias.removesuffix(BEFORE)!r}; "
            "move that one"
        )


def checked_reason(alias: str, reason: str) -> str:
    """Return a reason on one line; `RefKDError` where it is empty or too long."""
    reason = " ".join(reason.split())
    if not 0 < len(reason) <= LONGEST_REASON:
        raise RefKDError(
            f"the reason has {len(reason)} characters; say in 1 to {LONGEST_REASON} why this "
            f"trial is to be {alias}"
        )
    return reason


def move_alias(
    client: MlflowClient, name: str, alias: str, version: str, reason: str
) -> str | None:
    """Point an alias at a version, which gets the reason; return its earlier holder."""
    held = client.get_registered_model(name).aliases
    earlier = str(held[alias]) if alias in held else None
    if earlier == version:
        return earlier
    if earlier is not None:
        client.set_registered_model_alias(name, alias + BEFORE, earlier)
    before = client.get_model_version(name, version).description or ""
    description = _with_reason(before, alias, reason)
    if description != before:
        client.update_model_version(name, version, description)
    # Last, so that a call that was cut short is repeated without harm.
    client.set_registered_model_alias(name, alias, version)
    return earlier


def _with_reason(description: str, alias: str, reason: str) -> str:
    """Return a description with the reason as its last line, once; the oldest ones give way."""
    card, _, listed = description.partition(f"\n{HEADING}\n")
    lines = listed.strip().splitlines()
    what = f"`{alias}`: {' '.join(reason.split())}"
    if lines and lines[-1].endswith(what):
        return description
    lines.append(f"- {datetime.now(UTC):%Y-%m-%d %H:%M} UTC, {what}")
    head = f"{card.rstrip()}\n\n{HEADING}\n"
    while len(lines) > 1 and len(head) + sum(len(line) + 1 for line in lines) > LONGEST:
        del lines[0]
    return head + "\n".join(lines) + "\n"
