"""tune: the search over RefKD's hyperparameters, on Ray Tune, Optuna and MLflow.

Ray Tune executes, Optuna's study is the truth, MLflow is the record for people. The method itself
is the package `refkd`.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tune.config.study_file import StudyFile, load_study_file
    from tune.launch import search
    from tune.results.finalists import finalists
    from tune.results.sealed_scores import evaluate_final
    from tune.study.outcomes import Finalists, FinalReport
    from tune.study.snapshot import read_summary
    from tune.study.summary import Summary

_HOME = {
    "FinalReport": "tune.study.outcomes",
    "Finalists": "tune.study.outcomes",
    "StudyFile": "tune.config.study_file",
    "Summary": "tune.study.summary",
    "evaluate_final": "tune.results.sealed_scores",
    "finalists": "tune.results.finalists",
    "load_study_file": "tune.config.study_file",
    "read_summary": "tune.study.snapshot",
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
