"""The files of a registered student, which MLflow can load and serve."""

from __future__ import annotations

import importlib.metadata
import warnings
from pathlib import Path

import numpy as np
import pandas as pd  # type: ignore[import-untyped]
from mlflow.models import ModelSignature
from mlflow.types import ColSpec, DataType, ParamSchema, ParamSpec, Schema
from mlflow.types.schema import Array
from packaging.requirements import Requirement

import refkd


def save_served(retriever: Path, folder: Path, *, feature_dim: int) -> None:
    """Write an exported retriever as an MLflow model that carries refkd's own source."""
    features = [np.zeros((4, feature_dim)).tolist()]
    question = {"features": features, "duration": [12.0], "query": ["a person opens the door"]}
    numbers = Array(DataType.double)
    columns: dict[str, Array | DataType] = {
        "features": Array(numbers),
        "duration": DataType.double,
        "query": DataType.string,
    }
    signature = ModelSignature(
        inputs=Schema([ColSpec(kind, name) for name, kind in columns.items()]),
        outputs=Schema([ColSpec(numbers, name) for name in ("start", "end", "score")]),
        params=ParamSchema([ParamSpec("top", DataType.integer, 1)]),
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # MLflow's, of type hints that are its own
        from mlflow import pyfunc

        pyfunc.save_model(
            str(folder),
            python_model=str(Path(__file__).with_name("served_model.py")),
            artifacts={"retriever": str(retriever)},
            code_paths=[str(Path(refkd.__file__).parent)],
            signature=signature,
            input_example=pd.DataFrame(question),
            pip_requirements=requirements(),
        )


def requirements() -> list[str]:
    """Return the packages of refkd, MLflow and pandas at the versions installed here."""
    wanted = [Requirement(line) for line in importlib.metadata.requires("refkd") or []]
    names = [item.name for item in wanted if item.marker is None] + ["mlflow", "pandas"]
    # A local label such as +cpu names a build that no index may hold.
    return [f"{name}=={importlib.metadata.version(name).partition('+')[0]}" for name in names]
