"""What the doctor finds."""

from __future__ import annotations

from collections.abc import Callable

from pydantic import Field, computed_field
from pydantic.dataclasses import dataclass


@dataclass(frozen=True)
class Finding:
    """Two places that disagree, or something half done."""

    check: str
    """The check that found it, such as `student`."""
    what: str
    """What is wrong, and where."""
    remedy: str
    """What puts it right: what `fix` does, or what the user can do."""
    fix: Callable[[], object] | None = Field(default=None, exclude=True, repr=False)
    """Puts it right; None where there is more than one right answer."""

    @computed_field  # type: ignore[prop-decorator]
    @property
    def fixable(self) -> bool:
        """Whether `--fix` puts it right."""
        return self.fix is not None
