"""PriMO of NePS, asked and told over its standard streams; runs in an environment that has NePS.

Lines of JSON: first what is searched, then `null` to ask, or what a training measured.
"""

from __future__ import annotations

import json
import random
import sys
import warnings
from typing import Any

import numpy as np
import torch
from neps import AskAndTell
from neps.optimizers.algorithms import primo
from neps.space import HPOFloat, HPOInteger, SearchSpace

EPOCHS, OWN = "epochs", 10_000
"""Name of the fidelity, and the first of the numbers that are given here."""


class Search:
    """PriMO without a prior, which nobody has here; several trainings may be under way.

    NePS 0.17 provides for the latter by half. Where no training at a rung has ended yet it
    cannot tell which to go on with, and raises `ValueError`: whoever asks waits. And its Bayesian
    optimisation, which sees what has ended alone, gives the number of a training under way to the
    next one as well: each has a number of its own here, and is shown to NePS at its end.
    """

    def __init__(self, asked: dict[str, Any]) -> None:
        parameters = {
            name: HPOFloat(low, high, log=log) for name, (low, high, log) in asked["space"].items()
        }
        epochs = HPOInteger(asked["first_rung"], asked["epochs"], is_fidelity=True)
        space = SearchSpace({**parameters, EPOCHS: epochs})
        self._search = AskAndTell(primo(space, prior_centers={}, eta=asked["reduction"]))
        self._kept: dict[str, Any] = {}

    def ask(self) -> dict[str, Any] | None:
        """Return a training; None where others must end first."""
        try:
            trial = self._search.ask()
        except ValueError:
            if all(one.report is not None for one in self._search.trials.values()):
                raise
            return None
        name = trial.metadata.id
        if "_rung_" not in name:
            del self._search.trials[name]
            name = str(OWN + len(self._kept))
            self._kept[name] = trial.config
        values = dict(trial.config)
        return {
            "trial": name,
            "continues": trial.metadata.previous_trial_id,
            "epochs": int(values.pop(EPOCHS)),
            "values": {key: float(value) for key, value in values.items()},
        }

    def tell(self, trial: str, losses: list[float]) -> None:
        """Take what a training measured at its end; less is better."""
        result = {"objective_to_minimize": losses}
        if trial in self._kept:
            self._search.tell_custom(config_id=trial, config=self._kept[trial], result=result)
        else:
            self._search.tell(trial, result)


def main() -> None:
    """Answer until the standard input ends."""
    warnings.simplefilter("ignore")
    asked = json.loads(sys.stdin.readline())
    random.seed(asked["seed"])
    np.random.seed(asked["seed"])
    torch.manual_seed(asked["seed"])
    torch.set_num_threads(1)
    search = Search(asked)
    for line in sys.stdin:
        told = json.loads(line)
        if told is None:
            print(json.dumps(search.ask()), flush=True)
        else:
            search.tell(told["trial"], told["losses"])


if __name__ == "__main__":
    main()
