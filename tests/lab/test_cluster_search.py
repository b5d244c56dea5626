"""A real `ray up` over SSH, a search over its three nodes, and `ray down`."""

from __future__ import annotations

import secrets
from pathlib import Path

import pytest
from hosts import WORKERS, Cluster
from searches import Search
from support.chaos import SIMULATE, assert_sound

from refkd.data.simulate import SimulationConfig, simulate

pytestmark = [
    pytest.mark.cluster, pytest.mark.nightly, pytest.mark.timeout(1800),
]  # fmt: skip
TRIALS = 6
NODES = ("head", *WORKERS)


def test_a_search_uses_every_node_and_ray_down_leaves_nothing(cluster: Cluster) -> None:
    """The dataset is fetched once a machine, and no secret stands in anything that is written."""
    lab, secret = cluster.lab, secrets.token_hex(16)
    made = simulate(out=lab.shared / "data", config=SimulationConfig.model_validate(SIMULATE))
    search = Search.prepare(
        cluster.lab, "calm", seconds=0.5, budget={"trials": TRIALS}, simulate=None,
        dataset=made.path.as_uri(),
    )  # fmt: skip
    search.start(AWS_SECRET_ACCESS_KEY=secret)
    search.finish()
    assert_sound(search.workspace, trials=TRIALS)
    assert {begun.host for begun in search.begun()} == {f"rk-{name}" for name in NODES}
    for name in NODES:
        copies = [p.name for p in (lab.home(name) / ".cache/refkd/datasets").iterdir()]
        assert sorted(copies) == [made.fingerprint, f"{made.fingerprint}.lock"]

    cluster.down()
    for name in NODES:
        cluster.gone(name)
    token = (lab.home("laptop") / ".ray/auth_token").read_text().strip()
    assert holders(lab.folder, secret) == []
    assert {path.name for path in holders(lab.folder, token)} == {"auth_token"}


def holders(folder: Path, word: str) -> list[Path]:
    """Return the files below a folder that hold a word."""
    files = [path for path in folder.rglob("*") if path.is_file() and not path.is_symlink()]
    return [path for path in files if word.encode() in path.read_bytes()]
