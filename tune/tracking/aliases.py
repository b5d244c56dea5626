"""Aliases of a registered model in MLflow."""

from __future__ import annotations

from datetime import UTC, datetime

from mlflow import MlflowClient

from tune.tracking.target import BEFORE

HEADING = "## Aliases"
LONGEST = 4_900
"""Characters of a description; MLflow's tables hold 5,000."""


def move_alias(
    client: MlflowClient, name: str, alias: str, version: str, reason: str
) -> str | None:
    """Point an alias at a version and return its earlier holder, None where there was none.

    The reason is added to the version's description, and the earlier holder gets the alias with
    `-before`. Nothing is done where the alias points there already. The alias moves last, so that
    a call that was cut short is repeated without harm.
    """
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
