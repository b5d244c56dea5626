"""Who runs a command, also on machines that have no entry for the user."""

from __future__ import annotations

import getpass
import os


def user_name() -> str:
    """Return the user's name; `uid-N` for a user whom the machine has no name for."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return f"uid-{os.getuid()}"


def name_the_user() -> None:
    """Give a user without a name one in the environment: Ray, MLflow and torch ask for it."""
    os.environ.setdefault("LOGNAME", user_name())
