"""What the doctor finds."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field


@dataclass(frozen=True, kw_only=True)
class Finding:
    """Two places that disagree, or something half done."""

    check: str
    """The check that found it, such as `student`."""
    what: str
    """What is wrong, and where."""
    remedy: str
    """What puts it right: what `fix` does, or what the user can do."""
    fix: Callable[[], object] | None = field(default=None, repr=False)
    """Puts it right; None where there is more than one right answer."""
