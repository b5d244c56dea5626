"""A table whose worker or driver dies, or is interrupted, is continued to the same numbers."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from pathlib import Path
from typing import Any

import pytest
from support.chaos import REFKD, environment_with, kill_all, wait_for, wait_for_end
from support.chaos_hooks import Hook, Kill, Slow

from refkd.data.dataset import Dataset

pytestmark = pytest.mark.system
INTERRUPTED = 130


class Table:
    """`refkd reproduce table5` in a workspace, in processes of its own."""

    def __init__(self, folder: Path, dataset: Dataset) -> None:
        self.folder, self._dataset = folder, dataset
        self.workspace = folder / "runs"
        folder.mkdir()

    def start(self, *hooks: Hook) -> subprocess.Popen[bytes]:
        command = [REFKD, "reproduce", "table5", "--dataset", self._dataset.path]
        command += ["--scale", "smoke", "--workspace", self.workspace]
        with (self.folder / "output.txt").open("ab") as output:
            return subprocess.Popen(
                command,
                env=environment_with(list(hooks), self.folder / "hooks"),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )

    def make(self, *hooks: Hook) -> int:
        process = self.start(*hooks)
        try:
            return process.wait()
        finally:
            kill_all(process)

    def said(self) -> str:
        return (self.folder / "output.txt").read_text(encoding="utf-8")

    def numbers(self) -> Any:
        (path,) = self.workspace.glob("reproduce/*/table5.json")
        return json.loads(path.read_text(encoding="utf-8"))

    def networks(self) -> dict[Path, int]:
        found = self.workspace.glob("*/*/*.safetensors")
        return {path.relative_to(self.workspace): path.stat().st_mtime_ns for path in found}


@pytest.fixture(scope="module")
def calm(tiny_dataset: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Table:
    table = Table(tmp_path_factory.mktemp("calm") / "table", tiny_dataset)
    assert table.make() == 0, table.said()
    return table


def test_kills_of_a_worker_and_of_the_driver_change_no_number(
    calm: Table, tiny_dataset: Dataset, tmp_path: Path
) -> None:
    table = Table(tmp_path / "table", tiny_dataset)
    saved = {"module": "refkd.training.checkpoint", "name": "CheckpointFolder.save"}
    worker = Kill(**saved, before=False, match="students", marker=str(tmp_path / "worker"))
    driver = Kill(
        module="tune.reproduce.scores",
        name="_values_of",
        before=True,
        marker=str(tmp_path / "driver"),
    )
    assert table.make(worker, driver) == -signal.SIGKILL, table.said()
    assert (tmp_path / "worker").exists()
    trained = table.networks()
    assert set(trained) == set(calm.networks())
    assert table.make() == 0, table.said()
    assert table.networks() == trained
    assert table.numbers() == calm.numbers()


def test_ctrl_c_says_how_to_continue_and_the_same_command_does(
    calm: Table, tiny_dataset: Dataset, tmp_path: Path
) -> None:
    table = Table(tmp_path / "table", tiny_dataset)
    slow = Slow(module="refkd.training.checkpoint", name="CheckpointFolder.save", seconds=1.0)
    process = table.start(slow)
    try:
        wait_for(lambda: any(table.workspace.glob("teachers/*/checkpoints/*.json")), process)
        second = table.start()
        assert second.wait() == 2
        assert "is being made by another process" in table.said()
        os.killpg(process.pid, signal.SIGINT)
        assert process.wait(timeout=300) == INTERRUPTED, table.said()
        wait_for_end(process)
    finally:
        kill_all(process)
    assert "run the same command again to continue" in " ".join(table.said().split())
    assert "Traceback" not in table.said()
    assert table.make() == 0, table.said()
    assert table.numbers() == calm.numbers()
