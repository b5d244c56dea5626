"""Which names an alias may have, and which reasons."""

from __future__ import annotations

import re

from refkd.errors import RefKDError
from tune.tracking.target import BEFORE

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
