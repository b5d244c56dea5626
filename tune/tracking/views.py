"""The two views of MLflow's run list that `refkd ui` opens: trials as a table, and as charts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, get_args

from tune import compat
from tune.config.study_file import StudyFile
from tune.tracking.operations import KEPT

View = Literal["table", "charts"]
VIEWS: Sequence[View] = get_args(View)
_BOTH = ("val_id/miou", "val_ood/miou")
_STATE, _ROLE, _STUDY = "refkd.state", "refkd.role", "refkd.study_name"


def view_key(study: str, view: View) -> str:
    """Return the name of a study's view in its experiment, which other studies may share."""
    return f"refkd-{study}-{view}"


def view_of(file: StudyFile, view: View) -> str:
    """Return what MLflow keeps of a view: trials and teachers, the best first objective on top.

    The columns of a table are the state, the scores of complete trials and the searched values;
    the axes of charts are those values and the objectives, of pruned trials where they stopped.
    """
    names = list(dict.fromkeys([*file.objectives, *_BOTH]))
    scores, axes = [_shown(name) for name in names], names[: max(2, len(file.objectives))]
    asked = " AND ".join(
        (
            f"tags.`{_STUDY}` = '{file.name}'",
            f"tags.`{_ROLE}` != 'study'",
            f"tags.`{_ROLE}` != 'finalist'",
        )
    )
    return compat.run_view(
        asked,
        order=scores[0],
        ascending=file.objectives[0] in file.minimize,
        tags=[_STATE] if view == "table" else [],
        metrics=scores if view == "table" else axes,
        params=list(file.space),
        charts=view == "charts",
    )


def _shown(metric: str) -> str:
    """Return the name of a score in a run: validation scores are those of the kept epoch."""
    return f"{KEPT}{metric}" if metric.startswith("val_") else metric
