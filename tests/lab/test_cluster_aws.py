"""`cluster.yaml` on a cloud in a lab: from no worker to two, one of them lost, and down again."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Iterator

import pytest
from clouds import AWS, PACKAGES, Cloud, bring
from documented import FIRST, LAUNCH, command
from lab import Lab, require_lab
from laptop import Laptop
from searches import Search, most_lost
from support.chaos import assert_sound

pytestmark = [
    pytest.mark.cluster, pytest.mark.nightly, pytest.mark.timeout(1800),
]  # fmt: skip
IMAGE = "ami-785db401"
"""One that moto knows."""
GROUP = """\
import boto3
print(boto3.client("ec2").create_security_group(GroupName="g", Description="g")["GroupId"])
"""


@pytest.fixture
def cloud() -> Iterator[Cloud]:
    require_lab()
    with Lab("laptop") as lab:
        packages = lab.folder / "packages"
        reason = bring(packages, *PACKAGES)
        if reason is not None:
            pytest.skip(f"moto and boto3 cannot be installed: {reason}")
        lab.profile = "".join(f"export {key}={value}\n" for key, value in AWS.items())
        subprocess.run(
            lab.on_the_network("ip", "route", "add", "172.31.0.0/16", "dev", "hub"), check=True
        )
        cloud = Cloud(lab, packages)
        with cloud.running():
            yield cloud


@pytest.fixture
def laptop(cloud: Cloud) -> Laptop:
    """A checkout with the lines on top of `cluster.yaml` changed; the lab mounts no EFS."""
    laptop = Laptop(cloud.lab, "cluster.yaml")
    made = laptop.run(f"python -c '{GROUP}'", **on_aws(cloud))
    laptop.change("sg-0123456789abcdef0", made.strip())
    laptop.change("ami-0123456789abcdef0", IMAGE)
    laptop.change("{CPU: 4, GPU: 1}", "{CPU: 1, GPU: 1}")
    laptop.change("idle_timeout_minutes: 10", "idle_timeout_minutes: 0.5")
    text = laptop.file.read_text(encoding="utf-8")
    begin, end = text.index("initialization_commands:"), text.index("# ---- The rest")
    laptop.change(text[begin:end], "initialization_commands: []\n")
    for start in ("make wheel", "ray get-auth-token"):
        laptop.run(command(FIRST, start))
    return laptop


def on_aws(cloud: Cloud) -> dict[str, str]:
    return {**AWS, "PYTHONPATH": str(cloud.packages)}


def test_spot_machines_come_are_lost_and_leave(cloud: Cloud, laptop: Laptop) -> None:
    began = time.monotonic()
    up = command(LAUNCH, "ray up").replace("cluster/onprem.yaml", "cluster.yaml")
    laptop.run(up, seconds=600, **on_aws(cloud))
    print(f"`ray up` took {time.monotonic() - began:.1f} s")
    (head,) = cloud.alive("m7i.large")
    assert cloud.alive("g4dn.xlarge") == []

    search = Search.prepare(
        cloud.lab, "aws", host=head["name"], seconds=1.5, retries=3, workers=2,
        budget={"trials": 4}, training={"epochs": 10, "batch_size": 64}, pruning={"name": "none"},
    )  # fmt: skip
    began = time.monotonic()
    search.start(**AWS)
    search.wait(lambda begun: len({b.host for b in begun}) == 2)
    spot = cloud.alive("g4dn.xlarge")
    assert {machine["market"] for machine in spot} == {"spot"}
    print(f"{[round(m['time'] - began, 1) for m in spot]} s until the spot machines began")

    lost = search.busy(spot[0]["name"])
    cloud.take_away(spot[0])
    again, seconds = search.moved(lost)
    print(f"spot machine taken away in {lost}; goes on as {again} after {seconds:.1f} s")
    search.finish()
    assert most_lost(search.begun()) <= 1
    assert_sound(search.workspace, trials=4)
    assert {begun.host for begun in search.begun()} <= {f"rk-{m['name']}" for m in began_as(cloud)}

    began = time.monotonic()
    wait_for(lambda: cloud.alive("g4dn.xlarge") == [])
    print(f"the last worker left {time.monotonic() - began:.1f} s after the end")
    down = command(LAUNCH, "ray down").replace("cluster/onprem.yaml", "cluster.yaml")
    laptop.run(down, seconds=300, **on_aws(cloud))
    wait_for(lambda: cloud.alive("m7i.large") == [])


def began_as(cloud: Cloud) -> list[dict[str, object]]:
    """Return every worker that ever began."""
    return [f for f in cloud.seen if f["event"] == "begins" and f["type"] == "g4dn.xlarge"]


def wait_for(happened: Callable[[], bool]) -> None:
    while not happened():
        time.sleep(0.5)
