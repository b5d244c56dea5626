"""SIGKILL at the places where a search is between two states, and what goes on after it."""

from __future__ import annotations

import shutil
import signal
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from support.chaos import Workspace, assert_sound, copy_made
from support.chaos_hooks import Epochs, Kill

from refkd.files import temporaries

pytestmark = [
    pytest.mark.system,
    pytest.mark.filterwarnings("ignore::sqlalchemy.exc.SADeprecationWarning"),  # of MLflow's
]
EPOCHS = 3
STUDY, CHECKPOINT = (
    "tune.study.search_study:SearchStudy",
    "refkd.training.checkpoint:CheckpointFolder",
)
RENAME, RESET = "pathlib:Path.replace", "ray.tune.trainable.function_trainable:FunctionTrainable"

DRIVER: dict[str, dict[str, Any]] = {
    "between a trial's creation and its values": {"before": f"{STUDY}._hand_out"},
    "between ask and start": {"after": f"{STUDY}.ask"},
    "between an epoch and its decision": {"before": f"{STUDY}.decide", "call": 2},
    "between the decision to end a trial and tell": {"before": "tune.compat:tell"},
    "between tell and MLflow": {"after": f"{STUDY}.complete"},
    "between registration and its note": {"after": "tune.tracking.registry:register_champions"},
}
WORKER: dict[str, dict[str, Any]] = {
    "within a teacher's checkpoint": {"before": RENAME, "match": "epoch-0002.json"},
    "before a checkpoint": {"before": f"{CHECKPOINT}.save", "match": "trials/0000"},
    "between a checkpoint and its report": {"after": f"{CHECKPOINT}.save", "match": "trials/0001"},
    "between file and rename": {"before": RENAME, "match": "trials/0002/checkpoints/epoch-0002"},
    "between tensors and facts": {"after": RENAME, "match": "trials/0003/checkpoints/epoch-0001-"},
    "between rename and sync": {
        "before": "refkd.files:sync_directory",
        "match": "trials/0004/checkpoints",
        "call": 3,
    },
    "between weights and record": {"before": RENAME, "match": "trials/0000/student.json"},
    "between two trials": {"before": f"{RESET}.reset_config"},
}


def kill(folder: Path, place: str, **where: Any) -> Kill:
    """Return the kill at a place; a file in `folder` tells that it has happened."""
    before = "before" in where
    module, _, name = where.pop("before" if before else "after").partition(":")
    marker = str(folder / place)
    return Kill(module=module, name=name, before=before, marker=marker, **where)


def write(workspace: Workspace, *, trials: int) -> None:
    """Write a study with a rung after the second epoch, and have its epochs written down."""
    workspace.write(
        budget={"trials": trials},
        training={"epochs": EPOCHS, "batch_size": 64},
        pruning={"reduction": 9},
        retries=len(WORKER),
    )
    workspace.hooks.append(Epochs(path=str(workspace.folder / "epochs")))


def lost_epochs(workspace: Workspace) -> int:
    """Return how many epochs were begun more than once."""
    log = (workspace.folder / "epochs").read_text(encoding="ascii")
    begun = Counter(tuple(line.split()[:2]) for line in log.splitlines())
    assert len(begun) == sum(view.epoch for view in workspace.views())
    return sum(begun.values()) - len(begun)


def kill_drivers(workspace: Workspace) -> Workspace:
    """Kill the driver of one launch after another, then let one end."""
    write(workspace, trials=2)
    for place, where in DRIVER.items():
        workspace.hooks[1:] = [kill(workspace.folder, place, **where)]
        assert workspace.search() == -signal.SIGKILL, (place, workspace.said())
    assert workspace.search() == 0, workspace.said()
    return workspace


def kill_workers(workspace: Workspace) -> Workspace:
    """Kill one worker after another, from the teachers' on, within one launch."""
    for part in ("teachers", "knowledge"):
        shutil.rmtree(workspace.runs / part)
    write(workspace, trials=5)
    workspace.hooks.extend(kill(workspace.folder, place, **at) for place, at in WORKER.items())
    assert workspace.search() == 0, workspace.said()
    return workspace


@pytest.fixture(scope="module")
def searched(
    calm: Workspace, tmp_path_factory: pytest.TempPathFactory, empty_store: Path
) -> dict[str, Workspace]:
    """Both kinds of search, at the same time: they mostly wait for processes to start."""
    folder, kinds = tmp_path_factory.mktemp("points"), (kill_drivers, kill_workers)
    made = [copy_made(calm, folder / kind.__name__, empty_store) for kind in kinds]
    with ThreadPoolExecutor(len(kinds)) as threads:
        running = [threads.submit(kind, one) for kind, one in zip(kinds, made, strict=True)]
    return dict(zip(("drivers", "workers"), [search.result() for search in running], strict=True))


def test_launches_that_are_killed_between_two_states_are_continued(
    searched: dict[str, Workspace],
) -> None:
    assert_sound(searched["drivers"], trials=2)
    assert lost_epochs(searched["drivers"]) == 0


def test_workers_that_are_killed_between_two_states_are_replaced(
    searched: dict[str, Workspace],
) -> None:
    workspace = searched["workers"]
    assert [place for place in WORKER if not (workspace.folder / place).exists()] == []
    assert_sound(workspace, trials=5)
    assert temporaries(workspace.runs) == []
    # Those before a checkpoint, before its rename, and before its facts are written.
    assert lost_epochs(workspace) == 3
