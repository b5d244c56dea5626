"""Whether MLflow holds what it should hold of a study, and the operations that write the rest."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from tune.audit.findings import Finding
from tune.config.urls import scrub
from tune.study.snapshot import StudySnapshot
from tune.study.stored_study import identity_of
from tune.study.view import ENDED_STATES
from tune.tracking.lineage import found_on_disk
from tune.tracking.operations import (
    NOTE_TAG,
    STUDY_RUN,
    EndRun,
    KeepModel,
    LinkInputs,
    LogEpoch,
    Operation,
)
from tune.tracking.projection import Projection
from tune.tracking.record import CLOSE_SECONDS
from tune.tracking.target import Target, client_settings, target_of

if TYPE_CHECKING:
    from mlflow.entities import Run

    from tune.tracking.store import Store

_ALIKE = partial(math.isclose, rel_tol=1e-9, abs_tol=1e-12)


def record(study: StudySnapshot) -> Iterator[Finding]:
    """Everything about the MLflow record of a study, unless tracking is switched off."""
    begun = any(view.state in (*ENDED_STATES, "RUNNING") for view in study.trials)
    if not study.file.tracking.enabled or not begun:
        return
    identity = identity_of(study.attributes)
    target = None if identity is None else target_of(study.file, identity)
    if target is None:
        yield Finding(
            check="delivery",
            what="nothing of the study was ever sent to MLflow",
            remedy=f"send it: `refkd sync {study.path}`",
        )
        return
    lineage = found_on_disk(study.file, study.attributes)
    wanted = Projection(study.file, study.attributes, study.trials, lineage).operations()
    waiting = target.cursor().pending(wanted)
    if waiting:
        yield Finding(
            check="delivery",
            what=f"{len(waiting)} events have not reached MLflow",
            remedy="send them",
            fix=partial(target.send, waiting, CLOSE_SECONDS),
        )
    if target.refused.is_file():
        yield Finding(
            check="delivery",
            what=f"{target.refused}: MLflow refused events",
            remedy="read the reasons there; remove the file once they are dealt with",
        )
    with client_settings():
        yield from _against_store(study, target, wanted)


def _against_store(
    study: StudySnapshot, target: Target, wanted: Sequence[Operation]
) -> Iterator[Finding]:
    from mlflow.exceptions import MlflowException

    from tune.tracking.store import Store

    try:
        store = Store.find(target)
        runs = {} if store is None else store.runs()
        models = set() if store is None else store.models()
    except MlflowException as error:
        yield Finding(
            check="record",
            what=f"MLflow does not answer: {scrub(str(error), target.uri).splitlines()[0][:200]}",
            remedy="start the tracking server, then ask the doctor again",
        )
        return
    if store is None:
        yield Finding(
            check="record",
            what=f"MLflow has no experiment {target.experiment!r}",
            remedy="make it and send everything again",
            fix=partial(target.send, wanted, CLOSE_SECONDS, again=True),
        )
        return
    for key, found in sorted(runs.items()):
        if len(found) > 1:
            yield Finding(
                check="duplicate",
                what=f"{key} has {len(found)} runs in MLflow",
                remedy="keep the fullest, of equals the oldest, and delete the others",
                fix=partial(store.run, key),
            )
    of_run: dict[str, list[Operation]] = defaultdict(list)
    for one in wanted:
        of_run[one.run].append(one)
    held = {key: found[0] for key, found in runs.items()}
    comparison = _Comparison(
        study=study, target=target, store=store, wanted=of_run, runs=held, models=models
    )
    for key in [STUDY_RUN, *(key for key in of_run if key != STUDY_RUN)]:
        is_student = key.startswith(("trial/", "finalist/"))
        yield from comparison.of_student(key) if is_student else comparison.of_other(key)


@dataclass(frozen=True, kw_only=True)
class _Comparison:
    """What a store holds of a study, and the operations that say what it should hold."""

    study: StudySnapshot
    target: Target
    store: Store
    wanted: Mapping[str, Sequence[Operation]]
    """By run."""
    runs: Mapping[str, Run]
    """By key."""
    models: set[str]
    """Digests of those that are complete."""

    def of_other(self, key: str) -> Iterator[Finding]:
        """Compare the study's own run, or a teacher's, which students refer to."""
        run, end = self.runs.get(key), self._end(key)
        own, lacks = key == STUDY_RUN, None
        if run is None or (not own and run.info.status != "FINISHED"):
            lacks = "finished run"
        elif self._lacks_model(key):
            lacks = "logged model"
        if lacks is not None:
            everything = [one for operations in self.wanted.values() for one in operations]
            what, remedy = f"{_named(key)} has no {lacks} in MLflow", "send everything again"
            yield self._finding("record", what, remedy, everything)
        elif own and run is not None and run.info.status == "RUNNING" and end is not None:
            what = "the study's run is RUNNING in MLflow, but no driver is"
            yield self._finding("status", what, f"close it as {end.status}", [end])

    def of_student(self, key: str) -> Iterator[Finding]:
        """Compare the run of a trial or a finalist that has ended."""
        run, end, wanted = self.runs.get(key), self._end(key), self.wanted[key]
        if end is None:
            return
        who, name = _named(key), self.study.file.objectives[0]
        there: dict[int, float] = {}
        if run is not None:  # all metrics of an epoch are written together, so one is compared
            history = self.store.client.get_metric_history(run.info.run_id, name)
            there = {point.step: point.value for point in history}
        epochs = [one for one in wanted if isinstance(one, LogEpoch) and name in one.metrics]
        steps = {one.epoch: one.metrics[name] for one in epochs}
        lacking = sorted(set(steps) - set(there))
        taught = any(isinstance(one, LinkInputs) and one.models for one in wanted)
        unlinked = "its student is no logged model in MLflow" if self._lacks_model(key) else None
        if run is not None and taught and NOTE_TAG not in run.data.tags:
            unlinked = "its run in MLflow names no teachers"
        if run is None or lacking:
            lacks = "no run" if run is None else f"a run without the epochs {lacking}"
            what = f"{who} has {lacks} in MLflow"
            yield self._finding("steps", what, "log what the study holds", wanted)
        elif run.info.status != end.status:
            state = end.tags["refkd.state"]
            what = f"{who} is {state}, its run in MLflow {run.info.status}"
            yield self._finding("status", what, f"close it as {end.status}", wanted)
        elif unlinked is not None:
            remedy = "write what the study and its folder hold"
            yield self._finding("lineage", f"{who}: {unlinked}", remedy, wanted)
        wrong = sorted(e for e in set(steps) & set(there) if not _ALIKE(steps[e], there[e]))
        if wrong:
            yield Finding(
                check="steps",
                what=f"{who}: MLflow and the study differ in {name} of epochs {wrong}",
                remedy="the study is right: delete the run, purge it with `mlflow gc`, then run "
                f"`refkd doctor {self.study.path} --fix`",
            )

    def _lacks_model(self, key: str) -> bool:
        made = (one for one in self.wanted.get(key, ()) if isinstance(one, KeepModel))
        return any(one.sha256 not in self.models for one in made)

    def _end(self, key: str) -> EndRun | None:
        ends = (one for one in self.wanted.get(key, ()) if isinstance(one, EndRun))
        return next(ends, None)

    def _finding(
        self, check: str, what: str, remedy: str, operations: Sequence[Operation]
    ) -> Finding:
        fix = partial(self.target.send, operations, CLOSE_SECONDS, again=True)
        return Finding(check=check, what=what, remedy=remedy, fix=fix)


def _named(key: str) -> str:
    """Return what a run is called in a finding.

    >>> _named("study"), _named("teacher/id"), _named("trial/0003"), _named("finalist/0003/seed-1")
    ('the study', 'teacher id', 'trial 3', 'finalist 3, seed 1')
    """
    if key == STUDY_RUN:
        return "the study"
    kind, _, rest = key.partition("/")
    which, _, seed = rest.partition("/seed-")
    who = f"{kind} {int(which) if which.isdigit() else which}"
    return f"{who}, seed {seed}" if seed else who


RECORD_CHECKS = (record,)
