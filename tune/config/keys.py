"""Dotted keys of the settings: checked, and put into place."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tune.config.space import Dimension


class MisplacedError(ValueError):
    """A fault of a whole study that lies at some keys."""

    def __init__(self, keys: Sequence[str | int], message: str) -> None:
        super().__init__(message)
        self.keys = tuple(keys)


def check_keys(
    where: str, space: Mapping[str, Dimension], known: Iterable[str], what: str
) -> None:
    """Raise `ValueError` where a key of `where` is none of `what`, or depends on a later one."""
    names = set(known)
    earlier = names - set(space)
    for name, dimension in space.items():
        if name not in names:
            raise MisplacedError(
                (*where.split("."), name),
                f"{where}: {name!r} is no key of {what}{nearest(name, names)}",
            )
        late = [key for key in dimension.when if key not in earlier]
        if late:
            raise MisplacedError(
                (*where.split("."), name),
                f"{where}: {name!r} depends on {late[0]!r}, which is neither fixed nor listed "
                "above it",
            )
        earlier.add(name)


def nearest(name: str, known: Iterable[str]) -> str:
    """Return the end of an error about an unknown key: the known one that is most like it."""
    close = get_close_matches(name, list(known), n=1)
    return f"; did you mean {close[0]!r}?" if close else ""


def put(settings: dict[str, Any], path: str, value: Any) -> None:
    """Set `settings["a"]["b"]` for the path `a.b`, making the levels on the way."""
    *parents, last = path.split(".")
    for parent in parents:
        settings = settings.setdefault(parent, {})
    settings[last] = value
