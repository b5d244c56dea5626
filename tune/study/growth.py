"""What may change between launches of a study, and how trials go on where epochs were added."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from refkd.errors import RefKDError
from tune.study.view import CONTINUES

if TYPE_CHECKING:
    from tune.config.study_file import StudyFile
    from tune.study.launches import Launch
    from tune.study.search_study import SearchStudy
    from tune.study.view import TrialView


def check_growth(file: StudyFile, launches: Sequence[Launch]) -> None:
    """Refuse what would falsify earlier trials; `RefKDError` names the key and the reason.

    More trials, more epochs, other ranges of numbers, new keys in the space, another sampler or
    pruner are welcome. Fewer epochs, another kind of range or other choices for a known key, and
    other fixed settings, replicates or constraints are not.
    """
    for launch in launches:
        if file.training.epochs < launch.epochs:
            raise RefKDError(
                f"training.epochs is {file.training.epochs}, but launch {launch.number} trained "
                f"{launch.epochs}: values of fewer epochs cannot be compared; give the changed "
                "study another name"
            )
        earlier = launch.study_file()
        _check_same(file, earlier, launch.number)
        _check_space(file, earlier, launch.number)
        _check_fixed(file, earlier, launch.number)


def _check_same(file: StudyFile, earlier: StudyFile, launch: int) -> None:
    for name in ("replicates", "constraints"):
        if getattr(file, name) != getattr(earlier, name):
            raise RefKDError(
                f"{name} differs from that of launch {launch}: earlier trials were judged "
                "otherwise and cannot be compared; give the changed study another name"
            )


def _check_space(file: StudyFile, earlier: StudyFile, launch: int) -> None:
    for name, before in earlier.space.items():
        now = file.space.get(name)
        if now is None:
            continue
        if before.kind != now.kind or before.log != now.log:
            raise RefKDError(
                f"space.{name} is now a {now.label}, in launch {launch} it was a "
                f"{before.label}; only the bounds of a range may change, so give the changed "
                "study another name"
            )
        if before.choice != now.choice:
            raise RefKDError(
                f"space.{name} has the choices {now.choice}, in launch {launch} it had "
                f"{before.choice}; the sampler cannot compare them, so give the changed study "
                "another name"
            )


def _check_fixed(file: StudyFile, earlier: StudyFile, launch: int) -> None:
    now = file.fixed()
    for name, before in earlier.fixed().items():
        if name in now and name != "training.epochs" and now[name] != before:
            raise RefKDError(
                f"{name} is now {now[name]!r}, in launch {launch} it was {before!r}: "
                "earlier trials were trained otherwise; put it into the space, or give the "
                "changed study another name"
            )


def continue_survivors(study: SearchStudy) -> list[int]:
    """Put every complete trial of fewer epochs in line again, to go on from its checkpoint.

    Optuna's finished trials never change, so the rest of the training is a trial of its own that
    says which one it continues; on the front it takes that one's place. Trials that continue
    others do not count against the budget of trials.
    """
    views = study.views()
    known = {v.attributes.get(CONTINUES) for v in views}
    epochs = study.file.training.epochs
    grown = []
    for view in views:
        if view.state == "COMPLETE" and _epochs(view) < epochs and view.number not in known:
            used = {**view.last, **view.kept}
            inherited = {
                CONTINUES: view.number,
                "inherited": view.epoch,
                "inherited_cpu_seconds": used.get("cost/cpu_seconds", 0.0),
                "inherited_wall_seconds": used.get("cost/wall_seconds", 0.0),
            }
            before = study.launches.once_fixed(study.file.space, view.values)
            study.optuna.enqueue_trial({**before, **view.values}, user_attrs=inherited)
            grown.append(view.number)
    return grown


def current(views: Sequence[TrialView]) -> list[TrialView]:
    """Return the complete trials that count: without those that a complete one continues."""
    complete = [v for v in views if v.state == "COMPLETE"]
    replaced = {v.attributes.get(CONTINUES) for v in complete}
    return [v for v in complete if v.number not in replaced]


def _epochs(view: TrialView) -> int:
    epochs: Any = view.attributes.get("epochs", view.epoch)
    return int(epochs)
