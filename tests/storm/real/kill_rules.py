"""What must hold of a workspace after a kill and the run that went on; looked at apart.

A process of its own looks at each workspace: the libraries keep connections to files that the next
kill's workspace puts in their place.
"""

from __future__ import annotations

import json
import multiprocessing
import warnings
from collections import Counter
from collections.abc import Iterator, Set
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

from support.chaos import outcome

from refkd.data.dataset import Dataset
from refkd.files import canonical_json, sha256_file, temporaries
from tune.audit.examine import examine
from tune.audit.replay import replay
from tune.results.finalists import read_results
from tune.study.ledger import read_looks
from tune.study.locate import locate
from tune.study.opening import open_study
from tune.study.view import ENDED_STATES, view
from tune.tracking.sync import sync

Result = dict[str, Any]
"""What a workspace holds and a kill must not change."""


def looked_at(work: Path, phase: str, *, kills: int = 0) -> tuple[list[str], Result]:
    """Return which rules a workspace breaks, in a sentence each, and its results."""
    server = multiprocessing.get_context("forkserver")
    server.set_forkserver_preload(["mlflow", "optuna", "tune.audit.examine", "tune.tracking.sync"])
    with ProcessPoolExecutor(1, mp_context=server) as apart:
        return apart.submit(_look, work, phase, kills).result()


def _look(work: Path, phase: str, kills: int) -> tuple[list[str], Result]:
    warnings.simplefilter("ignore")
    if phase in ("prepare", "simulate"):
        return list(_data_faults(work)), _data(work)
    if phase == "reproduce":
        return [], {"numbers": _table(work)}
    known = {"registry"} if phase == "sync" else set[str]()  # a lost one is for promote to fill
    return list(_faults(work, kills, known)), _results(work, phase)


def _faults(work: Path, kills: int, known: Set[str]) -> Iterator[str]:
    path = work / "study.yaml"
    study = open_study(locate(path))
    views = [view(trial) for trial in study.get_trials(deepcopy=False)]
    for one in views:
        if one.state not in ENDED_STATES:
            yield f"trial {one.number} is {one.state}"
        elif one.attributes["ended"]["state"] != one.state:
            yield f"trial {one.number} ended as {one.attributes['ended']['state']}, {one.state}"
    yield from lost_epochs(work / "epochs", kills=kills)
    yield from (f"replay: {one}" for one in replay(study).differences)
    sent = sync(path)
    if sent.left or sent.refused:
        yield f"sync: {sent.left} events left ({sent.problem}), {sent.refused} refused"
    found = [one for one in examine(path).findings if one.check not in known]
    yield from (f"doctor: {one.what}" for one in found)
    yield from (f"half a file: {one}" for one in temporaries(work / "runs"))


def lost_epochs(log: Path, *, kills: int) -> Iterator[str]:
    """Yield the trials that lost more than an epoch a kill, by the log of epochs that began."""
    text = log.read_text(encoding="ascii") if log.exists() else ""
    begun = Counter(tuple(map(int, line.split()[:2])) for line in text.splitlines())
    for number in sorted({trial for trial, _ in begun}):
        epochs = {e: times for (trial, e), times in sorted(begun.items()) if trial == number}
        lost = sum(epochs.values()) - len(epochs)
        if lost > kills:
            yield f"trial {number} lost {lost} epochs by {kills} kills: {epochs}"


def _results(work: Path, phase: str) -> Result:
    path = work / "study.yaml"
    study = open_study(locate(path))
    folder = locate(path).folder
    views = [view(trial) for trial in study.get_trials(deepcopy=False)]
    found: Result = {"trials": outcome(views)}
    places = ("champions", "finalists/champions")
    weights = [file for place in places for file in folder.glob(f"{place}/*/weights.safetensors")]
    found["champions"] = {str(w.relative_to(folder)): sha256_file(w) for w in weights}
    found["finalists"] = {
        f"{trial}/{replicate}": (one.seed, one.sha256, one.epochs)
        for (trial, replicate), one in sorted(read_results(study.user_attrs).items())
    }
    found["looks"] = [row.look for row in read_looks(folder)]
    found["final"] = {
        file.name: json.loads(file.read_text("utf-8"))["comparison"]
        for file in sorted(folder.glob("final-*.json"))
    }
    if phase == "report":
        page = (folder / "report" / "report.html").read_text("utf-8")
        found["page"] = page.rstrip().endswith("</html>")
    if phase == "promote":
        promoted = folder / "promoted" / "chosen" / "weights.safetensors"
        found["promoted"] = sha256_file(promoted)
    return found


def _table(work: Path) -> Any:
    (path,) = (work / "runs").glob("reproduce/*/table5.json")
    return json.loads(path.read_text(encoding="utf-8"))


def _data_faults(work: Path) -> Iterator[str]:
    for folder in (work / "made").iterdir():
        if folder.name in ("prepared", "simulated"):
            Dataset.open(folder).verify()
        else:
            yield f"left beside the dataset: {folder.name}"


def _data(work: Path) -> Result:
    files = sorted(path for path in (work / "made").rglob("*") if path.is_file())
    return {str(path.relative_to(work)): sha256_file(path) for path in files}


def differences(calm: Result, found: Result) -> list[str]:
    """Return which results differ from those of an undisturbed run."""
    return [
        f"{name} is not as undisturbed: {_short(found.get(name))} instead of {_short(value)}"
        for name, value in calm.items()
        if _same(found.get(name)) != _same(value)
    ]


def _same(value: Any) -> bytes:
    return canonical_json(json.loads(json.dumps(value)))


def _short(value: Any) -> str:
    return str(value)[:200]
