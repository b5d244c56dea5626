"""A search of Ray Tune with Optuna's sampler and MLflow's callback, as their guides show it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import optuna
import ray.tune
from ray.air.integrations.mlflow import MLflowLoggerCallback
from ray.tune.search.optuna import OptunaSearch


def search(
    train: Callable[[dict[str, Any]], None],
    *,
    folder: Path,
    tracking_uri: str,
    trials: int,
    workers: int,
) -> None:
    """Run trials of two objectives on reused workers, with a study and a record on disk."""
    objectives = ["val_id/miou", "val_ood/miou"]
    space = {
        "lambda_id": ray.tune.loguniform(0.01, 1.0),
        "lambda_ood": ray.tune.loguniform(0.01, 1.0),
    }
    ray.tune.Tuner(
        ray.tune.with_resources(train, {"cpu": 1}),
        param_space=space,
        tune_config=ray.tune.TuneConfig(
            search_alg=OptunaSearch(
                metric=objectives,
                mode=["max", "max"],
                sampler=optuna.samplers.TPESampler(seed=0, multivariate=True),
                storage=optuna.storages.RDBStorage(f"sqlite:///{folder / 'study.db'}"),
                study_name="baseline",
            ),
            num_samples=trials,
            max_concurrent_trials=workers,
            reuse_actors=True,
        ),
        run_config=ray.tune.RunConfig(
            name="baseline",
            storage_path=str(folder),
            verbose=0,
            callbacks=[MLflowLoggerCallback(tracking_uri, experiment_name="baseline")],
        ),
    ).fit()
