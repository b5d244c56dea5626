"""Whether MLflow holds what the study holds, and how it is made to."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING

from refkd.training.export import open_student, student_is_frozen
from tune.audit.findings import Finding
from tune.audit.retell import ancestors, drain, retell
from tune.config.urls import resolve, scrub
from tune.study.events import teachers_of
from tune.study.folders import trial_folder
from tune.study.snapshot import StudySnapshot
from tune.study.view import ENDED_STATES
from tune.tracking.record import STATUS, experiment_name, spool_folder, tracking_uri, trial_key
from tune.tracking.spool import STUDY_RUN, Spool
from tune.tracking.tracker import client_settings, owner_of, target_of

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

    from tune.study.view import TrialView

PAGE = 1000
_ALIKE = partial(math.isclose, rel_tol=1e-9, abs_tol=1e-12)

Runs = Mapping[str, Sequence["Run"]]


def record(study: StudySnapshot) -> Iterator[Finding]:
    """Everything about the MLflow record of a study, unless tracking is switched off."""
    uri = tracking_uri(study.file)
    begun = any(view.state in (*ENDED_STATES, "RUNNING") for view in study.trials)
    if uri is None or not begun:
        return
    if not (spool_folder(study.file) / "identity").is_file():
        yield Finding(
            check="spool",
            what=f"{spool_folder(study.file)}: the spool is gone, so the study's runs cannot be "
            "told from those of others",
            remedy="restore the folder from a copy, or search the study under another name",
        )
        return
    with client_settings():
        yield from _with_spool(study, uri, Spool(spool_folder(study.file)))


def _with_spool(study: StudySnapshot, uri: str, spool: Spool) -> Iterator[Finding]:
    experiment = experiment_name(study.file)
    waiting = len(spool.read(spool.mark(target_of(uri, experiment)), size=-1))
    if waiting:
        yield Finding(
            check="spool",
            what=f"{waiting} events in {spool.folder} have not reached MLflow",
            remedy="send them",
            fix=partial(drain, study, spool, again=False),
        )
    if spool.rejected.is_file():
        yield Finding(
            check="spool",
            what=f"{spool.rejected}: MLflow refused events",
            remedy="read the reasons there; remove the file once they are dealt with",
        )
    yield from _against_store(study, uri, spool)


def _against_store(study: StudySnapshot, uri: str, spool: Spool) -> Iterator[Finding]:
    from mlflow import MlflowClient
    from mlflow.exceptions import MlflowException

    client = MlflowClient(tracking_uri=resolve(uri))
    try:
        experiment = client.get_experiment_by_name(experiment_name(study.file))
        if experiment is not None and experiment.lifecycle_stage == "deleted":
            experiment = None
        runs = (
            None if experiment is None else _runs(client, experiment.experiment_id, study, spool)
        )
    except MlflowException as error:
        yield Finding(
            check="record",
            what=f"MLflow does not answer: {scrub(str(error), uri).splitlines()[0][:200]}",
            remedy="start the tracking server, then ask the doctor again",
        )
        return
    if experiment is None or runs is None:
        yield Finding(
            check="record",
            what=f"MLflow has no experiment {experiment_name(study.file)!r}",
            remedy="make it and send everything again",
            fix=partial(drain, study, spool, again=True),
        )
        return
    yield from _duplicates(client, experiment.experiment_id, study, spool, runs)
    yield from _study_run(client, study, spool, runs)
    models = _models(client, experiment.experiment_id, study, spool)
    yield from _teacher_runs(study, spool, runs, models)
    for view in study.ended():
        found = runs.get(trial_key(view.number), [])
        yield from _trial_run(client, study, spool, view, found, models)


def _duplicates(
    client: MlflowClient, experiment: str, study: StudySnapshot, spool: Spool, runs: Runs
) -> Iterator[Finding]:
    from tune.tracking.sender import find_run

    for key, found in sorted(runs.items()):
        if len(found) > 1:
            label = f"{owner_of(spool, study.file.name)}/{key}"
            yield Finding(
                check="duplicate",
                what=f"{key} has {len(found)} runs in MLflow",
                remedy="keep the fullest, of equals the oldest, and delete the others",
                fix=partial(find_run, client, experiment, label),
            )


def _study_run(
    client: MlflowClient, study: StudySnapshot, spool: Spool, runs: Runs
) -> Iterator[Finding]:
    found = runs.get(STUDY_RUN, [])
    if not found:
        yield _missing("the study", study, spool)
    elif found[0].info.status == "RUNNING":
        unfinished = any(view.state in ("RUNNING", "WAITING") for view in study.trials)
        few = len(study.ended()) < study.file.budget.trials
        status = "KILLED" if unfinished or few else "FINISHED"
        yield Finding(
            check="status",
            what="the study's run is RUNNING in MLflow, but no driver is",
            remedy=f"close it as {status}",
            fix=partial(client.set_terminated, found[0].info.run_id, status),
        )


def _teacher_runs(
    study: StudySnapshot, spool: Spool, runs: Runs, models: set[str]
) -> Iterator[Finding]:
    for role, teacher in teachers_of(study.attributes).items():
        found = runs.get(f"teacher/{role}", [])
        if not found or found[0].info.status != "FINISHED":
            yield _missing(f"teacher {role}", study, spool)
        elif teacher.digest not in models:
            yield _missing(f"teacher {role}", study, spool, what="logged model")


def _trial_run(
    client: MlflowClient,
    study: StudySnapshot,
    spool: Spool,
    view: TrialView,
    found: Sequence[Run],
    models: set[str],
) -> Iterator[Finding]:
    """Compare the run of a trial that has ended with its curve and its outcome."""
    run = found[0] if found else None
    held = {} if run is None else _history(client, run, study)
    name = study.file.objectives[0]
    steps = {e: metrics[name] for e, metrics in view.curve.items() if name in metrics}
    lacking = sorted(set(steps) - set(held))
    if run is None or lacking:
        what = "no run" if run is None else f"a run without the epochs {lacking}"
        yield Finding(
            check="steps",
            what=f"trial {view.number} has {what} in MLflow",
            remedy="log what the study holds",
            fix=partial(retell, study, spool, view, lacking or sorted(view.curve)),
        )
    elif run.info.status != STATUS[view.state]:
        yield Finding(
            check="status",
            what=f"trial {view.number} is {view.state}, its run in MLflow {run.info.status}",
            remedy=f"close it as {STATUS[view.state]}",
            fix=partial(retell, study, spool, view, []),
        )
    elif unlinked := _unlinked(study, view, run, models):
        yield Finding(
            check="lineage",
            what=f"trial {view.number}: {unlinked}",
            remedy="tell it what the study and its folder hold",
            fix=partial(retell, study, spool, view, []),
        )
    wrong = sorted(e for e in set(steps) & set(held) if not _ALIKE(steps[e], held[e]))
    if wrong:
        yield Finding(
            check="steps",
            what=f"trial {view.number}: MLflow and the study differ in {name} of epochs {wrong}",
            remedy="the study is right: delete the run, purge it with `mlflow gc`, then run "
            f"`refkd doctor {study.path} --fix`",
        )


def _unlinked(study: StudySnapshot, view: TrialView, run: Run, models: set[str]) -> str | None:
    """Return what MLflow lacks of a trial's teachers and its student, where it can be told."""
    from tune.tracking.links import NOTE

    if not teachers_of(study.attributes) or ancestors(study) is None:
        return None
    folder = trial_folder(study.folder, view.number)
    if NOTE not in run.data.tags:
        return "its run in MLflow names no teachers"
    kept = view.state == "COMPLETE" and student_is_frozen(folder)
    if kept and open_student(folder).record.sha256 not in models:
        return "its student is no logged model in MLflow"
    return None


def _missing(
    who: str, study: StudySnapshot, spool: Spool, *, what: str = "finished run"
) -> Finding:
    return Finding(
        check="record",
        what=f"{who} has no {what} in MLflow",
        remedy="send everything again",
        fix=partial(drain, study, spool, again=True),
    )


def _runs(client: MlflowClient, experiment: str, study: StudySnapshot, spool: Spool) -> Runs:
    """Return the study's runs by their keys, the fullest and oldest of each first."""
    from tune.tracking.sender import RUN_TAG

    owner = owner_of(spool, study.file.name)
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


def _models(client: MlflowClient, experiment: str, study: StudySnapshot, spool: Spool) -> set[str]:
    """Return the digests of the study's models that MLflow keeps."""
    from mlflow.entities import LoggedModelStatus

    from tune.tracking.sender import MODEL_TAG

    owner = owner_of(spool, study.file.name)
    asked = f"tags.`refkd.study_name` = '{study.file.name}'"
    found: set[str] = set()
    token: str | None = None
    while token is None or token:
        page = client.search_logged_models([experiment], filter_string=asked, page_token=token)
        ready = [model for model in page if model.status == LoggedModelStatus.READY]
        found |= {model.tags.get(MODEL_TAG, "").removeprefix(f"{owner}/") for model in ready}
        token = page.token or ""
    return found


def _history(client: MlflowClient, run: Run, study: StudySnapshot) -> dict[int, float]:
    """Return what a run holds of the first objective, by epoch: all metrics of one go together."""
    history = client.get_metric_history(run.info.run_id, study.file.objectives[0])
    return {point.step: point.value for point in history}


RECORD_CHECKS = (record,)
