"""tune: the search over RefKD's hyperparameters, on Ray Tune, Optuna and MLflow.

Ray Tune executes, Optuna's study is the truth, MLflow is the record for people. The method itself
is the package `refkd`.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tune.finalist_champions import Finalists
    from tune.finalist_runs import finalists
    from tune.launch import search
    from tune.locate import read_summary
    from tune.results import Summary
    from tune.sealed_scores import FinalReport, evaluate_final
    from tune.study_file import StudyFile, load_study_file

_HOME = {
    "FinalReport": "tune.sealed_scores",
    "Finalists": "tune.finalist_champions",
    "StudyFile": "tune.study_file",
    "Summary": "tune.results",
    "evaluate_final": "tune.sealed_scores",
    "finalists": "tune.finalist_runs",
    "load_study_file": "tune.study_file",
    "read_summary": "tune.locate",
    "search": "tune.launch",
}

__all__ = [
    "FinalReport",
    "Finalists",
    "StudyFile",
    "Summary",
    "evaluate_final",
    "finalists",
    "load_study_file",
    "read_summary",
    "search",
]


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used, so that `import tune` stays quick."""
    if name not in _HOME:
        raise AttributeError(f"module 'tune' has no attribute {name!r}")
    return getattr(import_module(_HOME[name]), name)
