"""What MLflow should hold of a study: a function of its events and files, times included."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from functools import cache
from itertools import chain, product
from pathlib import Path
from typing import Any

from tune.config.search_spec import signs_of
from tune.config.space import flat
from tune.config.study_file import StudyFile
from tune.study.budget import trials_left
from tune.study.environment import Environment
from tune.study.event_base import study_events
from tune.study.finalist_events import FinalistEpochEnded, FinalistsBegun, FinalistTrained
from tune.study.folders import finalist_folder, trial_folder
from tune.study.launch import read_launches
from tune.study.ranking import current, hypervolume
from tune.study.summary import summarise
from tune.study.view import ASKED, FOREIGN, TrialView
from tune.tracking import operations as op
from tune.tracking.lineage import Lineage
from tune.tracking.views import VIEWS, view_key, view_of

CAVEATS_TAG = "refkd.marks"
"""Tag of runs and models: why their scores are not to be taken at face value."""
STATUS: Mapping[str, op.Status] = {
    "COMPLETE": "FINISHED",
    "PRUNED": "KILLED",
    "FAIL": "FAILED",
    FOREIGN: "KILLED",
}
"""MLflow's status of a run for each state in which a trial ends: who asks for `FINISHED` runs gets
those that have the scores of a whole training. The tag `refkd.state` is the state itself."""
Curve = dict[int, tuple[float, Mapping[str, float]]]
"""Time in seconds and metrics by epoch."""


class Projection:
    """A study at one moment, and what MLflow should hold of it."""

    def __init__(
        self,
        file: StudyFile,
        attributes: Mapping[str, Any],
        views: Sequence[TrialView],
        lineage: Lineage,
        *,
        at_work: bool = False,
    ) -> None:
        """`attributes` are the study's own; `at_work` says whether a driver is running."""
        self._file, self._attributes, self._views = file, attributes, views
        self._lineage, self._at_work = lineage, at_work
        self._launches = {one.number: one for one in read_launches(attributes)}
        self._file_of = cache(lambda launch: self._launches[launch].study_file())
        """The study file of a launch, checked once."""

    def operations(self) -> list[op.Operation]:
        """Return all of it: the study's run, teachers, trials, finalists."""
        trials = chain.from_iterable(map(self.trial, self._views))
        return [*self._study(), *trials, *self.finalists(), *self._end()]

    def _study(self) -> Iterator[op.Operation]:
        """Yield the study's own run, still open, and those of its teachers."""
        if not self._launches:
            return
        first, last = self._launches[min(self._launches)], self._launches[max(self._launches)]
        finals = study_events(self._attributes, FinalistsBegun)
        code = finals[-1].environment if finals else last.environment
        begun = max([last.begun, *(one.begun for one in finals)])
        launched = datetime.fromtimestamp(begun, UTC)
        file = self._file_of(last.number)
        settings = file.model_dump(mode="json", by_alias=True, exclude_defaults=True)
        dataset = self._lineage.dataset
        yield op.BeginRun(
            run=op.STUDY_RUN,
            time=op.milliseconds(first.begun),
            name=file.name,
            params=op.as_text(flat(settings)),
            tags={
                **self._tags(file, code),
                "refkd.launched": launched.isoformat(timespec="milliseconds"),
                "refkd.study": file.name,
                "refkd.role": "study",
            },
            datasets=[] if dataset is None else [self._lineage.data],
        )
        for view in VIEWS:
            name = view_key(file.name, view)
            content, at = view_of(file, view), op.milliseconds(begun)
            yield op.KeepView(run=op.STUDY_RUN, time=at, name=name, content=content)
        paths = [self._file.folder / "study.yaml"]
        paths += [] if dataset is None else [dataset.path / "manifest.json"]
        for path in paths:
            if path.is_file():
                yield op.kept_file(op.STUDY_RUN, path, None, at=begun)
        if dataset is not None:
            tags = self._tags(self._file_of(first.number), first.environment)
            for role in self._lineage.teachers:
                yield from self._lineage.teacher(role, tags)

    def _end(self) -> Iterator[op.Operation]:
        """Yield the end of the study's run, unless a driver is at work."""
        if self._at_work or not self._launches:
            return
        launches = self._launches.values()
        seconds = sum(one.last - one.begun for one in launches)
        waiting = any(view.state == "WAITING" for view in self._views)
        done = not waiting and not trials_left(self._file, self._views, lambda: seconds)
        times = [stamp.time for view in self._views for stamp in view.stamps.values()]
        yield op.EndRun(
            run=op.STUDY_RUN,
            time=op.milliseconds(max([*times, *(one.last for one in launches)])),
            status="FINISHED" if done else "KILLED",
            metrics=dict(self._summary()),
        )

    def _summary(self) -> Iterator[tuple[str, float]]:
        """Yield what the study has found and used as a whole, as metrics of its run.

        What is known by the end of the search itself: champions are scored after it was told.
        """
        known = summarise(self._file.name, self._views, self._attributes)
        names, signs = self._file.objectives, signs_of(self._file.objectives, self._file.minimize)
        gains = [
            [s * x for s, x in zip(signs, view.objectives, strict=True)]
            for view in current(self._views)
            if view.objectives and view.feasible
        ]
        if gains:
            columns = zip(*gains, strict=True)
            for name, sign, column in zip(names, signs, columns, strict=True):
                yield f"best/{name}", sign * max(column)
            yield "hypervolume", hypervolume(gains)
        for state in ("COMPLETE", "PRUNED", "FAIL"):
            yield f"trials/{state.lower()}", float(known.cost.trials.get(state, 0))
        yield "cost/epochs", float(known.cost.epochs)
        yield "cost/cpu_seconds", known.cost.cpu_seconds + known.cost.teacher_cpu_seconds

    def trial(self, view: TrialView) -> Iterator[op.Operation]:
        """Yield the run of a trial that was begun, as far as it has come."""
        if ASKED not in view.stamps:
            return
        asked = view.stamps[ASKED]
        launch = self._launches.get(asked.launch)
        file = self._file if launch is None else self._file_of(launch.number)
        tags = {
            **self._tags(file, None if launch is None else launch.environment),
            "refkd.trial": str(view.number),
            "refkd.role": "student",
            "refkd.attempt": str(view.attributes.get("attempt", 1)),
        }
        if view.continues:
            tags["refkd.continues"] = str(view.attributes["continues"])
        if view.retries is not None:
            tags["refkd.retries"] = str(view.retries)
        begun = op.BeginRun(
            run=op.trial_key(view.number),
            time=op.milliseconds(asked.time),
            name=f"trial-{view.number:04d}",
            params=op.as_text(view.values),
            tags=tags,
        )
        settings = {**file.fixed(), **view.values}
        curve: Curve = {e: (view.time_of(e), metrics) for e, metrics in view.curve.items()}
        end, complete = None, view.state == "COMPLETE"
        if view.state in STATUS:
            kept = view.kept if complete else {}
            last = max(stamp.time for stamp in view.stamps.values())
            end = _end(begun.run, view.ended or last, view.state, view.reason, kept)
        folder = trial_folder(self._file.folder, view.number) if complete else None
        yield from self._student(begun, settings, curve, end, folder, seeds=view.seeds)

    def finalists(self) -> Iterator[op.Operation]:
        """Yield the runs of students on fresh seeds, each below its trial's."""
        curves: dict[tuple[int, int], Curve] = defaultdict(dict)
        epochs = study_events(self._attributes, FinalistEpochEnded)
        for one in sorted(epochs, key=lambda one: one.epoch):
            curves[one.trial, one.replicate][one.epoch] = (one.at, one.metrics)
        results = study_events(self._attributes, FinalistTrained)
        ended = {(one.trial, one.replicate): one for one in results}
        calls: dict[tuple[int, int], FinalistsBegun] = {}
        for call in study_events(self._attributes, FinalistsBegun):
            for place in product(call.trials, range(len(call.seeds))):
                calls.setdefault(place, call)
        values_of = {view.number: view.values for view in self._views}
        for number, replicate in sorted(calls):
            call, curve = calls[number, replicate], curves[number, replicate]
            values = {**values_of.get(number, {}), "seed": call.seeds[replicate]}
            begun = op.BeginRun(
                run=op.finalist_key(number, replicate),
                time=op.milliseconds(call.begun),
                name=f"finalist-{number:04d}-seed-{replicate}",
                params=op.as_text(values),
                tags={
                    **self._tags(self._file, call.environment, "refkd finalists"),
                    "refkd.finalist_of": str(number),
                    "refkd.role": "finalist",
                },
                parent=op.trial_key(number),
            )
            end, result = None, ended.get((number, replicate))
            if result is not None:
                last = curve[max(curve)][0] if curve else call.begun
                state = "FAIL" if result.failed else "COMPLETE"
                end = _end(begun.run, last, state, result.failed, result.metrics)
            folder = finalist_folder(self._file.folder, number, replicate)
            settings = {**self._file.fixed(), **values}
            yield from self._student(begun, settings, curve, end, folder)

    def _student(
        self,
        begun: op.BeginRun,
        settings: Mapping[str, Any],
        curve: Curve,
        end: op.EndRun | None,
        folder: Path | None,
        *,
        seeds: int = 1,
    ) -> Iterator[op.Operation]:
        """Yield the run of a student; `folder` holds it once it is trained.

        Searched values are parameters; `settings`, those that all trials share too, are a file.
        """
        begun = replace(
            begun,
            tags={**begun.tags, **self._lineage.tags()},
            datasets=self._lineage.inputs(),
            models=[teacher.digest for teacher in self._lineage.teachers.values()],
        )
        yield begun
        epochs = {
            epoch: op.LogEpoch(
                run=begun.run, time=op.milliseconds(at), epoch=epoch, metrics=metrics
            )
            for epoch, (at, metrics) in curve.items()
        }
        yield from epochs.values()
        if end is not None:
            if folder is not None:
                means = end.metrics if seeds > 1 else {}
                yield from self._lineage.student(
                    begun, folder, epochs, ended=end.time, means=means
                )
            # Last: epochs reach a server whose store of files is away.
            yield op.KeepSettings(run=begun.run, time=end.time, values=settings)
            yield end

    def _tags(
        self, file: StudyFile, code: Environment | None, command: str = "refkd search"
    ) -> dict[str, str]:
        """Return the tags by which runs and models of a launch are found."""
        dataset, known = self._lineage.dataset, self._attributes.get("dataset", "unknown")
        named = {} if dataset is None else {"refkd.dataset": dataset.name}
        return {
            "refkd.study_name": file.name,
            **named,
            "refkd.dataset_fingerprint": known if dataset is None else dataset.fingerprint,
            "refkd.seed": str(file.seed),
            **caveats_tag(file),
            **({} if code is None else code.tags(command)),
        }


def caveats_tag(file: StudyFile) -> dict[str, str]:
    """Return the tag that warns of leakage and reconstructions; nothing where there are none."""
    caveats = file.caveats()
    return {CAVEATS_TAG: "; ".join(caveats)} if caveats else {}


def _end(
    run: str, at: float, state: str, reason: str | None, kept: Mapping[str, float]
) -> op.EndRun:
    """Return the end of a student's run; `kept` are the metrics of its kept weights."""
    tags = {"refkd.state": state, **({"refkd.reason": reason} if reason else {})}
    scores = op.kept_scores(kept)
    return op.EndRun(
        run=run, time=op.milliseconds(at), status=STATUS[state], tags=tags, metrics=scores
    )
