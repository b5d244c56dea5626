"""What a study is at one moment: the one read model of every command that only reads."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from refkd.errors import RefKDError
from refkd.urls import Url
from tune.config.limits import Bounded, Limits
from tune.config.search_spec import signs_of
from tune.config.yaml_file import read_yaml
from tune.study.budget import reached, trials_left
from tune.study.event_base import study_events
from tune.study.events import champions_of
from tune.study.finalist_events import FinalistsBegun
from tune.study.folders import student_folders
from tune.study.foreign import recognised
from tune.study.health import Finding, health
from tune.study.launch import Launch, read_launches
from tune.study.ledger import LedgerError, Look, is_copy, looks_of
from tune.study.locate import NoStudyError, StudyPlace, find_study
from tune.study.opening import as_launched, check_schema, open_study
from tune.study.sqlite_view import copied, read_sqlite
from tune.study.state import StudyState, state_of
from tune.study.storage import file_of, is_journal
from tune.study.summary import Summary, summarise
from tune.study.view import ENDED_STATES, TrialView, view

if TYPE_CHECKING:
    import optuna

    from tune.config.study_file import StudyFile
    from tune.study.environment import Environment
    from tune.study.lease import Driver
    from tune.study.outcomes import Finalists, FinalReport


@dataclass(frozen=True, kw_only=True)
class StudySnapshot:
    """A study at one moment."""

    place: StudyPlace
    trials: Sequence[TrialView]
    """In the order of their numbers."""
    attributes: Mapping[str, Any]
    """The study's own attributes."""

    @property
    def name(self) -> str:
        """The study's name."""
        return self.place.name

    @property
    def folder(self) -> Path:
        """The folder of its trials, finalists and report."""
        return self.place.folder

    @property
    def path(self) -> Path:
        """The study file, for remedies that name a command; where none was given, its copy."""
        kept = self.folder / "study.yaml"
        return self.place.path or (kept if kept.is_file() else Path("STUDY.yaml"))

    @cached_property
    def file(self) -> StudyFile:
        """The study file that was given, checked; that of the last launch where none was."""
        from tune.config.study_file import load_study_file

        if self.place.path is not None:
            return load_study_file(self.place.path)
        if not self.launches:
            raise NoStudyError(f"study {self.name!r} holds no launch; name its study file instead")
        file = self.launches[-1].study_file()
        moved = file.model_copy(update={"workspace": self.folder.parent.parent})
        if moved.folder != self.folder:
            raise NoStudyError(
                f"{self.folder}: is not WORKSPACE/studies/{self.name}; name the study file instead"
            )
        return moved

    @cached_property
    def launches(self) -> list[Launch]:
        """Every run of a driver, the first one first."""
        return read_launches(self.attributes)

    def environments(self) -> list[tuple[str, float, Environment]]:
        """Return what was begun when and with which code and versions, equals in a row once."""
        begun = [("launch", one.begun, one.environment) for one in self.launches]
        finals = study_events(self.attributes, FinalistsBegun)
        begun += [("finalists", one.begun, one.environment) for one in finals]
        found: list[tuple[str, float, Environment]] = []
        for what, at, code in sorted(begun, key=lambda one: one[1]):
            if code is not None and (not found or found[-1][2] != code):
                found.append((what, at, code))
        return found

    @cached_property
    def summary(self) -> Summary:
        """Front, champions, cost, teachers and health."""
        stopped = None if not self.launches or self.trials_left else self._stopped()
        return summarise(self.name, self.trials, self.attributes, self._health(), stopped)

    @cached_property
    def last_driver(self) -> Driver | None:
        """The driver that holds the lease, or died with it; None where it was given back."""
        from tune.study.lease import driver_of

        return driver_of(self.attributes)

    @cached_property
    def driver(self) -> Driver | None:
        """The driver that is at work on the study now."""
        driver = self.last_driver
        return driver if driver is not None and driver.lives() else None

    @cached_property
    def finalists(self) -> Finalists | None:
        """What `refkd finalists` found; None before it."""
        from tune.study.outcomes import read_finalists

        return read_finalists(self.attributes)

    @property
    def looks(self) -> list[Look]:
        """Every evaluation on the test roles that has ended; none where they are not known."""
        return [look for look in self._ledger[0] if look.state == "done"]

    @property
    def look_begun(self) -> Look | None:
        """An evaluation on the test roles that was cut off before anything of it was shown."""
        return next((look for look in self._ledger[0] if look.state == "begun"), None)

    @property
    def ledger_fault(self) -> str | None:
        """Why the looks are not known; None where they are."""
        return self._ledger[1]

    @cached_property
    def final(self) -> FinalReport | None:
        """Results of the last evaluation on the test roles; None where they were not kept."""
        from tune.study.outcomes import read_final

        return read_final(self.folder, self.attributes, self._ledger[0])

    @cached_property
    def wall_seconds(self) -> float:
        """How long drivers were at work, each up to its last event or heartbeat."""
        last = {launch.number: launch.last for launch in self.launches}
        for stamp in (stamp for trial in self.trials for stamp in trial.stamps.values()):
            last[stamp.launch] = max(last.get(stamp.launch, 0.0), stamp.time)
        return sum(last[launch.number] - launch.begun for launch in self.launches)

    @cached_property
    def trials_left(self) -> int:
        """Trials that are still to begin or to finish, by the study file as it is now."""
        return trials_left(self._limits, self.trials, lambda: self.wall_seconds)

    @property
    def champions(self) -> dict[str, int]:
        """Trial by alias: of the finalists where there are any, else the best of the search."""
        return dict((self.summary.crowned or self.summary).champions)

    @property
    def scored_champions(self) -> dict[str, int]:
        """Trial by alias of the champions that the search's intervals were computed for."""
        chosen = champions_of(self.attributes, "search")
        return dict((chosen or self.summary).champions)

    @property
    def epochs(self) -> int:
        """Epochs of a whole student."""
        return int(self.attributes.get("epochs", 0)) or self.file.training.epochs

    @property
    def objectives(self) -> list[str]:
        """Metrics that the study optimises."""
        return list(self.attributes.get("objectives", [])) or self.file.objectives

    @property
    def signs(self) -> list[float]:
        """1 for each objective that is maximised, -1 for each that is minimised."""
        return signs_of(self.objectives, self.attributes.get("minimize", ()))

    @cached_property
    def state(self) -> StudyState:
        """How far the study has come; a ledger that cannot be read counts as an evaluation."""
        shown = self.looks[-1].trials if self.looks else {}
        begun = bool(self.launches or self.trials)
        return state_of(
            begun=begun,
            left=not begun or self.trials_left > 0,
            at_work=self.driver is not None,
            died=self.last_driver is not None and self.driver is None,
            chosen=self.summary.crowned is not None,
            evaluated=bool(self.looks) or self.ledger_fault is not None,
            up_to_date=not self.summary.outgrown and shown in ({}, self.champions),
        )

    @cached_property
    def optuna(self) -> optuna.Study:
        """The study opened by Optuna, for its plots and for replays."""
        return open_study(self.place)

    def count(self, state: str) -> int:
        """Return how many trials are in a state, by Optuna's word for it."""
        return sum(trial.state == state for trial in self.trials)

    def ended(self, *states: str) -> list[TrialView]:
        """Return the trials that ended, or those in some of the states."""
        return [trial for trial in self.trials if trial.state in (states or ENDED_STATES)]

    def student_folders(self, number: int) -> list[Path]:
        """Return the folders of a trial's students, one for each seed."""
        return student_folders(self.folder, number, self.file.replicates.seeds)

    def teacher_folders(self) -> dict[str, Path]:
        """Return the folder of each teacher that the study was begun with, by role."""
        teachers = self.file.workspace.absolute() / "teachers"
        return {role: teachers / n for role, n in self.attributes.get("teachers", {}).items()}

    @cached_property
    def _ledger(self) -> tuple[list[Look], str | None]:
        try:
            looks = looks_of(self.folder, self.attributes)
            is_copy(self.folder, looks)  # rows that the study lacks are looks that it forgot
        except (LedgerError, OSError) as error:
            return [], str(error)
        return looks, None

    def _health(self) -> list[Finding]:
        if not self.launches:
            return []
        return health(self.launches[-1].settings, self.trials, over=self.trials_left == 0)

    def _stopped(self) -> str | None:
        """Return which part of the budget other than its trials is used up, in words."""
        found = reached(self._limits, self.trials, lambda: self.wall_seconds)
        return None if found is None else found[1]

    @property
    def _limits(self) -> Bounded:
        """The limits of the search: the study file's, else the last launch's."""
        if self.place.path is not None:
            with suppress(RefKDError, ValidationError):  # `file` says what is wrong with it
                limits = Limits.of(read_yaml(self.place.path).content)
                if limits.budget.trainings is None:
                    return limits
                budget = limits.budget.in_epochs(self.epochs)
                return limits.model_copy(update={"budget": budget})
        return self.launches[-1].limits if self.launches else self.file


class StudyReader:
    """Reads one study as often as it is asked; what Optuna has read once is kept."""

    def __init__(self, where: Path | str | Url, *, scratch: Path | None = None) -> None:
        """`where` is a study file, a study's folder or a storage's URL; `NoStudyError` if none.

        With `scratch`, a folder, an SQLite storage is copied there and left as it is.
        """
        self.place = find_study(where)
        self._scratch = scratch
        self._study: optuna.Study | None = None

    def read(self) -> StudySnapshot:
        """Return what the study is now; `NoStudyError` where it was not begun."""
        place = self._readable()
        rows = read_sqlite(place.storage, place.name)
        if rows is not None:
            attributes, trials = rows
            check_schema(place.name, attributes)
        else:
            try:
                self._study = self._study or open_study(place)
                attributes = dict(self._study.user_attrs)
                trials = [view(trial) for trial in self._study.get_trials(deepcopy=False)]
            except FileNotFoundError as gone:  # a journal that was removed since the last call
                raise NoStudyError(f"study {place.name!r} is gone: {gone}") from None
        trials = recognised(trials, attributes)
        found = StudySnapshot(place=place, trials=trials, attributes=attributes)
        if place.path is None and found.launches:
            home = as_launched(self.place, found.launches[-1].file)
            found = replace(found, place=replace(home, storage=place.storage))
        return found

    def _readable(self) -> StudyPlace:
        """Return the place with a storage that reading may write to."""
        if self._scratch is None or is_journal(self.place.storage):
            return self.place
        file = file_of(self.place.storage)
        if file is None or not file.is_file():
            return self.place
        return replace(self.place, storage=Url.of_file(copied(file, self._scratch)))


def open_snapshot(where: Path | str | Url) -> StudySnapshot:
    """Return what a study is now, from its file, its folder or its storage's URL (`URL#NAME`)."""
    return StudyReader(where).read()


def read_summary(path: Path | str) -> Summary:
    """Return what the study of a study file has found so far: trials, front, champions, cost."""
    return open_snapshot(path).summary
