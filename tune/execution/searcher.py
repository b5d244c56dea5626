"""Ray Tune's view of a study: a searcher that asks it and a scheduler that records in it.

Ray holds no truth. The searcher hands out what the study asks for, the scheduler writes every
report into the study and carries out the study's decision, and both forget a trial only after
its outcome is stored.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from ray.tune.experiment import Trial as RayTrial
from ray.tune.schedulers import FIFOScheduler, TrialScheduler
from ray.tune.search import Searcher

from tune import compat
from tune.execution.spot import NodeLeavingError
from tune.execution.trainables import FAILED, FINAL, metrics_of
from tune.study.search_study import Ask, SearchStudy
from tune.study.view import Action


class Listener(Protocol):
    """Whoever is told what happens in a search: progress, tracking."""

    def trial_started(self, ask: Ask) -> None: ...
    def epoch_ended(self, number: int, epoch: int, metrics: Mapping[str, float]) -> None: ...
    def trial_ended(self, number: int, state: str, reason: str | None) -> None: ...


@dataclass
class Board:
    """What searcher and scheduler share during one launch."""

    study: SearchStudy
    listeners: list[Listener]
    numbers: dict[str, int] = field(default_factory=dict)
    """Ray's trial id to the study's number."""
    finals: dict[str, dict[str, float]] = field(default_factory=dict)
    """What a trial kept, once it is through."""
    failures: dict[str, str] = field(default_factory=dict)
    """Why training itself gave up."""
    verdicts: dict[str, Action] = field(default_factory=dict)
    """What the study decided where a trial does not go on."""
    causes: dict[str, str] = field(default_factory=dict)
    """Why a trial's worker failed last."""
    leaving: set[str] = field(default_factory=set)
    """Trials that left a node before it was taken away."""
    deaths: Counter[int] = field(default_factory=Counter)
    """How often a trial's worker failed in this launch, by the study's number."""

    def worker_failed(self, trial_id: str) -> None:
        """Let the study hand the trial out again, or end it where its retries are used up.

        Ray's own retries would leave out a worker that dies between two trials. To leave a node
        that is about to be taken away is no failure.
        """
        number = self.numbers[trial_id]
        if not self.study.is_live(number):
            return
        if trial_id in self.finals:
            self.tell(trial_id, error=None)  # it died with its work done
        elif trial_id in self.leaving or self.deaths[number] < self.study.file.retries:
            self.deaths[number] += trial_id not in self.leaving
            del self.numbers[trial_id]
            self.study.give_back(number)
        else:
            self.tell(trial_id, error=self.causes.get(trial_id, "the worker process died"))

    def tell(self, trial_id: str, *, error: str | None) -> None:
        """Store a trial's one outcome; a second call for the same trial changes nothing."""
        number = self.numbers[trial_id]
        if not self.study.is_live(number):
            return
        verdict, final = self.verdicts.get(trial_id), self.finals.get(trial_id)
        reason = error or self.failures.get(trial_id)
        if reason is None and verdict is None and final is None:
            reason = "the worker ended without reporting its last epoch"
        if reason is not None:
            state = self.study.fail(number, reason)
        elif verdict == "pause":
            self.study.pause(number)
            return
        elif final is None:
            state = self.study.prune(number)
        else:
            state = self.study.complete(number, final)
        for listener in self.listeners:
            listener.trial_ended(number, state, reason)


class StudySearcher(Searcher):
    """Hands the study's trials to Ray."""

    def __init__(self, board: Board) -> None:
        super().__init__()
        self._board = board

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:  # type: ignore[override]
        """Return the next trial's config, None to be asked again, or `FINISHED`."""
        study = self._board.study
        ask = study.ask()
        if ask is None:
            return None if study.may_ask_later() else Searcher.FINISHED
        self._board.numbers[trial_id] = ask.number
        for listener in self._board.listeners:
            listener.trial_started(ask)
        return {
            "number": ask.number,
            "values": ask.values,
            "seeds": study.file.seeds(),
            "race": study.file.replicates.race,
            "continues": ask.continues,
            "inherited": ask.inherited,
        }

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        """Do nothing: the scheduler sees every report, this hook misses a trial's last."""

    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        """Store the outcome of a trial; after an error it may be handed out again."""
        if trial_id not in self._board.numbers:
            return
        if error:
            self._board.worker_failed(trial_id)
        else:
            self._board.tell(trial_id, error=None)

    def save(self, checkpoint_path: str) -> None:
        """Save nothing: the study is the state."""

    def restore(self, checkpoint_path: str) -> None:
        """Refuse: a launch continues from the study, never from Ray's files."""
        raise RuntimeError("a search continues from its study; run the same command again")

    def __getstate__(self) -> dict[str, Any]:
        return {}


class StudyScheduler(FIFOScheduler):
    """Records every report in the study and stops what the study prunes."""

    def __init__(self, board: Board) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._board = board

    def on_trial_result(
        self, tune_controller: Any, trial: RayTrial, result: dict[str, Any]
    ) -> str:
        """Store an epoch, tell the listeners, and return whether the trial goes on."""
        board = self._board
        if FAILED in result:
            board.failures[trial.trial_id] = str(result[FAILED])
        final = {k.removeprefix(FINAL): v for k, v in result.items() if k.startswith(FINAL)}
        if final:
            board.finals[trial.trial_id] = final
        if "epoch" not in result:
            return str(TrialScheduler.CONTINUE)
        number, epoch = board.numbers[trial.trial_id], int(result["epoch"])
        metrics = metrics_of(result)
        action = board.study.record(number, epoch, metrics)
        for listener in board.listeners:
            listener.epoch_ended(number, epoch, metrics)
        if action != "go":
            board.verdicts[trial.trial_id] = action
            return str(TrialScheduler.STOP)
        return str(TrialScheduler.CONTINUE)

    def on_trial_error(self, tune_controller: Any, trial: RayTrial) -> None:
        """Note why a worker failed."""
        super().on_trial_error(tune_controller, trial)
        error = _error_of(trial)
        if error:
            self._board.causes[trial.trial_id] = error.splitlines()[-1]
        if NodeLeavingError.__name__ in error:
            self._board.leaving.add(trial.trial_id)

    def __getstate__(self) -> dict[str, Any]:
        return {}


def _error_of(trial: RayTrial) -> str:
    """Return what Ray noted of a trial's last error."""
    file = compat.error_file(trial)
    return file.read_text(encoding="utf-8").strip() if file and file.is_file() else ""
