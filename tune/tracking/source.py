"""A study as the source of a delivery: read again and again, of which only the news are sent."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from refkd.data.dataset import Dataset
from refkd.errors import RefKDError
from refkd.training.teacher import Teacher, find_teacher
from tune.config.study_file import StudyFile
from tune.study.events import FinalistEpochEnded, FinalistTrained, teachers_of
from tune.study.view import STAMP, TrialView, ViewCache, changed
from tune.tracking.operations import Operation
from tune.tracking.projection import Made, Projection

if TYPE_CHECKING:
    import optuna


_OF_FINALISTS = (FinalistEpochEnded.PREFIX, FinalistTrained.PREFIX)


class StudySource:
    """Reads a study over a connection of its own; only what has changed is projected again."""

    def __init__(
        self,
        file: StudyFile,
        study: optuna.Study,
        made: Callable[[], Made],
        at_work: Callable[[], bool] = lambda: False,
    ) -> None:
        """`made` and `at_work` are asked at each look."""
        self._file, self._study = file, study
        self._made, self._at_work = made, at_work
        self._seen = ViewCache()
        self.rewind()

    def rewind(self) -> None:
        """Let the next call return all of it again."""
        self._views: Sequence[TrialView] = []
        self._known: tuple[frozenset[str], bool] | None = None
        self._last: Made | None = None

    def news(self) -> Sequence[Operation]:
        """Return the study's own operations if it has changed, and those of changed trials."""
        # Asked before the study is read: without a driver at work, what is read is the last state.
        made, at_work = self._made(), self._at_work()
        attributes = self._study.user_attrs
        views = self._seen.views(self._study.get_trials(deepcopy=False))
        projection = Projection(self._file, attributes, views, made, at_work=at_work)
        known = (_events(attributes), at_work)
        told, self._known = self._known, known
        new = known[0] if told is None else known[0] - told[0]
        if told is None or at_work != told[1] or made is not self._last:
            self._last, self._views = made, views
            return projection.operations()
        if new and all(key.startswith(_OF_FINALISTS) for key in new):  # one an epoch
            return projection.finalists()
        if new:
            self._views = views
            return projection.operations()
        before, self._views = self._views, views
        # Trials that run are read anew each time, also where nothing was written to them.
        numbers = [n for n in changed(views, before) if views[n : n + 1] != before[n : n + 1]]
        return [one for number in numbers for one in projection.trial(views[number])]


def found_on_disk(
    file: StudyFile, attributes: Mapping[str, Any], dataset: Dataset | None = None
) -> Made:
    """Return the study's own dataset and teachers, those that still lie where they lay.

    A `dataset` that is given is not looked for.
    """
    workspace = file.workspace.absolute()
    dataset = dataset or _dataset(file, attributes)
    if dataset is None:
        return Made(workspace=workspace)
    digests = {role: one.digest for role, one in teachers_of(attributes).items()}
    folders: Mapping[str, str] = attributes.get("teachers", {})
    found = {role: _teacher(workspace / "teachers" / name) for role, name in folders.items()}
    teachers = {role: one for role, one in found.items() if one is not None}
    if {role: one.digest for role, one in teachers.items()} != digests:
        return Made(workspace=workspace, dataset=dataset)
    return Made(workspace=workspace, dataset=dataset, teachers=teachers)


def _dataset(file: StudyFile, attributes: Mapping[str, Any]) -> Dataset | None:
    try:
        dataset = Dataset.open(file.dataset)
    except (RefKDError, OSError):
        return None
    return dataset if dataset.fingerprint == attributes.get("dataset") else None


def _teacher(folder: Path) -> Teacher | None:
    try:
        return find_teacher(folder)
    except RefKDError:
        return None


def _events(attributes: Mapping[str, Any]) -> frozenset[str]:
    """Return which events a study holds: none of them ever changes."""
    return frozenset(k for k, v in attributes.items() if isinstance(v, dict) and STAMP in v)
