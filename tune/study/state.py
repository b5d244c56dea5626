"""How far a study has come."""

from __future__ import annotations

from enum import StrEnum


class StudyState(StrEnum):
    """How far a study has come; the values are the words that people read."""

    NOT_BEGUN = "not begun"
    """It has neither a launch nor a trial."""
    SEARCHING = "searching"
    """A driver is at work and trials are left."""
    PAUSED = "paused"
    """Trials are left and no driver is at work; the last one gave its lease back."""
    STOPPED = "stopped"
    """Trials are left and no driver is at work; the last one died with its lease."""
    ENDED = "search ended"
    FINALISTS = "finalists chosen"
    EVALUATED = "evaluated on test"
    OUT_OF_DATE = "out of date"
    """Trials have ended since the finalists were chosen, or other champions were evaluated."""

    @property
    def has_trials_left(self) -> bool:
        """Whether the search has not ended."""
        return self in (self.NOT_BEGUN, self.SEARCHING, self.PAUSED, self.STOPPED)


def state_of(
    *,
    begun: bool,
    left: bool,
    at_work: bool,
    died: bool,
    chosen: bool,
    evaluated: bool,
    up_to_date: bool,
) -> StudyState:
    """Return a study's state; `left` are trials, and a driver that `died` kept its lease."""
    if at_work and (left or not begun):
        return StudyState.SEARCHING
    if not begun:
        return StudyState.NOT_BEGUN
    if left:
        return StudyState.STOPPED if died else StudyState.PAUSED
    if (chosen or evaluated) and not up_to_date:
        return StudyState.OUT_OF_DATE
    if evaluated:
        return StudyState.EVALUATED
    return StudyState.FINALISTS if chosen else StudyState.ENDED
