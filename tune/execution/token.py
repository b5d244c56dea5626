"""The secret that the processes of a Ray started here know each other by."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

from tune import compat


def token_without_home() -> dict[str, str]:
    """Return a token as a variable where Ray could keep none in the user's home; else nothing."""
    if any(os.environ.get(name) for name in compat.TOKEN_VARIABLES):
        return {}
    try:
        kept = Path.home() / compat.TOKEN_FILE
    except RuntimeError:  # neither HOME nor an entry of the user
        return _fresh()
    if os.access(kept, os.R_OK):
        return {}
    there = next(folder for folder in kept.parents if folder.exists())
    return {} if os.access(there, os.W_OK | os.X_OK) else _fresh()


def _fresh() -> dict[str, str]:
    return {compat.TOKEN_VARIABLES[0]: secrets.token_hex(32)}
