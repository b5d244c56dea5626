"""A study as its storage holds it: attributes of the whole, and of each trial its events."""

from __future__ import annotations

import json
import logging
import secrets
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import optuna
from optuna.exceptions import ExperimentalWarning
from optuna.study import Study, StudyDirection
from optuna.trial import FrozenTrial, Trial

from refkd.errors import RefKDError
from refkd.scoped import log_levels
from refkd.urls import Url
from tune import compat
from tune.config.space import Values, suggest
from tune.study.budget import unbegun
from tune.study.event_base import key_for
from tune.study.event_log import START, events, link
from tune.study.events import AliasMoved, Event, StudyEvent, aliases_of, teachers_of
from tune.study.foreign import MARK, Recogniser, check_kinds
from tune.study.holder import Holder
from tune.study.launches import Launches
from tune.study.opening import check_schema
from tune.study.queue import Queue
from tune.study.samplers import make_sampler
from tune.study.storage import open_storage
from tune.study.trial_events import TrialEvent
from tune.study.untried import tried, untried
from tune.study.view import ASKED, FOREIGN, SCHEMA, STAMP, TrialView, ViewCache, point_key

if TYPE_CHECKING:
    from optuna.storages import BaseStorage

    from tune.config.search_spec import SearchSpec

IDENTITY = "identity"


class StoredStudy:
    """Reads and writes one study, by a URL or an open storage; its driver alone writes."""

    def __init__(self, spec: SearchSpec, storage: Url | str | BaseStorage) -> None:
        self.spec = spec
        self._url = Url(storage) if isinstance(storage, Url | str) else None
        self._storage = open_storage(storage) if isinstance(storage, Url | str) else storage
        self.optuna = _create(spec, self._storage, self.seen)
        """The Optuna study itself."""
        self.launches = Launches(self.optuna)
        attributes = self.optuna.user_attrs
        self._mark = attributes.get(MARK)
        self._views = ViewCache(Recogniser(self._mark, spec.signs))
        self.queue = Queue(self.optuna, spec.space, self._mark)
        """The points that wait."""
        check_numbers(spec.name, [trial.number for trial in self.trials()])
        check_kinds(spec.name, spec.space, self.trials(), self.views())
        stamps = [event.stamp for event in events(self.views(), attributes)]
        self._place, self._digest = (stamps[-1].place, stamps[-1].digest) if stamps else (0, START)
        self.launches.size = lambda: (self._place, len(self.trials()))
        self._keys = set(attributes)  # reading all attributes for each event would grow with them
        self._facts: dict[int, dict[str, Any]] = {}
        self.holder = Holder(self.optuna)

    def bind(self, key: str, value: Any) -> None:
        """Record a fact that no later launch may change; `RefKDError` where it differs."""
        self.holder.check()
        stored = self.optuna.user_attrs.get(key)
        plain = json.loads(json.dumps(value))
        if stored is None:
            self.optuna.set_user_attr(key, plain)
        elif stored != plain:
            raise RefKDError(
                f"study {self.spec.name!r} was begun with other values of {key!r}: it holds "
                f"{_short(stored)}, the study file gives {_short(plain)}; results would not be "
                "comparable, so give the changed study another name"
            )

    def note(self, key: str, value: Any) -> None:
        """Record a fact that may change from launch to launch."""
        self.holder.check()
        self.optuna.set_user_attr(key, json.loads(json.dumps(value)))

    def apart(self) -> Study:
        """Return the study over a connection of its own, for another thread that only reads."""
        storage = self._storage if self._url is None else open_storage(self._url)
        return optuna.load_study(study_name=self.spec.name, storage=storage)

    def identity(self) -> str:
        """Return what tells this study from another of its name; it is made when first needed."""
        if identity_of(self.optuna.user_attrs) is None:
            self.note(IDENTITY, secrets.token_hex(6))
        return str(self.optuna.user_attrs[IDENTITY])

    def renew_identity(self) -> None:
        """Tell this study from the one that it is a copy of."""
        self.note(IDENTITY, secrets.token_hex(6))

    def append(self, event: StudyEvent) -> None:
        """Store an event of the study, unless a driver that was killed stored it already."""
        key = key_for(event, self._keys)
        if event.IN_KEY and key in self._keys:
            return
        self.holder.check()
        self._store(None, key, event, lambda held: self.optuna.set_user_attr(key, held))
        self._keys.add(key)

    def note_aliases(self, moves: Sequence[AliasMoved]) -> None:
        """Store the moves of aliases that change an alias's version, trial or files."""
        held = aliases_of(self.optuna.user_attrs)
        for move in moves:
            known = held.get(move.alias)
            files = move.files if known is None else move.files or known.files
            now = move.version, move.trial, files
            if known is None or (known.version, known.trial, known.files) != now:
                self.append(move)
                held[move.alias] = move

    def enqueue(self, values: Mapping[str, Any]) -> None:
        """Put a point in the queue, unless it was tried or is there, or the budget is full."""
        self.holder.check()
        views = self.views()
        own = [t for t, v in zip(self.trials(), views, strict=True) if v.state != FOREIGN]
        room = unbegun(self.spec, views) > sum(v.state == "WAITING" for v in views)
        if room and not any(_same_point(trial, values) for trial in own):
            self.optuna.enqueue_trial(dict(values))

    def views(self) -> list[TrialView]:
        """Return all trials as the storage holds them."""
        return self._views.views(self.trials())

    def trials(self) -> list[FrozenTrial]:
        """Return all trials as Optuna holds them, in the order of their numbers."""
        found = self.optuna.get_trials(deepcopy=False)
        if found and found[-1].number != len(found) - 1:
            check_numbers(self.spec.name, [trial.number for trial in found])
        return found

    def seen(self) -> Study:
        """Return the study as samplers and pruners see it.

        It has a blank in the place of each foreign trial, and of one that has no values yet: what
        a sampler left there before its driver was killed must not count as another trial's.
        """

        def counts(known: TrialView) -> bool:
            unasked = known.state == "RUNNING" and ASKED not in known.attributes
            return known.state != FOREIGN and not unasked

        pairs = zip(self.trials(), self.views(), strict=True)
        return compat.with_trials(
            self.optuna, [t if counts(v) else compat.blank(t) for t, v in pairs]
        )

    # One trial, which only the driver with the lease writes to -----------------------------------

    def adopt(self, number: int) -> Trial:
        """Return a trial that another launch has begun, or that was paused."""
        self.holder.check()
        return compat.adopt(self.optuna, self.trials()[number])

    def suggest(self, trial: Trial) -> Values:
        """Let the sampler give a trial its values, or others where it proposes what was tried."""
        space, fixed, number = self.spec.space, self.spec.fixed, trial.number
        try:
            if (
                not self.spec.sampler.repeat
                and compat.enqueued_params(compat.frozen(trial)) is None
            ):
                values, taken = suggest(space, compat.unwritten(trial), fixed), tried(self.views())
                if point_key(values) in taken:
                    other = untried(space, fixed, taken, seed=self.spec.seed, number=number)
                    values = values if other is None else other
                compat.fix_values(trial, values)
            return suggest(space, trial, fixed)
        except ValueError:
            check_kinds(self.spec.name, self.spec.space, self.trials(), self.views())
            raise

    def facts(self, trial: Trial) -> Mapping[str, Any]:
        """Return a trial's facts and events by key, read from the storage once."""
        if trial.number not in self._facts:
            self._facts[trial.number] = dict(compat.frozen(trial).user_attrs)
        return self._facts[trial.number]

    def forget(self, number: int) -> None:
        """Read a trial's facts from the storage when they are next asked for."""
        self._facts.pop(number, None)

    def set(self, trial: Trial, key: str, value: Any) -> None:
        """Store a fact of a trial."""
        self.holder.check()
        trial.set_user_attr(key, value)
        if trial.number in self._facts:
            self._facts[trial.number][key] = value

    def write(self, trial: Trial, event: TrialEvent) -> None:
        """Store an event of a trial with the next place in the order, unless it is there."""
        if event.key not in self.facts(trial):
            self._store(
                trial.number, event.key, event, lambda held: self.set(trial, event.key, held)
            )

    def _store(
        self,
        number: int | None,
        key: str,
        event: Event,
        keep: Callable[[dict[str, Any]], None],
    ) -> None:
        """Let a new event be kept with its stamp; one that the storage refuses takes no place."""
        content, launch, place = event.content(), self.launches.number, self._place + 1
        digest = link(self._digest, [place, launch, number, key, content])
        keep({**content, STAMP: [place, time.time(), digest, launch]})
        self._place, self._digest = place, digest

    def constrain(self, trial: Trial, metrics: Mapping[str, float]) -> dict[str, float]:
        """Store and return how far each bound is missed; above 0 is missed."""
        missed: dict[str, float] = {}
        if not self.spec.constraints:
            return missed
        self.holder.check()
        teachers = teachers_of(self.optuna.user_attrs)
        for constraint in self.spec.constraints:
            bound = constraint.at_least
            if constraint.teacher is not None:
                bound = teachers[constraint.teacher].metrics[constraint.metric]
                bound -= constraint.within
            if bound is not None and constraint.metric in metrics:
                name = f"{constraint.metric}>={bound:.2f}"
                missed[name] = bound - metrics[constraint.metric]
                if name not in trial.constraints:  # of a launch that was killed just after
                    trial.set_constraint(name, missed[name])
        self.set(trial, "violations", missed)
        return missed


def identity_of(attributes: Mapping[str, Any]) -> str | None:
    """Return the identity of a study from its attributes; None where it has none yet."""
    return attributes.get(IDENTITY)


def append_unordered(study: optuna.Study, move: AliasMoved) -> None:
    """Store the move of an alias without a place in the order, while a driver holds the lease."""
    study.set_user_attr(f"{move.PREFIX}{time.time_ns()}", move.content())


def check_numbers(name: str, numbers: Sequence[int]) -> None:
    """Raise `RefKDError` where trials were removed from a storage: Optuna never removes any."""
    gone = sorted(set(range(len(numbers))) - set(numbers))
    if gone:
        raise RefKDError(
            f"study {name!r}: its storage has lost trial {', '.join(map(str, gone))}, on which "
            "later ones rest; restore the storage from a copy, or give the study another name"
        )


def _create(spec: SearchSpec, storage: BaseStorage, seen: Callable[[], Study]) -> optuna.Study:
    with log_levels({"optuna": logging.WARNING}):
        study = optuna.create_study(
            study_name=spec.name,
            storage=storage,
            sampler=make_sampler(spec.sampler, seed=spec.seed, seen=seen, spec=spec),
            directions=compat.directions(spec.signs),
            load_if_exists=True,
        )
    attributes = study.user_attrs
    check_schema(spec.name, attributes)
    stored = attributes.get("objectives")
    fits = list(study.directions) == compat.directions(spec.signs)
    if not fits or stored not in (None, spec.objectives):
        less = [
            name
            for name, direction in zip(stored or (), study.directions, strict=False)
            if direction == StudyDirection.MINIMIZE
        ]
        raise RefKDError(
            f"study {spec.name!r} has the objectives {_told(stored, less)}, the study file gives "
            f"{_told(spec.objectives, spec.minimize)}; give the changed study another name"
        )
    if "schema" not in attributes:
        study.set_user_attr(MARK, secrets.token_hex(6))
        study.set_user_attr("schema", SCHEMA)
    if stored is None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ExperimentalWarning)
            study.set_metric_names(spec.objectives)
    return study


def _told(objectives: Sequence[str] | None, minimize: Sequence[str]) -> str:
    less = f", minimize {list(minimize)}" if minimize else ""
    return f"{objectives}{less}"


def _same_point(trial: FrozenTrial, values: Mapping[str, Any]) -> bool:
    """Return whether a trial was, or will be, run at a point."""
    known = bool(trial.params) and all(trial.params.get(k) == v for k, v in values.items())
    return known or compat.enqueued_params(trial) == dict(values)


def _short(value: Any, limit: int = 160) -> str:
    return text if len(text := json.dumps(value, sort_keys=True)) <= limit else text[:limit] + "…"
