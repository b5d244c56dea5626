"""All that a report says, read from a study: its storage, its ledger and its results."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from tune.finals.champions import Finalists, read_finalists
from tune.finals.ledger import LedgerError, Look, read_looks
from tune.finals.sealed_scores import FinalReport
from tune.spec.study_file import StudyFile, load_study_file
from tune.study.budget import reached
from tune.study.launches import Launch, read_launches
from tune.study.lease import driver_of
from tune.study.locate import StudyPlace, default_storage, open_study
from tune.study.results import Summary, summarise
from tune.study.view import CONTINUES, TrialView, view

if TYPE_CHECKING:
    import optuna


@dataclass(frozen=True, kw_only=True)
class Facts:
    """A study at one moment; nothing of it is written to."""

    name: str
    path: Path
    """The study file."""
    file: StudyFile
    optuna: optuna.Study
    views: list[TrialView]
    attributes: dict[str, Any]
    """The study's own."""
    summary: Summary
    finalists: Finalists | None
    looks: list[Look]
    ledger_fault: str | None
    """Why the ledger cannot be read, where it cannot."""
    final: FinalReport | None
    """What the last look at the test roles has shown."""
    driver: str | None
    """Who is at work on the study at this moment."""

    @cached_property
    def launches(self) -> list[Launch]:
        """Every run of a driver, the first one first."""
        return read_launches(self.attributes)

    @cached_property
    def wall_seconds(self) -> float:
        """How long drivers were at work, each up to its last sign of life."""
        last = {launch.number: launch.last for launch in self.launches}
        for stamp in (stamp for v in self.views for stamp in v.stamps.values()):
            last[stamp.launch] = max(last.get(stamp.launch, 0.0), stamp.time)
        return sum(last[launch.number] - launch.begun for launch in self.launches)

    @property
    def epochs(self) -> int:
        """E of the students."""
        return int(self.attributes.get("epochs", self.file.training.epochs))

    @property
    def state(self) -> str:
        """`running`, `interrupted`, `ended`, `finalists` or `evaluated`."""
        if self.driver is not None:
            return "running"
        if self.looks:
            return "evaluated"
        if self.finalists is not None:
            return "finalists"
        return "ended" if self._has_ended() else "interrupted"

    @property
    def objectives(self) -> list[str]:
        """Validation metrics that the study maximises."""
        return list(self.attributes.get("objectives", self.file.objectives))

    def count(self, state: str) -> int:
        """Return how many trials are in a state."""
        return sum(v.state == state for v in self.views)

    def champions(self) -> dict[str, int]:
        """Return the trial of each alias: the finalists', where there are any."""
        return self.summary.champions if self.finalists is None else self.finalists.champions

    @property
    def crowned(self) -> dict[str, int]:
        """The champions that the search's intervals are about: those when it last ended."""
        known: dict[str, Any] = self.attributes.get("crowned", {})
        return dict(known.get("champions", self.summary.champions))

    def _has_ended(self) -> bool:
        own = [v for v in self.views if CONTINUES not in v.attributes]
        enough = len(own) >= self.summary.wanted or reached(
            self.file, self.views, lambda: self.wall_seconds
        )
        return bool(enough) and not self.count("RUNNING") and not self.count("WAITING")


def gather(path: Path | str) -> Facts:
    """Read the study of a study file; `NoStudyError` where it was not begun."""
    path = Path(path)
    file = load_study_file(path)
    url = file.storage or default_storage(file.folder)
    study = open_study(StudyPlace(name=file.name, folder=file.folder, storage=url, tracking=""))
    views = [view(trial) for trial in study.get_trials(deepcopy=False)]
    attributes = dict(study.user_attrs)
    driver = driver_of(attributes)
    looks, fault = _looks(file.folder)
    return Facts(
        name=file.name,
        path=path,
        file=file,
        optuna=study,
        views=views,
        attributes=attributes,
        summary=summarise(file.name, views, attributes),
        finalists=read_finalists(attributes),
        looks=looks,
        ledger_fault=fault,
        final=_final(file.folder, looks),
        driver=str(driver) if driver is not None and driver.lives() else None,
    )


def _looks(folder: Path) -> tuple[list[Look], str | None]:
    try:
        return read_looks(folder), None
    except LedgerError as error:
        return [], str(error)


def _final(folder: Path, looks: list[Look]) -> FinalReport | None:
    """Return the last look's result; None where it was not kept."""
    path = folder / f"final-{len(looks)}.json"
    if not looks or not path.is_file():
        return None
    try:
        return FinalReport.model_validate_json(path.read_bytes())
    except ValidationError:
        return None
