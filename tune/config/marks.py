"""Why results of a study are not to be taken at their names: leakage and reconstructions."""

from __future__ import annotations

from tune.config.study_file import TEACHER_ROLES, StudyFile

MEANINGS = {
    "leakage": "it is trained on val_ood, so that every score of it, and of each student it "
    "teaches, is a diagnostic and no result",
    "reconstruction": "rebuilt from a text that leaves much open; its scores say nothing of the "
    "published system",
}


def study_marks(file: StudyFile) -> list[str]:
    """Return a sentence for each reason, none where every system is what its name says."""
    marks = []
    for role in TEACHER_ROLES:
        config = file.teacher_config(role)
        title = f"{role.upper()} teacher"
        marks += [f"{title} {config.recipe.preset}: {MEANINGS[m]}" for m in config.recipe.marks]
        if config.backbone != file.backbone:
            marks += _network(title, config.backbone.label)
    return [*marks, *_network("backbone", file.backbone.label)]


def _network(who: str, label: str) -> list[str]:
    name, _, mark = label.partition(" (")
    mark = mark.removesuffix(")")
    return [f"{who} {name}: {MEANINGS[mark]}"] if mark in MEANINGS else []
