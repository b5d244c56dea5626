"""What the doctor looks at, and what it finds."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tune.study.folders import seed_folder, trial_folder

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial

    from tune.spec.study_file import StudyFile
    from tune.study.view import TrialView

ENDED_STATES = ("COMPLETE", "PRUNED", "FAIL")


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


@dataclass(frozen=True, kw_only=True)
class Case:
    """A study as its storage holds it, and where the rest of it lies."""

    file: StudyFile
    path: Path
    """The study file, for remedies that name a command."""
    trials: Sequence[FrozenTrial]
    views: Sequence[TrialView]
    attributes: Mapping[str, Any]
    """The study's own facts."""

    @property
    def command(self) -> str:
        """How the search is continued."""
        return f"refkd search {self.path}"

    def ended(self, *states: str) -> list[TrialView]:
        """Return the trials that ended, or those in some of the states."""
        return [view for view in self.views if view.state in (states or ENDED_STATES)]

    def student_folders(self, number: int) -> list[Path]:
        """Return where the students of a trial lie, one a seed."""
        folder = trial_folder(self.file.folder, number)
        return [seed_folder(folder, r) for r in range(self.file.replicates.seeds)]

    def teacher_folders(self) -> dict[str, Path]:
        """Return the folder of each teacher the study was begun with."""
        teachers = self.file.workspace.absolute() / "teachers"
        return {role: teachers / n for role, n in self.attributes.get("teachers", {}).items()}
