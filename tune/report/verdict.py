"""What a study has shown, in plain words, and what takes away from it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from refkd.evaluation.comparison import MEANING, Figure
from tune.report.figure import aliases_of, plural
from tune.results.comparison import system_name
from tune.study.outcomes import Comparison
from tune.study.snapshot import StudySnapshot

CONVENTION = (
    "Percent under the project's convention: seconds, truth and prediction clamped to the video, "
    f"a hit is tIoU ≥ m, every pair counts. {MEANING} ±: standard deviation over seeds. ID: like "
    "the training data; OOD: moments lie elsewhere than in training."
)


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """The one paragraph."""

    headline: str
    sentences: list[str] = field(default_factory=list)


def judge(study: StudySnapshot) -> Verdict:
    """Return the verdict on the strongest evidence there is: test, finalists, or the search."""
    champions = study.champions
    if not champions:
        return _nothing(study)
    if study.final is not None:
        report = study.final
        numbers = report.look.trials
        seeds = max(report.seeds.values(), default=1)
        ground = f"On the sealed test roles ({plural(seeds, 'seed')} a champion)"
        return compared(numbers, report.comparison, ("test_id", "test_ood"), ground)
    if study.finalists is not None:
        found = study.finalists
        ground = f"On validation, the mean over {plural(len(found.seeds), 'fresh seed')}"
        return compared(champions, found.comparison, ("val_id", "val_ood"), ground)
    return _search_only(study)


def leakage(study: StudySnapshot) -> list[str]:
    """Return every reason to trust a test result less than it looks."""
    if study.ledger_fault is not None:
        return [f"The ledger cannot be read, so looks at test cannot be counted: {_line(study)}"]
    if not study.looks:
        return []
    first, last = study.looks[0], study.looks[-1]
    marks = []
    if len(study.looks) > 1:
        marks.append(
            f"The test roles were looked at {len(study.looks)} times; only the first result was "
            "not preceded by a look."
        )
    later = _trained_after(study, datetime.fromisoformat(first.time).timestamp())
    if later:
        marks.append(
            f"{plural(later, 'trial')} ended after the first look: their choice may have been "
            "guided by test scores."
        )
    if last.dataset != study.attributes.get("dataset"):
        marks.append("The last look was at another dataset than the one that was searched on.")
    if any(look.git_dirty == "true" for look in study.looks):
        marks.append("A look was made with code that differs from its commit.")
    if study.final is None:
        marks.append("The result of the last look was not kept: it is shown nowhere below.")
    elif not study.final.from_finalists:
        marks.append(
            "The champions that were tested are the search's own students, each the best of many "
            "tries on the search's seeds."
        )
    return marks


def _line(study: StudySnapshot) -> str:
    return (study.ledger_fault or "").rstrip(".") + "."


def _trained_after(study: StudySnapshot, moment: float) -> int:
    ended = [v.stamps["ended"].time for v in study.trials if "ended" in v.stamps]
    return sum(time > moment for time in ended)


def _nothing(study: StudySnapshot) -> Verdict:
    ended, running = study.summary.ended, study.count("RUNNING")
    told = f"{ended} of {plural(study.summary.wanted, 'trial')} have ended"
    if running and study.driver is not None:
        return Verdict(headline=f"Nothing can be said yet: {told}, {running} at work.")
    if not study.trials:
        return Verdict(headline="Nothing can be said: no trial has begun.")
    return Verdict(headline=f"No winner: {told}, and none of them is complete and admissible.")


def _search_only(study: StudySnapshot) -> Verdict:
    """Name the best so far; nothing is claimed of the best of many tries on one seed."""
    tables: Mapping[str, Any] = study.summary.intervals
    champions = study.champions
    alias = "best-ood" if "best-ood" in champions else next(iter(champions))
    role = "val_id" if alias == "best-id" else "val_ood"
    name, number = _role(role), champions[alias]
    metrics = study.summary.trial(number).metrics
    scored = study.scored_champions.get(alias) == number
    own = _scored(tables, role, alias) if scored else None
    value = f"{metrics[f'{role}/miou']:.2f}" if own is None else own.text()
    so_far = " so far" if study.state.has_trials_left else ""
    teachers = [
        f"the {kind.upper()} teacher {_teacher_score(study, kind, role)}"
        for kind in study.summary.teachers
        if f"{role}/miou" in study.summary.teachers[kind]
    ]
    against = f"; {' and '.join(teachers)}" if teachers else ""
    headline = (
        f"Best out of distribution{so_far}: {alias} (trial {number}) with {name} validation mIoU "
        if alias == "best-ood"
        else f"Best{so_far}: {alias} (trial {number}) with {name} validation mIoU "
    )
    tries = study.summary.ended
    return Verdict(
        headline=f"{headline}{value}{against}.",
        sentences=[
            f"No difference to a teacher is claimed: this is the best of {plural(tries, 'trial')} "
            "on the same seeds, so its score flatters it. `refkd finalists` trains the best "
            "trials again on fresh seeds.",
            *_above_floor(alias, own, role, tables.get(role, {}).get("floors", {})),
        ],
    )


def _teacher_score(study: StudySnapshot, kind: str, role: str) -> str:
    held = _scored(study.summary.intervals, role, f"teacher-{kind}")
    value = study.summary.teachers[kind][f"{role}/miou"]
    return f"{value:.2f}" if held is None else held.text()


def _scored(tables: Mapping[str, Any], role: str, system: str) -> Figure | None:
    """Return a system's mIoU in the search's own table; None where it has none."""
    held = tables.get(role, {}).get(system, {}).get("miou")
    return None if held is None else Figure.model_validate(held)


def _above_floor(
    alias: str,
    own: Figure | None,
    role: str,
    floors: Mapping[str, Mapping[str, float]],
) -> list[str]:
    if own is None or own.low is None or not floors:
        return []
    name, best = max(((n, f["miou"]) for n, f in floors.items()), key=lambda pair: pair[1])
    told = f"the best predictor that never looks at a video ({name}) reaches {best:.2f}"
    if own.low > best:
        return [f"It clears the bias floors: {_role(role)}, {told}."]
    return [
        f"Beware: {_role(role)}, {told}, which lies within or above the interval of {alias}; it "
        "may answer from where moments usually lie."
    ]


def compared(
    champions: Mapping[str, int], comparison: Comparison, roles: tuple[str, str], ground: str
) -> Verdict:
    """Return what some champions' paired differences to both teachers say.

    `roles` are the one in and the one out of distribution; `ground` says what they stand on.
    """
    inside, outside = roles
    order = [("best-ood", outside), ("best-id", inside), ("best-balanced", outside)]
    order += [("best-balanced", inside)]
    known = [(champions[alias], role) for alias, role in order if alias in champions]
    questions = list(dict.fromkeys(known))
    names = aliases_of(champions)
    told = [_against_teachers(names[n], n, comparison, role) for n, role in questions]
    first, role = questions[0]
    floors = _above_floor(
        f"trial {first}",
        comparison.scores[role][system_name(first)]["miou"],
        role,
        comparison.floors.get(role, {}),
    )
    return Verdict(
        headline=f"{ground}, {told[0]}.", sentences=[*map(_as_sentence, told[1:]), *floors]
    )


def _against_teachers(aliases: str, number: int, comparison: Comparison, role: str) -> str:
    rows = comparison.differences[role][system_name(number)]
    where = "out of distribution" if role.endswith("ood") else "in distribution"
    who = f"trial {number} ({aliases})"
    by_margin = sorted((row["miou"].value, name) for name, row in rows.items())
    margins = {name: row["miou"] for name, row in rows.items()}
    strongest = by_margin[0][1]
    hardest = margins[strongest]
    if all(margin.is_above_zero for margin in margins.values()):
        return (
            f"{who} beats both teachers {where}, the better one ({_teacher(strongest)}) by "
            f"{hardest.text(sign=True)} points of mIoU"
        )
    sentence = (
        f"{who} falls behind the {_teacher(strongest)} {where}: {hardest.text(sign=True)} points "
        "of mIoU"
        if hardest.is_below_zero
        else f"no difference can be told {where} between {who} and the better teacher "
        f"({_teacher(strongest)}): {hardest.text(sign=True)} points of mIoU"
    )
    beaten = [n for _, n in by_margin[1:] if margins[n].is_above_zero]
    if beaten:
        other = beaten[0]
        sentence += f"; it beats the {_teacher(other)} by {margins[other].text(sign=True)}"
    return sentence


def _teacher(system: str) -> str:
    return f"{system.removeprefix('teacher-').upper()} teacher"


def _role(role: str) -> str:
    return "OOD" if role.endswith("ood") else "ID"


def _as_sentence(sentence: str) -> str:
    return sentence[:1].upper() + sentence[1:] + "."
