"""What is wrong with a search as it goes, each in one sentence with what to do about it.

A pure function of what a search was asked and of its trials. Each check keeps still unless chance
is an unlikely reason for what it sees; `docs/search.md` says when each one speaks.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Literal

import numpy as np

from refkd.config import Config
from tune.config.search_spec import SearchSettings, signs_of
from tune.config.space import Dimension, Value
from tune.study.chance import lowness, trend
from tune.study.effects import FEW, share
from tune.study.ranking import best_by_objective, current
from tune.study.view import TrialView

EDGE = 0.05
"""Share of a range that counts as its end."""
TOWARDS = 2.33
"""Standard deviations of a rank correlation that chance exceeds once in 100 times."""
LOWER = 1.28
"""Standard deviations of a ratio of variances that chance exceeds once in 10 times."""
SETTLED = 4
"""Fewest last epochs that noise is read from, else a third of all."""
SEVERAL = 5
"""Complete trials whose spread is told: the few best of a short search are much alike."""
MANY = 10
"""Trials by which pruning must have stopped one, and not nearly all."""
NO_EFFECT = 0.1
"""Share of the differences between trials below which a key is without effect."""

Check = Literal["range", "noise", "pruning", "parameter", "sampler"]


class Finding(Config):
    """One thing that is wrong with a search, and its remedy.

    >>> str(Finding(check="noise", about="recall", what="it is loud", remedy="average it"))
    'it is loud: average it.'
    """

    check: Check
    about: str
    """The key, the metric or the method that it is about."""
    what: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.what}: {self.remedy}."


def health(
    search: SearchSettings, trials: Sequence[TrialView], *, over: bool = False
) -> list[Finding]:
    """Return what is wrong with a search that its last launch was begun with.

    `over` says that no trial is left.
    """
    checks = (
        _sampler(search, trials, over),
        _pruning(search, trials),
        _noise(search, trials),
        _range(search, trials),
        _parameter(search, trials),
    )
    return [finding for check in checks for finding in check]


def _sampler(search: SearchSettings, trials: Sequence[TrialView], over: bool) -> Iterator[Finding]:
    """Yield that a sampler still draws at random, or will never do anything else."""
    name = search.sampler.name
    if name in ("curves", "tpe", "gp"):
        setting, start = "startup_trials", search.sampler.startup_trials
    elif name in ("nsga2", "nsga3"):
        setting, start = "population", search.sampler.population
    else:
        return
    from_all = name in ("curves", "tpe")
    learnt = ("COMPLETE", "PRUNED") if from_all else ("COMPLETE",)
    known = sum(trial.state in learnt or _is_paused(name, trial) for trial in trials)
    kind = "" if from_all else " complete"
    if known >= start or not (trials or search.budget.trials <= start):
        return
    what = f"{name} still draws at random, with {known} of its first {start}{kind} trials ended"
    remedy = "judge the search only after these"
    if over or search.budget.trials <= start:
        why = (
            f"the search ended with {known}"
            if over
            else f"budget.trials is {search.budget.trials}"
        )
        what = f"{name} draws at random until {start}{kind} trials have ended, but {why}"
        remedy = f"lower sampler.{setting} or raise the budget, or it never learns from a trial"
    yield Finding(check="sampler", about=name, what=what, remedy=remedy)


def _is_paused(sampler: str, trial: TrialView) -> bool:
    """Return whether a sampler learns from a trial that waits at a rung."""
    return sampler == "curves" and trial.paused_at is not None


def _pruning(search: SearchSettings, trials: Sequence[TrialView]) -> Iterator[Finding]:
    """Yield that no trial is ever stopped, or that hardly one is ever completed."""
    pruning = search.pruning
    lowest = f"pruning.min_epochs ({pruning.min_epochs})"
    if pruning.first is not None:
        lowest = f"pruning.first ({pruning.first:g})"
    bound = f"pruning.probability ({pruning.least:g})" if pruning.name == "paired_racing" else ""
    complete = len(current(trials))
    stopped = sum(trial.state == "PRUNED" for trial in trials)
    held = stopped + sum(trial.paused_at is not None for trial in trials)
    if pruning.name == "none":
        return
    if complete >= MANY and not held:
        yield Finding(
            check="pruning",
            about=pruning.name,
            what=f"pruning saves nothing, with {complete} complete trials and none stopped",
            remedy=f"lower {lowest}, raise pruning.reduction ({pruning.reduction})"
            f"{bound and f' or {bound}'}, "
            "or switch it off (pruning.name: none)",
        )
    ended = complete + stopped
    if complete < 2 and ended >= max(MANY, search.budget.trials / 2):
        kept = "none is complete" if complete == 0 else "1 is complete"
        other = ", or use pruning.type: stop" if pruning.type == "promote" else ""
        other = f", or lower {bound}" if bound else other
        yield Finding(
            check="pruning",
            about=pruning.name,
            what=f"pruning has stopped {stopped} of {ended} trials, and {kept}",
            remedy=f"raise {lowest} or the budget{other}",
        )


def _noise(search: SearchSettings, trials: Sequence[TrialView]) -> Iterator[Finding]:
    """Yield each objective that varies more within a trial than from trial to trial."""
    seeds = search.replicates.seeds
    complete = [trial for trial in current(trials) if trial.objectives]
    for place, name in enumerate(search.objectives):
        scores = [(trial.objectives or [])[place] for trial in complete]
        found = (
            between_seeds(complete, name, seeds) if seeds > 1 else between_epochs(complete, name)
        )
        if found is None or len(scores) < SEVERAL:
            continue
        noise, freedom = found
        spread = float(np.var(scores, ddof=1))
        if noise == 0 or lowness(spread / (2 * noise), len(scores) - 1, freedom) < LOWER:
            continue
        where = f"the mean of {seeds} seeds" if seeds > 1 else "one epoch to the next"
        yield Finding(
            check="noise",
            about=name,
            what=f"{name} varies by {math.sqrt(noise):.2g} "
            f"{'in' if seeds > 1 else 'from'} {where} and by {math.sqrt(spread):.2g} between "
            "complete trials (standard deviations), so their order is mostly chance",
            remedy=f"train more seeds a trial (replicates.seeds: {max(3, 2 * seeds)}), and let "
            "`refkd finalists` choose",
        )


def _range(search: SearchSettings, trials: Sequence[TrialView]) -> Iterator[Finding]:
    """Yield each end of a range that holds an objective's best trial, and that trials favour."""
    best, told = best_by_objective(search.objectives, current(trials)), _told(search, trials)
    numbered = {trial.number: trial for trial in told}
    for key, dimension in search.space.items():
        said = set()
        for place, (metric, (number, _)) in enumerate(best.items()):
            value = numbered[number].values.get(key)
            end = end_of(dimension, value)
            if end is None or end in said:
                continue
            upper = end == "upper"
            near = [
                (where, trial)
                for trial in told
                if dimension.contains(at := trial.values.get(key))
                and ((where := dimension.place(at)) >= 0.5) == upper
            ]
            places, beside = zip(*near, strict=True)
            towards = trend(places, standing(search, beside, place))
            if (towards if upper else -towards) < TOWARDS:
                continue
            said.add(end)
            lowest, highest = dimension.ends
            yield Finding(
                check="range",
                about=key,
                what=f"trial {number}, the best by {metric}, has {key}={value:.4g} at the {end} "
                f"end of [{lowest:g}, {highest:g}], and trials get better towards it",
                remedy=f"{'raise' if upper else 'lower'} that end of space.{key} and search on",
            )


def end_of(dimension: Dimension, value: Value) -> Literal["lower", "upper"] | None:
    """Return the end of a range of numbers at which a value lies; None where it lies at none.

    A lower end of 0, or of 1 where whole numbers count something, can hardly be moved: it is none.
    """
    few = dimension.count is not None and dimension.count < 3
    if dimension.choice is not None or few or not dimension.contains(value):
        return None
    where = dimension.place(value)
    if where >= 1 - EDGE:
        return "upper"
    lowest = dimension.ends[0]
    movable = lowest != 0 and not (dimension.int_range and lowest == 1)
    return "lower" if where <= EDGE and movable else None


def _parameter(search: SearchSettings, trials: Sequence[TrialView]) -> Iterator[Finding]:
    """Yield each key that can be said to matter to no objective."""
    told = _told(search, trials)
    for key, dimension in search.space.items():
        known = [trial for trial in told if dimension.contains(trial.values.get(key))]
        if sum(trial.state == "COMPLETE" for trial in known) < FEW:
            continue
        values = [trial.values[key] for trial in known]
        highest = 0.0
        for place in range(len(search.objectives)):
            found = share(dimension, values, standing(search, known, place))
            highest = 1.0 if found is None else max(highest, found.high)
        if highest < NO_EFFECT:
            yield Finding(
                check="parameter",
                about=key,
                what=f"{key} on its own explains at most {highest:.0%} of the differences "
                f"between {len(known)} trials in any objective",
                remedy="take it out of the space, and spend the trials on the rest",
            )


def _told(search: SearchSettings, trials: Sequence[TrialView]) -> list[TrialView]:
    """Return the complete and the pruned trials, as far as their objectives are known."""
    ended = [*current(trials), *(trial for trial in trials if trial.state == "PRUNED")]
    return [
        trial
        for trial in ended
        if trial.objectives or all(name in trial.last for name in search.objectives)
    ]


def standing(search: SearchSettings, trials: Sequence[TrialView], objective: int) -> list[int]:
    """Return each trial's place by how far it came, then by an objective there; more is better."""
    name = search.objectives[objective]
    sign = signs_of([name], search.minimize)[0]
    reached = [
        (1, 0, sign * trial.objectives[objective])
        if trial.state == "COMPLETE" and trial.objectives
        else (0, trial.epoch, sign * trial.last[name])
        for trial in trials
    ]
    order = {one: place for place, one in enumerate(sorted(set(reached)))}
    return [order[one] for one in reached]


def between_epochs(trials: Sequence[TrialView], metric: str) -> tuple[float, int] | None:
    """Return a metric's variance around its trend over the last epochs, and degrees of freedom.

    Read from differences of successive epochs around their mean, to which a straight trend adds
    nothing, over the last third of the epochs, at least `SETTLED`; None where no trial has them.
    """
    squares, weights, freedom = 0.0, 0.0, 0
    for trial in trials:
        curve = [row[metric] for row in trial.curve.values() if metric in row]
        last = curve[-max(SETTLED, len(curve) // 3) :]
        if len(last) < SETTLED:
            continue
        steps = np.diff(np.array(last))
        squares += float(((steps - steps.mean()) ** 2).sum())
        # Successive differences share an epoch: their squares add up to this many variances.
        weights += 2 * (len(steps) - 1 / len(steps))
        freedom += len(steps) - 1
    return (squares / weights, freedom) if freedom else None


def between_seeds(
    trials: Sequence[TrialView], metric: str, seeds: int
) -> tuple[float, int] | None:
    """Return the variance of a metric's mean over seeds, and degrees of freedom."""
    spreads = [trial.kept[f"sd/{metric}"] for trial in trials if f"sd/{metric}" in trial.kept]
    if not spreads:
        return None
    return float(np.mean(np.square(spreads))) / seeds, len(spreads) * (seeds - 1)
