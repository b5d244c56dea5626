"""Failed trials that are tried again.

Optuna never changes a trial that has ended, so the values are tried under the next free number, by
a trial that says which one it retries. Whoever names the failed trial means the newest of them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from refkd.errors import RefKDError
from tune.config.study_file import load_study_file
from tune.study.event_base import study_events
from tune.study.events import TrialRetried
from tune.study.home import check_own
from tune.study.lease import lease
from tune.study.locate import place_of
from tune.study.opening import open_study
from tune.study.storage import to_be_continued
from tune.study.stored_study import StoredStudy
from tune.study.view import CONTINUES, FOREIGN, RETRIES, TrialView


def newest(views: Sequence[TrialView], number: int) -> int:
    """Return the trial that a number means: itself, or the one that retries it last."""
    followers = {view.retries: view.number for view in views if view.retries is not None}
    while number in followers:
        number = followers[number]
    return number


def retry_trials(path: Path | str, numbers: Sequence[int]) -> dict[int, int]:
    """Put failed trials of a study file's study back in line; see `retry`.

    Raises `NoStudyError` where it was not begun, `LeaseError` where a driver is at work.
    """
    file = load_study_file(path)
    place, spec = place_of(file), file.search_spec()
    open_study(place)
    with lease(place.storage, file.name, signs=spec.signs), to_be_continued():
        study = StoredStudy(spec, place.storage)
        check_own(file, study.optuna.user_attrs)
        return retry(study, numbers)


def retry(study: StoredStudy, numbers: Sequence[int]) -> dict[int, int]:
    """Put failed trials back in line, all of them where none is named; return the new numbers.

    One that waits already is named with its number. Raises `RefKDError`, before anything is
    stored, for a trial that has not failed or was none of the search's.
    """
    views = study.views()
    if numbers:
        chosen = {number: newest(views, number) for number in dict.fromkeys(numbers)}
        for number, last in chosen.items():
            _check(views, number, last)
    else:
        chosen = {view.number: view.number for view in _failed(views)}
    for last in chosen.values():
        if views[last].state == "FAIL":
            study.append(TrialRetried(number=last))
    carry_out(study)
    return {number: newest(study.views(), number) for number in chosen}


def carry_out(study: StoredStudy) -> None:
    """Put in line what is to be retried and is not there, as a process that was killed left it."""
    views = study.views()
    done = {view.retries for view in views}
    for event in study_events(study.optuna.user_attrs, TrialRetried):
        if event.number in done:
            continue
        failed = views[event.number]
        kept = {
            key: value
            for key, value in failed.attributes.items()
            if key == CONTINUES or key.startswith("inherited")
        }
        before = study.launches.once_fixed(study.spec.space, failed.values)
        study.queue.put({**before, **failed.values}, {**kept, RETRIES: event.number})


def _failed(views: Sequence[TrialView]) -> Iterator[TrialView]:
    """Yield the trials that failed and were not tried again."""
    retried = {view.retries for view in views}
    for view in views:
        if view.state == "FAIL" and not view.refused and view.number not in retried:
            yield view


def _check(views: Sequence[TrialView], number: int, last: int) -> None:
    if number >= len(views):
        raise RefKDError(
            f"the study has no trial {number}: it has {len(views)}, counted from 0; see "
            "`refkd status`"
        )
    view = views[last]
    name = f"trial {number}" + (f", retried as {last}," if last != number else "")
    if view.state == FOREIGN or view.refused:
        raise RefKDError(f"{name} is none of the search's: {view.reason}; leave it out")
    if view.state != "FAIL" and not (view.state == "WAITING" and last != number):
        raise RefKDError(
            f"{name} is {view.state}: only a failed trial can be tried again; leave it out"
        )
