"""What to type next, and how to use the winner."""

from __future__ import annotations

from pathlib import Path

from tune.config.urls import without_password
from tune.study.snapshot import StudySnapshot
from tune.study.state import StudyState
from tune.tracking.target import registered_name


def commands(study: StudySnapshot) -> dict[str, str]:
    """Return what to type next, and how to use the winner, by its purpose."""
    path, state, outgrown = study.path, study.state, study.summary.outgrown
    idle = study.champions and study.driver is None and not state.has_trials_left
    found = {}
    if state.has_trials_left:
        found["Continue the search"] = f"refkd search {path}"
    if idle and (state == StudyState.ENDED or outgrown):
        found["Train the best again on fresh seeds"] = f"refkd finalists {path} --top 3 --seeds 5"
    if idle and state == StudyState.FINALISTS:
        found["Look at the test roles, once"] = f"refkd evaluate --final {path}"
    if idle and state == StudyState.OUT_OF_DATE and not outgrown:
        found["Look at the test roles again"] = (
            f'refkd evaluate --final --again --reason "new champions" {path}'
        )
    kept = _kept_retrievers(study)
    for alias, folder in kept.items():
        found[f"Ask {alias} in Python"] = (
            "from refkd.retriever import Retriever\n\n"
            f'retriever = Retriever.load("{folder}")\n'
            "# features: (clips, width), a row a clip; duration of the video in seconds\n"
            '[[span]] = retriever.retrieve(features, "a person opens the door", duration=30.0)'
        )
    if study.file.tracking.enabled and kept:
        alias = next(iter(kept))
        found[f"Serve {alias} over HTTP"] = (
            f"export MLFLOW_TRACKING_URI={without_password(study.place.tracking)}\n"
            f"mlflow models serve -m models:/{registered_name(study.name)}@{alias} \\\n"
            "  --env-manager local"
        )
    for number in sorted(set(study.champions.values())):
        found[f"Train trial {number} again and compare"] = f"refkd replay {path} --trial {number}"
    return found


def _kept_retrievers(study: StudySnapshot) -> dict[str, Path]:
    """Return the folder of each champion that was exported, best OOD first, each trial once."""
    home = study.folder if study.finalists is None else study.folder / "finalists"
    found: dict[int, Path] = {}
    for alias in ("best-ood", "best-balanced", "best-id"):
        if alias in study.champions:
            found.setdefault(study.champions[alias], home / "champions" / alias)
    return {folder.name: folder for folder in found.values() if folder.is_dir()}
