"""Reading what is new in a study, for its record in MLflow."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import chain
from typing import TYPE_CHECKING

from refkd.data.dataset import Dataset
from tune.config.study_file import StudyFile
from tune.study.events import teachers_of
from tune.study.finalist_events import FinalistEpochEnded, FinalistTrained
from tune.study.foreign import MARK, Recogniser
from tune.study.lease import Driver, is_followed
from tune.study.view import STAMP, TrialView, ViewCache, changed
from tune.tracking import operations as op
from tune.tracking.lineage import Lineage, found_on_disk
from tune.tracking.projection import Projection

if TYPE_CHECKING:
    import optuna

_OF_FINALISTS = (FinalistEpochEnded.PREFIX, FinalistTrained.PREFIX)


class StudySource:
    """Reads a study over a connection of its own; only what has changed is projected again."""

    def __init__(
        self,
        file: StudyFile,
        study: optuna.Study,
        dataset: Dataset | None = None,
        at_work: Callable[[], bool] = lambda: False,
        holder: Driver | None = None,
    ) -> None:
        """`at_work` is called each time that the study is read.

        Once another driver than the holder of the lease has the study, nothing is new: it sends.
        """
        self._file, self._study = file, study
        self._dataset, self._at_work = dataset, at_work
        self._lineage = Lineage(workspace=file.workspace)
        self._cache = ViewCache(Recogniser(study.user_attrs.get(MARK)))
        self._views: Sequence[TrialView] = []
        self._events: frozenset[str] = frozenset()
        self._situation: tuple[dict[str, str], bool] | None = None
        self._holder = holder

    def news(self) -> Sequence[op.Operation]:
        """Return the operations of what has changed since the last call, all of them at first."""
        # Asked before the study is read: without a driver at work, what is read is the last state.
        at_work, attributes = self._at_work(), self._study.user_attrs
        if is_followed(self._holder, attributes):
            return []
        views = self._cache.views(self._study.get_trials(deepcopy=False))
        situation = {role: one.digest for role, one in teachers_of(attributes).items()}, at_work
        same, self._situation = situation == self._situation, situation
        if not same:
            self._lineage = found_on_disk(self._file, attributes, self._dataset)
        projection = Projection(self._file, attributes, views, self._lineage, at_work=at_work)
        # An event never changes once it is stored.
        events = frozenset(k for k, v in attributes.items() if isinstance(v, dict) and STAMP in v)
        new, self._events = events - self._events, events
        before, self._views = self._views, views
        if not same or not all(key.startswith(_OF_FINALISTS) for key in new):
            return projection.operations()
        # Trials that run are read anew each time, also where nothing was written to them.
        numbers = [n for n in changed(views, before) if views[n : n + 1] != before[n : n + 1]]
        trials = chain.from_iterable(projection.trial(views[number]) for number in numbers)
        return [*trials, *(projection.finalists() if new else [])]  # one event an epoch
