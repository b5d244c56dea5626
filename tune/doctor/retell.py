"""Telling MLflow again what it should have known: from the spool, or from the study itself."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from tune.record.record import (
    CLOSE_SECONDS,
    artifact_root,
    experiment_name,
    tracking_uri,
    trial_key,
)
from tune.record.spool import Event, Kind, Spool
from tune.record.tracking import Tracker, client_settings, owner_of, target_of

if TYPE_CHECKING:
    from tune.doctor.findings import Case
    from tune.study.view import TrialView

STATUS = {"COMPLETE": "FINISHED", "PRUNED": "FINISHED", "FAIL": "FAILED"}
"""MLflow's word for each way in which a trial ends."""


def drain(case: Case, spool: Spool, *, again: bool) -> None:
    """Send what the spool holds, from its mark on or from the start: all of it bears repeating."""
    uri, experiment = tracking_uri(case.file), experiment_name(case.file)
    if again and uri is not None:
        spool.set_mark(target_of(uri, experiment), 0)
    root = artifact_root(case.file)
    name = case.file.name
    Tracker(uri, experiment, spool.folder, study=name, artifact_root=root).close(CLOSE_SECONDS)


def retell(case: Case, spool: Spool, view: TrialView, epochs: Sequence[int], is_new: bool) -> None:
    """Write to MLflow what the study holds of a trial that has ended."""
    from tune.record.sender import Sender

    def event(kind: Kind, seconds: float, **body: Any) -> Event:
        return Event(kind=kind, run=key, time=round(1000 * seconds), body=body)

    key, stamps = trial_key(view.number), view.stamps
    end = stamps["ended"].time if "ended" in stamps else max(s.time for s in stamps.values())
    events = [
        event("epoch", view.time_of(epoch), step=epoch, metrics=view.curve[epoch])
        for epoch in epochs
    ]
    if is_new:
        begun = stamps["asked"].time if "asked" in stamps else end
        told = {"params": _params(case, view), "tags": _tags(case, view)}
        events.insert(0, event("run", begun, name=f"trial-{view.number:04d}", **told))
    tags = {"refkd.state": view.state, **({"refkd.reason": view.reason} if view.reason else {})}
    events.append(event("end", end, status=STATUS[view.state], tags=tags, metrics=_kept(view)))
    uri, owner = tracking_uri(case.file), owner_of(spool, case.file.name)
    assert uri is not None
    with client_settings():
        root, experiment = artifact_root(case.file), experiment_name(case.file)
        sender = Sender(uri, experiment, owner=owner, artifact_root=root)
        for told_event in events:
            sender.send(told_event)


def _params(case: Case, view: TrialView) -> dict[str, str]:
    values = {**case.file.fixed(), **view.values}
    return {k: v if isinstance(v, str) else json.dumps(v) for k, v in values.items()}


def _kept(view: TrialView) -> dict[str, float]:
    """Return the scores that a complete trial is judged by, under the record's names."""
    kept = view.kept if view.state == "COMPLETE" else {}
    return {f"kept/{name}": value for name, value in kept.items() if name.startswith("val_")}


def _tags(case: Case, view: TrialView) -> dict[str, str]:
    tags = {
        "refkd.study_name": case.file.name,
        "refkd.dataset_fingerprint": str(case.attributes.get("dataset", "unknown")),
        "refkd.seed": str(case.file.seed),
        "refkd.trial": str(view.number),
        "refkd.role": "student",
        "refkd.attempt": str(view.attributes.get("attempt", 1)),
    }
    if "continues" in view.attributes:
        tags["refkd.continues"] = str(view.attributes["continues"])
    results: Mapping[str, Any] = case.attributes.get("teacher_results", {})
    return tags | {f"refkd.teacher_{role}": facts["digest"] for role, facts in results.items()}
