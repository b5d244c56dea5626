"""What a study has cost, by item."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from itertools import pairwise
from typing import Any

from pydantic import Field

from refkd.config import Config
from tune.config.limits import Limits, Prices
from tune.study.budget import Spent, priced, spent_by
from tune.study.event_base import study_events
from tune.study.events import teachers_of
from tune.study.finalist_events import FinalistTrained
from tune.study.launch import Launch
from tune.study.ranking import current, hypervolume
from tune.study.snapshot import StudySnapshot
from tune.study.view import TrialView

NAMES = {"COMPLETE": "useful", "PRUNED": "pruned", "FAIL": "failed", "RUNNING": "running"}


class BillRow(Config):
    """What one item of the bill has used."""

    item: str
    trials: int = 0
    epochs: int = 0
    cpu_seconds: float = 0.0
    gpu_seconds: float = 0.0
    money: float = 0.0


class NodeRow(Config):
    """Machines of one type while drivers were at work, busy or not."""

    type: str
    nodes: int
    hours: float
    """Added up over the machines."""
    cpu_hours: float
    gpu_hours: float
    money: float | None = None
    """None where `prices.node_hour` has no price of this type."""


class Bill(Config):
    """Cost of the students by what became of them, of each teacher, and in proportion."""

    study: str
    currency: str
    rows: list[BillRow]
    total: BillRow
    nodes: list[NodeRow] = Field(default_factory=list)
    """Time of whole machines; the rows above are the part of it that trials held."""
    busy: float | None = None
    """Share of the machines' GPU time, or CPU time where they have no GPU, that students used."""
    money_an_epoch: float | None = None
    cpu_seconds_an_epoch: float | None = None
    hypervolume: float = 0.0
    money_a_point: float | None = None
    """Of hypervolume, in percent²."""
    cpu_seconds_a_point: float | None = None


def make_bill(study: StudySnapshot) -> Bill:
    """Return the bill of a study.

    `lost` is what was trained and not kept when a launch was killed: for each trial that ran then,
    the time from its last epoch to the last sign of life of that launch, at most one epoch.
    """
    launches, views = study.launches, study.trials
    limits = launches[-1].limits if launches else Limits()
    prices = limits.prices
    counts = Counter(NAMES[view.state] for view in views if view.state in NAMES)
    spent = _spent(study, limits)
    all_spent = sum(spent.values(), Spent())
    rows = [BillRow(item=k, trials=counts[k], **asdict(one)) for k, one in spent.items()]
    total = BillRow(item="total", trials=counts.total(), **asdict(all_spent))
    volume = hypervolume([list(v.gains) for v in current(views) if v.gains and v.feasible])
    nodes = _nodes(launches, prices)
    students = [row for row in rows if row.item in NAMES.values()]
    used, held = sum(r.cpu_seconds for r in students), sum(node.cpu_hours for node in nodes)
    if any(node.gpu_hours for node in nodes):
        used, held = sum(r.gpu_seconds for r in students), sum(node.gpu_hours for node in nodes)
    return Bill(
        study=study.name,
        currency=prices.currency,
        rows=rows,
        total=total,
        nodes=nodes,
        busy=_ratio(used / 3600, held),
        money_an_epoch=_ratio(total.money, total.epochs),
        cpu_seconds_an_epoch=_ratio(total.cpu_seconds, total.epochs),
        hypervolume=volume,
        money_a_point=_ratio(total.money, volume),
        cpu_seconds_a_point=_ratio(total.cpu_seconds, volume),
    )


def _spent(study: StudySnapshot, limits: Limits) -> dict[str, Spent]:
    """Return what was used, by item of the bill."""
    resources, prices = limits.resources, limits.prices
    spent: dict[str, Spent] = defaultdict(Spent)

    def used(epochs: int, cpu_seconds: float, wall_seconds: float) -> Spent:
        gpu_seconds = wall_seconds * resources.gpu
        return priced(
            epochs=epochs, cpu_seconds=cpu_seconds, gpu_seconds=gpu_seconds, prices=prices
        )

    def trained(epochs: int, cost: Mapping[str, float]) -> Spent:
        times = (cost.get(f"cost/{kind}_seconds", 0.0) for kind in ("cpu", "wall"))
        return used(epochs, *times)

    for view in study.trials:
        if view.state in NAMES:
            spent[NAMES[view.state]] += spent_by(view, limits)
    lost = _lost_seconds(study.trials, study.launches)
    if lost > 0:
        spent["lost"] = used(0, lost * resources.cpu, lost)
    for role, teacher in teachers_of(study.attributes).items():
        epochs = teacher.epoch if teacher.epochs is None else teacher.epochs
        spent[f"teacher {role}"] = trained(epochs, teacher.cost or teacher.metrics)
    for result in study_events(study.attributes, FinalistTrained):
        if result.epochs:
            spent["finalists"] += trained(result.epochs, result.metrics)
    return spent


def _nodes(launches: Sequence[Launch], prices: Prices) -> list[NodeRow]:
    """Return the machines of all launches by type; a machine counts once a launch."""
    by_type: dict[str, list[Mapping[str, Any]]] = defaultdict(list)
    for node in (node for launch in launches for node in launch.nodes):
        by_type[node["type"]].append(node)
    return [
        NodeRow(
            type=kind,
            nodes=len(nodes),
            hours=(hours := sum(node["seconds"] for node in nodes) / 3600),
            cpu_hours=sum(node["seconds"] * node["cpu"] for node in nodes) / 3600,
            gpu_hours=sum(node["seconds"] * node["gpu"] for node in nodes) / 3600,
            money=hours * prices.node_hour[kind] if kind in prices.node_hour else None,
        )
        for kind, nodes in sorted(by_type.items())
    ]


def _ratio(amount: float, of: float) -> float | None:
    return amount / of if of > 0 else None


def _lost_seconds(views: Sequence[TrialView], launches: Sequence[Launch]) -> float:
    """Return the seconds that trials trained in a launch after the last epoch it stored."""
    last_sign = {launch.number: launch.last for launch in launches}
    for view in views:
        for stamp in view.stamps.values():
            last_sign[stamp.launch] = max(last_sign.get(stamp.launch, 0.0), stamp.time)
    lost = 0.0
    for view in views:
        stamps = sorted(view.stamps.values(), key=lambda stamp: stamp.place)
        epoch = view.last.get("cost/wall_seconds", 0.0) / max(1, view.epoch)
        for stamp, following in pairwise(stamps):
            if following.launch > stamp.launch:
                lost += min(epoch, max(0.0, last_sign[stamp.launch] - stamp.time))
    return lost
