"""The result of a study in plain words, and the caveats about it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime

from refkd.evaluation.comparison import Figure
from refkd.evaluation.standing import Standing
from tune.display.comparison import best_floor, system_words
from tune.display.console import aliases_of, plural
from tune.report.figure import capitalised
from tune.report.scores import search_comparison
from tune.results.comparison import system_name
from tune.study.outcomes import Comparison
from tune.study.snapshot import StudySnapshot
from tune.study.summary import standing_words


@dataclass(frozen=True, kw_only=True)
class Headline:
    """The first paragraph of the report: a headline and further sentences."""

    text: str
    sentences: list[str] = field(default_factory=list)


def headline(study: StudySnapshot) -> Headline:
    """Return the result by the strongest evidence there is: test, finalists, or the search."""
    if not study.champions:
        return _nothing(study)
    if study.final is not None:
        seeds = max(study.final.seeds.values(), default=1)
        ground = f"On the sealed test roles ({plural(seeds, 'seed')} a champion)"
        champions = study.final.look.trials
        return compared(champions, study.final.comparison, ("test_id", "test_ood"), ground)
    if study.finalists is not None:
        ground = f"On validation, the mean over {study.finalists.seeds_text}"
        roles = ("val_id", "val_ood")
        found = compared(study.champions, study.finalists.comparison, roles, ground)
        return replace(found, sentences=found.sentences + _sure(study.finalists.standings))
    return _search_only(study)


def caveats_of_test(study: StudySnapshot) -> list[str]:
    """Return every reason to trust a test result less than it looks."""
    if study.ledger_fault is not None:
        fault = study.ledger_fault.rstrip(".")
        return [f"The ledger cannot be read, so looks at test cannot be counted: {fault}."]
    if not study.looks:
        return []
    first, last = study.looks[0], study.looks[-1]
    caveats = []
    if len(study.looks) > 1:
        caveats.append(
            f"The test roles were looked at {len(study.looks)} times; only the first result was "
            "not preceded by a look."
        )
    since = datetime.fromisoformat(first.time).timestamp()
    later = sum(trial.ended is not None and trial.ended > since for trial in study.trials)
    if later:
        caveats.append(
            f"{plural(later, 'trial')} ended after the first look: their choice may have been "
            "guided by test scores."
        )
    if last.dataset != study.attributes.get("dataset"):
        caveats.append("The last look was at another dataset than the one that was searched on.")
    if any(look.git_dirty == "true" for look in study.looks):
        caveats.append("A look was made with code that differs from its commit.")
    if study.final is None:
        caveats.append("The result of the last look was not kept: it is shown nowhere below.")
    elif not study.final.from_finalists:
        caveats.append(
            "The champions that were tested are the search's own students, each the best of many "
            "tries on the search's seeds."
        )
    return caveats


def _nothing(study: StudySnapshot) -> Headline:
    running, count = study.count("RUNNING"), plural(study.summary.wanted, "trial")
    ended = f"{study.summary.ended} of {count} have ended"
    if running and study.driver is not None:
        return Headline(text=f"Nothing can be said yet: {ended}, {running} at work.")
    if not study.trials:
        return Headline(text="Nothing can be said: no trial has begun.")
    return Headline(text=f"No winner: {ended}, and none of them is complete and admissible.")


def _search_only(study: StudySnapshot) -> Headline:
    """Name the best so far; nothing is claimed of the best of many tries on one seed."""
    found, champions = search_comparison(study), study.champions
    alias = "best-ood" if "best-ood" in champions else next(iter(champions))
    role = "val_id" if alias == "best-id" else "val_ood"
    metric, number = f"{role}/miou", champions[alias]
    scored = {name: row["miou"] for name, row in found.scores.get(role, {}).items()}
    own = scored.get(system_name(number)) if study.scored_champions.get(alias) == number else None
    value = f"{study.summary.trial(number).metrics[metric]:.2f}" if own is None else own.text()
    teachers = []
    for kind, metrics in study.summary.teachers.items():
        if metric in metrics:
            held = scored.get(f"teacher-{kind}")
            score = f"{metrics[metric]:.2f}" if held is None else held.text()
            teachers.append(f"the {kind.upper()} teacher {score}")
    best = "Best out of distribution" if alias == "best-ood" else "Best"
    so_far = " so far" if study.state.has_trials_left else ""
    against = f"; {' and '.join(teachers)}" if teachers else ""
    tries = plural(study.summary.ended, "trial")
    return Headline(
        text=f"{best}{so_far}: {alias} (trial {number}) with {_side(role)} validation mIoU "
        f"{value}{against}.",
        sentences=[
            f"No difference to a teacher is claimed: this is the best of {tries} on the same "
            "seeds, so its score flatters it. `refkd finalists` trains the best trials again on "
            "fresh seeds.",
            *_sure({a: one for a, one in study.summary.standings.items() if a == alias}),
            *_above_floor(alias, own, role, found),
        ],
    )


def _sure(standings: Mapping[str, Standing]) -> list[str]:
    return [capitalised(f"{standing_words(a, one)}.") for a, one in standings.items()]


def _above_floor(name: str, own: Figure | None, role: str, comparison: Comparison) -> list[str]:
    """Say whether a score's interval is above the best predictor that looks at no video."""
    floor = best_floor(comparison.floors.get(role))
    if own is None or own.low is None or floor is None:
        return []
    predictor, best = floor
    reached = (
        f"{_side(role)}, the best predictor that never looks at a video ({predictor}) reaches "
        f"{best:.2f}"
    )
    if own.low > best:
        return [f"It clears the bias floors: {reached}."]
    return [
        f"Beware: {reached}, which lies within or above the interval of {name}; it may answer "
        "from where moments usually lie."
    ]


def compared(
    champions: Mapping[str, int], comparison: Comparison, roles: tuple[str, str], ground: str
) -> Headline:
    """Return what the paired differences of some champions to both teachers say.

    `roles` are the one in and the one out of distribution; `ground` names what was scored.
    """
    inside, outside = roles
    order = [("best-ood", outside), ("best-id", inside), ("best-balanced", outside)]
    order += [("best-balanced", inside)]
    questions = dict.fromkeys((champions[a], role) for a, role in order if a in champions)
    names = aliases_of(champions)
    first, *others = (_against_teachers(n, names[n], comparison, role) for n, role in questions)
    number, role = next(iter(questions))
    own = comparison.scores[role][system_name(number)]["miou"]
    sentences = [f"{capitalised(other)}." for other in others]
    sentences += _above_floor(f"trial {number}", own, role, comparison)
    return Headline(text=f"{ground}, {first}.", sentences=sentences)


def _against_teachers(number: int, aliases: str, comparison: Comparison, role: str) -> str:
    rows = comparison.differences[role][system_name(number)]
    margins = {system_words(teacher): row["miou"] for teacher, row in rows.items()}
    where = "out of distribution" if role.endswith("ood") else "in distribution"
    who = f"trial {number} ({aliases})"
    if not margins:
        return f"{who} has no teacher beside it {where}: both are imported and have no network"
    better, *others = sorted(margins, key=lambda teacher: (margins[teacher].value, teacher))
    hardest = margins[better]
    points = f"{hardest.text(sign=True)} points of mIoU"
    if all(margin.is_above_zero for margin in margins.values()):
        whom = f"both teachers {where}, the better one ({better})"
        return f"{who} beats {whom if others else f'the {better} {where}'} by {points}"
    if hardest.is_below_zero:
        sentence = f"{who} falls behind the {better} {where}: {points}"
    else:
        sentence = (
            f"no difference can be told {where} between {who} and the better teacher "
            f"({better}): {points}"
        )
    beaten = next((teacher for teacher in others if margins[teacher].is_above_zero), None)
    if beaten is not None:
        sentence += f"; it beats the {beaten} by {margins[beaten].text(sign=True)}"
    return sentence


def _side(role: str) -> str:
    return "OOD" if role.endswith("ood") else "ID"
