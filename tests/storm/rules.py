"""What must hold of a study after any schedule of faults."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import optuna
from storm.driver import URL
from storm.server import Client, Tracked

from tune.audit.replay import replay
from tune.audit.study import curves, outcomes, running
from tune.audit.tampering import TAMPERING_CHECKS
from tune.audit.tracking import record
from tune.study.budget import reached, total
from tune.study.event_log import events
from tune.study.foreign import MARK, Recogniser
from tune.study.lease import DRIVER
from tune.study.locate import StudyPlace
from tune.study.snapshot import StudySnapshot
from tune.study.stored_study import identity_of
from tune.study.view import ENDED_STATES, STAMP, TrialView, ViewCache, view
from tune.tracking import operations as op
from tune.tracking.lineage import Lineage
from tune.tracking.projection import Projection
from tune.tracking.target import target_of
from tune.tracking.writer import Writer

if TYPE_CHECKING:
    from storm.world import World

CHECKS = (*TAMPERING_CHECKS, curves, outcomes, running, record)
"""The doctor's checks that need no files of students and teachers."""


def broken(world: World) -> Iterator[str]:
    """Yield what breaks a rule, in a sentence each."""
    study = optuna.load_study(study_name="storm", storage=world.shared)
    trials = study.get_trials(deepcopy=False)
    attributes = study.user_attrs
    views = ViewCache(Recogniser(attributes.get(MARK))).views(trials)
    for one in views:
        yield from _of_trial(world, one, trials[one.number]._trial_id)
    yield from _budget(world, views)
    yield from (f"replay: {one}" for one in replay(study).differences)
    yield from _doctor(world, views, attributes)
    wanted = Projection(
        world.file, attributes, views, Lineage(workspace=world.folder)
    ).operations()
    yield from (f"MLflow: {fault}" for fault in _differences(world.server, wanted))
    yield from _any_order(world, wanted, attributes)


def outcome(world: World) -> list[Any]:
    """Return what faults must not change where a search repeats: all but times."""
    study = optuna.load_study(study_name="storm", storage=world.shared)
    return [
        (v.number, v.state, v.values, v.curve, _plain(v.decisions), v.objectives)
        for v in map(view, study.get_trials(deepcopy=False))
    ]


def _plain(found: dict[int, dict[str, Any]]) -> dict[int, dict[str, Any]]:
    return {epoch: {k: v for k, v in one.items() if k != STAMP} for epoch, one in found.items()}


def _of_trial(world: World, one: TrialView, trial_id: int) -> Iterator[str]:
    inherited = int(one.attributes.get("inherited", 0))
    if one.state == "WAITING":  # the budget was used up before its turn
        return
    if one.state not in ENDED_STATES or world.faults.ends[trial_id] != 1:
        yield f"trial {one.number} is {one.state}, ended {world.faults.ends[trial_id]} times"
    if list(one.curve) != list(range(inherited + 1, one.epoch + 1)):
        yield f"trial {one.number} holds the epochs {list(one.curve)} after {inherited}"
    lost = world.begun[one.number] - max(0, one.epoch - inherited)
    if one.number == 4:  # it fails before its second epoch is told
        lost -= 1
    if not lost <= world.kills[one.number]:
        yield f"trial {one.number} lost {lost} epochs to {world.kills[one.number]} kills"


def _budget(world: World, views: list[TrialView]) -> Iterator[str]:
    """No trial begins beyond the budget, and none is left out while there is some."""
    budget = world.file.budget
    begun = sum(not v.continues for v in views)
    if begun > budget.trials:
        yield f"{begun} trials were begun, the budget has {budget.trials}"
    worked = world.worked()
    if begun < budget.trials and not reached(world.file, views, lambda: worked):
        spent = total(views, world.file)
        yield f"{begun} of {budget.trials} trials were begun, {spent} and {worked:.0f} s used"
    stored = 0
    for event in events(views):
        stored += event.key.startswith("epoch:")
        begins = event.key == "asked" or event.key.startswith("promotion:")
        if begins and budget.epochs is not None and stored >= budget.epochs:
            taken = views[event.number or 0].attributes.get("attempt", 1) > 1
            if not taken:
                yield f"trial {event.number} began after {stored} of {budget.epochs} epochs"


def _doctor(world: World, views: list[TrialView], attributes: Any) -> Iterator[str]:
    place = StudyPlace(name="storm", folder=world.file.folder, storage=URL, tracking="nowhere")
    study = StudySnapshot(place=place, trials=views, attributes=attributes)
    vars(study)["file"] = world.file
    vars(study)["optuna"] = optuna.load_study(study_name="storm", storage=world.shared)
    if attributes.get(DRIVER) is not None:
        yield f"the lease is still held: {attributes[DRIVER]}"
    with world.connected(Client(world.server, lambda _, action: action())):
        found = [one for check in CHECKS for one in check(study)]
    yield from (f"doctor: {one.check}: {one.what}" for one in found)


def _differences(server: Tracked, wanted: list[op.Operation]) -> Iterator[str]:
    """Compare what a server holds with what should stand there."""
    found: dict[str, list[Any]] = {}
    for run in server.active():
        found.setdefault(run.data.tags["refkd.run"].split("/", 2)[2], []).append(run)
    if set(found) != {one.run for one in wanted} or any(len(same) != 1 for same in found.values()):
        yield f"it holds the runs {sorted((key, len(same)) for key, same in found.items())}"
        return
    rows: dict[str, set[tuple[str, int, float]]] = {key: set() for key in found}
    for one in wanted:
        run = found[one.run][0]
        match one:
            case op.BeginRun():
                tags, params = run.data.tags, run.data.params  # one that changed is now a tag
                now = {k: tags.get(f"refkd.now.{k}", v) for k, v in params.items()}
                if now != dict(one.params) or run.info.run_name != one.name:
                    yield f"{one.run} has other parameters, or another name"
                if not one.tags.items() <= run.data.tags.items():
                    yield f"{one.run} has the tags {run.data.tags}, not {one.tags}"
            case op.KeepSettings():
                if run.files.get(op.SETTINGS) != dict(one.values):
                    yield f"{one.run} has the settings {run.files}"
            case op.LogEpoch():
                rows[one.run] |= {(k, one.epoch, v) for k, v in one.metrics.items()}
            case op.EndRun():
                if one.run != op.STUDY_RUN:
                    rows[one.run] |= {(k, 0, v) for k, v in one.metrics.items()}
                elif run.data.metrics != dict(one.metrics):  # each launch's end adds rows
                    yield f"the study's run has the metrics {run.data.metrics}"
                if run.info.status != one.status or not one.tags.items() <= run.data.tags.items():
                    yield f"{one.run} is {run.info.status}, should be {one.status} {one.tags}"
    for key, (run,) in found.items():
        if key == op.STUDY_RUN:
            continue
        there = [(k, r.step, r.value) for k, held in run.history.items() for r in held]
        if sorted(there) != sorted(rows[key]):
            yield f"{key} differs in {sorted(set(there) ^ rows[key])}, or holds rows twice"


def _any_order(world: World, wanted: list[op.Operation], attributes: Any) -> Iterator[str]:
    """Send all to a fresh server, the study's begin first, its runs mixed, operations twice."""
    chance, server = random.Random(f"order {world.schedule.seed}"), Tracked()
    target = target_of(world.file, identity_of(attributes))
    assert target is not None
    with world.connected(Client(server, lambda _, action: action())):
        writer = Writer(target)
        queues: dict[str, list[op.Operation]] = {}
        for one in wanted:
            queues.setdefault(one.run, []).append(one)
        for own in queues.values():
            begin = [one for one in own if isinstance(one, op.BeginRun)]
            middle = [one for one in own if isinstance(one, op.LogEpoch | op.KeepSettings)] * 2
            end = [one for one in own if isinstance(one, op.EndRun)]
            chance.shuffle(middle)
            own[:] = begin * 2 + middle + end * 2
        writer.send(queues[op.STUDY_RUN].pop(0))
        while queues:
            key = chance.choice(sorted(queues))
            if not queues[key]:
                del queues[key]
                continue
            if chance.random() < 0.1:  # the launch ends, another one goes on
                writer = Writer(target)
            writer.send(queues[key].pop(0))
    yield from (f"in any order: {fault}" for fault in _differences(server, wanted))
