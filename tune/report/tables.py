"""What the report says without pictures: cost, origin, test evaluations, what to type next."""

from __future__ import annotations

import os
import platform
from pathlib import Path

from refkd.data.local_copy import local_copy
from refkd.data.manifest import Manifest, read_manifest
from refkd.errors import DataError
from refkd.urls import Url
from tune.config.teachers import TeacherSpec
from tune.display.console import ID, OOD, plural, score
from tune.display.cost import bill_cells
from tune.display.dataset import ingredients
from tune.report.figure import Table, when
from tune.results.bill import make_bill
from tune.study.environment import environment
from tune.study.events import teachers_of
from tune.study.snapshot import StudySnapshot
from tune.study.state import StudyState
from tune.tracking.target import registered_name


def cost(study: StudySnapshot) -> tuple[str, Table | None]:
    """Return the bill with a sentence."""
    bill = make_bill(study)
    if not bill.rows:
        return "Nothing was trained yet, so there is nothing to pay.", None
    text = (
        f"{bill.total.cpu_seconds / 3600:.2f} CPU hours. Drivers were at work for "
        f"{study.wall_seconds / 3600:.2f} hours in all; launches: {len(study.launches)}."
    )
    if bill.total.gpu_seconds:
        text += f" {bill.total.gpu_seconds / 3600:.2f} GPU hours."
    if bill.total.money:
        text += f" {bill.currency} {bill.total.money:.2f}."
    heads = ["", "trials", "epochs", "CPU s", "GPU s", bill.currency]
    return text, Table(heads=heads, rows=[bill_cells(row) for row in [*bill.rows, bill.total]])


def test_evaluations(study: StudySnapshot) -> Table | None:
    """Return every look at the test roles with its reason."""
    rows = [
        [
            str(look.look),
            look.time,
            f"{look.user} on {look.host}",
            ", ".join(f"{alias}: trial {e.trial}" for alias, e in look.champions.items()),
            f"{look.git_commit[:10]}{' (changed)' if look.git_dirty == 'true' else ''}",
            look.reason or ("the first look" if look.look == 1 else ""),
        ]
        for look in study.looks
    ]
    heads = ["look", "when (UTC)", "who", "at what", "commit", "why"]
    return Table(heads=heads, rows=rows) if rows else None


def teachers(study: StudySnapshot) -> Table:
    """Return both teachers: recipe or the file they came from, kept epoch, scores, digest."""
    rows = []
    for role, one in teachers_of(study.attributes).items():
        spec = getattr(study.file.teachers, role)
        label = one.origin or (spec.recipe.label if isinstance(spec, TeacherSpec) else "")
        epoch = "" if one.origin else str(one.epoch)
        scores = [score(one.metrics, metric) for metric in (ID, OOD)]
        rows.append([f"{role.upper()} teacher", label, epoch, *scores, one.digest[:16]])
    heads = ["teacher", "recipe", "kept epoch", "ID mIoU", "OOD mIoU", "digest"]
    return Table(heads=heads, rows=rows)


def manifest_of(study: StudySnapshot) -> Manifest:
    """Return what is known of the study's dataset; `DataError` where it is not here."""
    place = study.file.dataset
    return read_manifest(local_copy(place) if isinstance(place, Url) else place)


def no_test(study: StudySnapshot) -> str:
    """Return which test roles the dataset has none of; empty where it is not known."""
    try:
        return manifest_of(study).no_test
    except DataError:
        return ""


def dataset_card(study: StudySnapshot) -> Table:
    """Return what the data is; its fingerprint alone where the dataset is not here."""
    fingerprint = str(study.attributes.get("dataset", "not known"))
    rows = [["place", str(study.file.dataset)], ["fingerprint", fingerprint]]
    try:
        manifest = manifest_of(study)
    except DataError as error:
        return Table(heads=["dataset", ""], rows=[*rows, ["manifest", str(error)]])
    if manifest.fingerprint != fingerprint:
        rows.append(["beware", f"the folder now holds another dataset: {manifest.fingerprint}"])
    counts = "; ".join(
        f"{role}: {plural(count.pairs, 'pair')} of {plural(count.videos, 'video')}"
        for role, count in manifest.roles.items()
    )
    repairs = "; ".join(
        f"{split}: {', '.join(f'{n} {kind}' for kind, n in held.items() if n)}"
        for split, held in manifest.repairs.items()
        if any(held.values())
    )
    rows += [["name", manifest.name], ["roles", counts], *map(list, ingredients(manifest))]
    rows.append(["repairs", repairs.replace("_", " ") or "none"])
    rows.append(["simulated", "yes" if manifest.simulation else "no"])
    return Table(heads=["dataset", ""], rows=rows)


def provenance(study: StudySnapshot) -> Table:
    """Return seeds, code, versions and machines."""
    rows = [
        ["study seed", str(study.attributes.get("seed", study.file.seed))],
        ["student seeds", ", ".join(map(str, study.file.seeds()))],
        ["sampler", study.file.sampler.name],
        ["pruner", study.file.pruning.name],
        ["workers", f"{study.file.workers}, each {study.file.resources.cpu:g} CPU and "
         f"{study.file.resources.gpu:g} GPU"],
    ]  # fmt: skip
    if study.finalists is not None:
        rows.append(["fresh seeds", ", ".join(map(str, study.finalists.seeds))])
    code = study.environments()
    rows += [[f"{what} of {when(at)}", str(found)] for what, at, found in code]
    rows.append(["this report", str(environment())])
    rows.append(["made on", f"{platform.platform()}, {_processor()}, {os.cpu_count()} CPUs"])
    if not code:
        rows.append(["beware", "the study holds no code or versions: an older refkd made it"])
    return Table(heads=["", ""], rows=rows)


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def commands(study: StudySnapshot) -> dict[str, str]:
    """Return what to type next, and how to use the winner, by its purpose."""
    path, state, outgrown = study.path, study.state, study.summary.outgrown
    idle = study.champions and study.driver is None and not state.has_trials_left
    found = {}
    if state.has_trials_left:
        found["Continue the search"] = f"refkd search {path}"
    if idle and (state == StudyState.ENDED or outgrown):
        found["Train the best again on fresh seeds"] = f"refkd finalists {path} --top 3 --seeds 5"
    if idle and state == StudyState.FINALISTS and not no_test(study):
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
            f"export MLFLOW_TRACKING_URI={study.place.tracking}\n"
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
