"""What MLflow is told of a reproduction: a run a network, below the table's own run."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

from refkd.data.dataset import Dataset
from tune.config.space import flat
from tune.reproduce.units import Unit
from tune.study.environment import environment
from tune.study.locate import default_tracking
from tune.tracking.record import CLOSE_SECONDS, as_text, kept_scores
from tune.tracking.spool import STUDY_RUN
from tune.tracking.tracker import Tracker, warn_of


class TableRecord:
    """Passes on what happens while the networks of a table are trained."""

    def __init__(self, name: str, workspace: Path, spool: Path, *, uri: str | None) -> None:
        self._name, self._spool = name, spool
        target = uri or default_tracking(workspace)
        local = not target.startswith(("http://", "https://"))
        self._tracker = Tracker(
            target,
            "refkd/reproduce",
            spool,
            study=name,
            artifact_root=workspace.absolute() / "mlartifacts" if local else None,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._tracker.run_ended(STUDY_RUN, "FINISHED" if kind is None else "KILLED", {}, {})
        warn_of(self._tracker.close(CLOSE_SECONDS), self._spool)

    def begun(self, dataset: Dataset, parameters: Mapping[str, str], files: list[Path]) -> None:
        """Open the table's run."""
        self._tags = {
            "refkd.dataset": dataset.name,
            "refkd.dataset_fingerprint": dataset.fingerprint,
            **environment().tags(),
        }
        self._tracker.study_started(parameters, self._tags, files)

    def unit_begun(self, unit: Unit) -> None:
        """Open a network's run, or go on with it."""
        role = "student" if unit.teachers else "teacher"
        tags = {**self._tags, "refkd.role": role, "refkd.row": unit.row}
        settings = as_text(flat(unit.config.model_dump(mode="json")))
        self._tracker.run_started(_key(unit), unit.key, settings, tags)

    def epoch(self, unit: Unit, epoch: int, metrics: Mapping[str, float]) -> None:
        """Log an epoch."""
        self._tracker.epoch(_key(unit), epoch, metrics)

    def unit_ended(self, unit: Unit, metrics: Mapping[str, float], failed: str | None) -> None:
        """Close a network's run, unless an earlier call did."""
        if self._tracker.has_ended(_key(unit)):
            return
        if not self._tracker.has_begun(_key(unit)):
            self.unit_begun(unit)
        tags = {"refkd.reason": failed} if failed else {}
        status = "FAILED" if failed else "FINISHED"
        self._tracker.run_ended(_key(unit), status, tags, kept_scores(metrics))

    def artifacts(self, paths: list[Path]) -> None:
        """Keep the results with the table's run."""
        for path in paths:
            self._tracker.artifact(STUDY_RUN, path, "results")


def _key(unit: Unit) -> str:
    return f"unit/{unit.folder.name}"
