"""The bill of the machines: by type, busy or not, over all launches."""

from __future__ import annotations

from io import StringIO
from pathlib import Path
from typing import Any

import pytest
import ray
from rich.console import Console

from tune.config.limits import Resources
from tune.display.cost import show_bill
from tune.execution.cluster import NODE_TYPE, NodeUsage, ray_session
from tune.results.bill import Bill, make_bill
from tune.study.locate import StudyPlace
from tune.study.snapshot import StudySnapshot
from tune.study.view import TrialView

HEAD, SPOT = {"type": "head", "cpu": 4.0, "gpu": 0.0}, {"type": "spot", "cpu": 8.0, "gpu": 1.0}


def node(name: str, *, alive: bool = True, kind: str | None = "spot") -> dict[str, Any]:
    labels = {} if kind is None else {NODE_TYPE: kind}
    return {"NodeID": name, "Alive": alive, "Resources": {"CPU": 8.0}, "Labels": labels}


def test_a_node_counts_while_it_is_there() -> None:
    there = [node("a"), node("b", kind=None)]
    moment = [0.0]
    usage = NodeUsage(lambda: there, lambda: moment[0])
    assert [n["seconds"] for n in usage()] == [0.0, 0.0]
    moment[0], there[1]["Alive"] = 10.0, False
    there.append(node("c"))
    assert [n["seconds"] for n in usage()] == [10.0, 0.0, 0.0]
    moment[0] = 15.0
    assert [(n["type"], n["seconds"]) for n in usage()] == [
        ("spot", 15.0),
        ("8 CPU", 0.0),
        ("spot", 5.0),
    ]


def test_a_real_cluster_is_counted(ray_address: str) -> None:
    moment = [0.0]
    with ray_session(Resources(), address=ray_address):
        usage = NodeUsage(clock=lambda: moment[0])
        usage()
        moment[0] = 60.0
        (found,) = usage()
        assert found["seconds"] == 60.0
        assert found["cpu"] == ray.cluster_resources()["CPU"]


def bill(*launches: list[dict[str, Any]], prices: dict[str, Any]) -> Bill:
    file = {"prices": prices, "resources": {"gpu": 0.5}}
    attributes: dict[str, Any] = {}
    for number, nodes in enumerate(launches, start=1):
        attributes[f"launch:{number:04d}"] = {"begun": 0.0, "file": file}
        attributes[f"worked:{number:04d}"] = {"last": 3600.0, "nodes": nodes}
    trial = TrialView(
        number=0,
        state="COMPLETE",
        attributes={"epoch:0001": {"cost/cpu_seconds": 900.0, "cost/wall_seconds": 900.0}},
    )
    place = StudyPlace(name="billed", folder=Path(), storage="", tracking="")
    return make_bill(StudySnapshot(place=place, trials=[trial], attributes=attributes))


def test_machines_are_added_up_by_type_and_priced() -> None:
    spot, head = {**SPOT, "seconds": 1800.0}, {**HEAD, "seconds": 3600.0}
    made = bill([], [head, spot, spot], [spot], prices={"node_hour": {"spot": 2.0}})
    rows = {row.type: row for row in made.nodes}
    assert (rows["spot"].nodes, rows["spot"].hours, rows["spot"].money) == (3, 1.5, 3.0)
    assert (rows["spot"].cpu_hours, rows["spot"].gpu_hours) == (12.0, 1.5)
    assert (rows["head"].hours, rows["head"].money) == (1.0, None)
    assert made.busy == pytest.approx(0.125 / 1.5)  # half a GPU for a quarter of an hour
    out = StringIO()
    show_bill(Console(file=out, width=120), made)
    assert "no price" in out.getvalue()
    assert "used by students: 8%" in out.getvalue()


def test_a_study_of_earlier_launches_has_no_machines() -> None:
    made = bill([], prices={})
    assert (made.nodes, made.busy) == ([], None)
    out = StringIO()
    show_bill(Console(file=out, width=120), made)
    assert "Machines" not in out.getvalue()


def test_a_cluster_that_is_gone_is_counted_up_to_then() -> None:
    moment = [0.0]
    usage = NodeUsage(clock=lambda: moment[0])
    assert not ray.is_initialized()
    assert usage() == []
    there = [node("a")]
    usage = NodeUsage(lambda: there, lambda: moment[0])
    usage()
    moment[0] = 10.0
    usage()
    there.clear()
    moment[0] = 99.0
    assert [n["seconds"] for n in usage()] == [10.0]
