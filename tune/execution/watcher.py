"""What a Ray run tells its driver: reports and deaths, by a trial's config."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

from ray.tune import Callback
from ray.tune.experiment import Trial as RayTrial


class Watcher(Callback):
    """Passes on what happens; nothing of it travels to another process."""

    @abstractmethod
    def reported(self, config: dict[str, Any], result: dict[str, Any]) -> None:
        """Hear a report of the trial with this config."""

    @abstractmethod
    def died(self, config: dict[str, Any], cause: str) -> None:
        """Hear that its worker died; `cause` is the last line of its traceback."""

    def on_trial_result(
        self,
        iteration: int,
        trials: list[RayTrial],
        trial: RayTrial,
        result: dict[str, Any],
        **info: Any,
    ) -> None:
        """Take Ray's report."""
        self.reported(trial.config, result)

    def on_trial_error(
        self, iteration: int, trials: list[RayTrial], trial: RayTrial, **info: Any
    ) -> None:
        """Take Ray's error."""
        error = str(trial.get_error() or "the worker process died").strip()
        self.died(trial.config, error.splitlines()[-1])

    def __getstate__(self) -> dict[str, Any]:
        return {}
