"""Whether MLflow holds what it should hold of the study, and how it is made to."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from tune.audit.findings import Finding
from tune.config.urls import resolve, scrub
from tune.study.events import teachers_of
from tune.study.snapshot import StudySnapshot
from tune.study.stored_study import identity_of
from tune.study.view import ENDED_STATES
from tune.tracking.delivery import REFUSED, Listed
from tune.tracking.operations import (
    STUDY_RUN,
    EndRun,
    KeepModel,
    LinkInputs,
    LogEpoch,
    Operation,
    trial_key,
)
from tune.tracking.projection import Projection
from tune.tracking.record import CLOSE_SECONDS
from tune.tracking.source import found_on_disk
from tune.tracking.target import Target, client_settings, target_of

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

    from tune.study.view import TrialView

PAGE = 1000
_ALIKE = partial(math.isclose, rel_tol=1e-9, abs_tol=1e-12)
NOBODY = "unknown"
"""Identity of a study that was never sent anywhere: no run bears it."""


@dataclass(frozen=True, kw_only=True)
class _Held:
    """What a server holds of a study."""

    client: MlflowClient
    experiment: str
    runs: Mapping[str, Sequence[Run]]
    """By key, the fullest and oldest of each first."""
    models: set[str]
    """Digests of those that are whole."""


def record(study: StudySnapshot) -> Iterator[Finding]:
    """Everything about the MLflow record of a study, unless tracking is switched off."""
    identity = identity_of(study.attributes)
    target = target_of(study.file, identity or NOBODY)
    begun = any(view.state in (*ENDED_STATES, "RUNNING") for view in study.trials)
    if target is None or not begun:
        return
    if identity is None:
        yield Finding(
            check="delivery",
            what="nothing of the study was ever sent to MLflow",
            remedy=f"send it: `refkd sync {study.path}`",
        )
        return
    made = found_on_disk(study.file, study.attributes)
    wanted = Projection(study.file, study.attributes, study.trials, made).operations()
    with client_settings():
        yield from _against(study, target, wanted)


def _against(
    study: StudySnapshot, target: Target, wanted: Sequence[Operation]
) -> Iterator[Finding]:
    waiting = target.cursor().pending(wanted)
    if waiting:
        yield Finding(
            check="delivery",
            what=f"{len(waiting)} events have not reached MLflow",
            remedy="send them",
            fix=partial(write, target, waiting),
        )
    if (target.folder / REFUSED).is_file():
        yield Finding(
            check="delivery",
            what=f"{target.folder / REFUSED}: MLflow refused events",
            remedy="read the reasons there; remove the file once they are dealt with",
        )
    yield from _against_store(study, target, wanted)


def write(target: Target, operations: Iterable[Operation], *, again: bool = False) -> None:
    """Bring the server to some operations; `again` also where it seems to have them."""
    cursor = target.cursor()
    if again:
        operations = list(operations)
        cursor.forget(operations)
    target.delivery(lambda: Listed(operations), cursor).close(CLOSE_SECONDS)


def _against_store(
    study: StudySnapshot, target: Target, wanted: Sequence[Operation]
) -> Iterator[Finding]:
    from mlflow import MlflowClient
    from mlflow.exceptions import MlflowException

    client = MlflowClient(tracking_uri=resolve(target.uri))
    try:
        held = _held(client, target, study.file.name)
    except MlflowException as error:
        yield Finding(
            check="record",
            what=f"MLflow does not answer: {scrub(str(error), target.uri).splitlines()[0][:200]}",
            remedy="start the tracking server, then ask the doctor again",
        )
        return
    if held is None:
        yield Finding(
            check="record",
            what=f"MLflow has no experiment {target.experiment!r}",
            remedy="make it and send everything again",
            fix=partial(write, target, wanted, again=True),
        )
        return
    by_run: dict[str, list[Operation]] = defaultdict(list)
    for one in wanted:
        by_run[one.run].append(one)
    yield from _duplicates(target, held)
    yield from _study_run(target, held, wanted)
    yield from _teacher_runs(study, target, held, wanted)
    for view in study.ended():
        operations = by_run.get(trial_key(view.number), [])
        yield from _trial_run(study, target, held, view, operations)


def _held(client: MlflowClient, target: Target, study: str) -> _Held | None:
    """Return what the server holds; None where it has no such experiment."""
    experiment = client.get_experiment_by_name(target.experiment)
    if experiment is None or experiment.lifecycle_stage == "deleted":
        return None
    key = experiment.experiment_id
    runs, models = _runs(client, key, target.owner), _models(client, key, target.owner, study)
    return _Held(client=client, experiment=key, runs=runs, models=models)


def _duplicates(target: Target, held: _Held) -> Iterator[Finding]:
    from tune.tracking.writer import find_run

    for key, found in sorted(held.runs.items()):
        if len(found) > 1:
            label = f"{target.owner}/{key}"
            yield Finding(
                check="duplicate",
                what=f"{key} has {len(found)} runs in MLflow",
                remedy="keep the fullest, of equals the oldest, and delete the others",
                fix=partial(find_run, held.client, held.experiment, label),
            )


def _study_run(target: Target, held: _Held, wanted: Sequence[Operation]) -> Iterator[Finding]:
    found, ends = held.runs.get(STUDY_RUN, []), [o for o in wanted if isinstance(o, EndRun)]
    end = next((one for one in ends if one.run == STUDY_RUN), None)
    if not found:
        yield _missing("the study", target, wanted)
    elif found[0].info.status == "RUNNING" and end is not None:
        yield Finding(
            check="status",
            what="the study's run is RUNNING in MLflow, but no driver is",
            remedy=f"close it as {end.status}",
            fix=partial(write, target, [end], again=True),
        )


def _teacher_runs(
    study: StudySnapshot, target: Target, held: _Held, wanted: Sequence[Operation]
) -> Iterator[Finding]:
    for role, teacher in teachers_of(study.attributes).items():
        found = held.runs.get(f"teacher/{role}", [])
        if not found or found[0].info.status != "FINISHED":
            yield _missing(f"teacher {role}", target, wanted)
        elif teacher.digest not in held.models:
            yield _missing(f"teacher {role}", target, wanted, what="logged model")


def _trial_run(
    study: StudySnapshot, target: Target, held: _Held, view: TrialView, wanted: Sequence[Operation]
) -> Iterator[Finding]:
    """Compare the run of a trial that has ended with what it should be."""
    found = held.runs.get(trial_key(view.number), [])
    run = found[0] if found else None
    name = study.file.objectives[0]
    there = {} if run is None else _history(held.client, run, name)
    epochs = [one for one in wanted if isinstance(one, LogEpoch) and name in one.metrics]
    steps = {one.epoch: one.metrics[name] for one in epochs}
    lacking = sorted(set(steps) - set(there))
    mend = partial(write, target, wanted, again=True)
    end = next((one for one in wanted if isinstance(one, EndRun)), None)
    if run is None or lacking:
        what = "no run" if run is None else f"a run without the epochs {lacking}"
        yield Finding(
            check="steps",
            what=f"trial {view.number} has {what} in MLflow",
            remedy="log what the study holds",
            fix=mend,
        )
    elif end is not None and run.info.status != end.status:
        yield Finding(
            check="status",
            what=f"trial {view.number} is {view.state}, its run in MLflow {run.info.status}",
            remedy=f"close it as {end.status}",
            fix=mend,
        )
    elif unlinked := _unlinked(run, wanted, held.models):
        yield Finding(
            check="lineage",
            what=f"trial {view.number}: {unlinked}",
            remedy="write what the study and its folder hold",
            fix=mend,
        )
    wrong = sorted(e for e in set(steps) & set(there) if not _ALIKE(steps[e], there[e]))
    if wrong:
        yield Finding(
            check="steps",
            what=f"trial {view.number}: MLflow and the study differ in {name} of epochs {wrong}",
            remedy="the study is right: delete the run, purge it with `mlflow gc`, then run "
            f"`refkd doctor {study.path} --fix`",
        )


def _unlinked(run: Run, wanted: Sequence[Operation], models: set[str]) -> str | None:
    """Return what MLflow lacks of a trial's teachers and its student, where it can be told."""
    from tune.tracking.links import NOTE

    if any(isinstance(one, LinkInputs) and one.models for one in wanted) and (
        NOTE not in run.data.tags
    ):
        return "its run in MLflow names no teachers"
    if any(isinstance(one, KeepModel) and one.sha256 not in models for one in wanted):
        return "its student is no logged model in MLflow"
    return None


def _missing(
    who: str, target: Target, wanted: Sequence[Operation], *, what: str = "finished run"
) -> Finding:
    return Finding(
        check="record",
        what=f"{who} has no {what} in MLflow",
        remedy="send everything again",  # what it made goes into other runs
        fix=partial(write, target, wanted, again=True),
    )


def _runs(client: MlflowClient, experiment: str, owner: str) -> dict[str, list[Run]]:
    """Return the study's runs by their keys, the fullest and oldest of each first."""
    from tune.tracking.writer import RUN_TAG

    found: dict[str, list[Run]] = defaultdict(list)
    token: str | None = None
    while token is None or token:
        page = client.search_runs(
            [experiment], f"tags.`{RUN_TAG}` LIKE '{owner}/%'", max_results=PAGE, page_token=token
        )
        for run in page:
            found[run.data.tags[RUN_TAG].removeprefix(f"{owner}/")].append(run)
        token = page.token or ""
    for runs in found.values():
        runs.sort(key=lambda r: (-len(r.data.metrics), r.info.start_time, r.info.run_id))
    return found


def _models(client: MlflowClient, experiment: str, owner: str, study: str) -> set[str]:
    """Return the digests of the study's models that MLflow keeps."""
    from mlflow.entities import LoggedModelStatus

    from tune.tracking.writer import MODEL_TAG

    asked = f"tags.`refkd.study_name` = '{study}'"
    found: set[str] = set()
    token: str | None = None
    while token is None or token:
        page = client.search_logged_models([experiment], filter_string=asked, page_token=token)
        ready = [model for model in page if model.status == LoggedModelStatus.READY]
        found |= {model.tags.get(MODEL_TAG, "").removeprefix(f"{owner}/") for model in ready}
        token = page.token or ""
    return found


def _history(client: MlflowClient, run: Run, name: str) -> dict[int, float]:
    """Return what a run holds of an objective, by epoch: all metrics of one go together."""
    history = client.get_metric_history(run.info.run_id, name)
    return {point.step: point.value for point in history}


RECORD_CHECKS = (record,)
