"""A tracking server in memory, with faults: what MLflow's client does for a study's record."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

from mlflow.entities import ViewType
from requests import ConnectionError as NoConnection

_ASKED = re.compile(r"tags\.`(.+)` (LIKE|=) '(.*)'")


@dataclass
class Tracked:
    """All that the server holds: its one experiment, and the runs by their ids."""

    experiment: SimpleNamespace | None = None
    runs: dict[str, SimpleNamespace] = field(default_factory=dict)
    late: list[Callable[[], Any]] = field(default_factory=list)
    """Requests that were given up by who sent them, and are still to be carried out."""

    def active(self) -> list[SimpleNamespace]:
        """Return the runs that were not deleted."""
        return [r for r in self.runs.values() if r.info.lifecycle_stage == "active"]


class Client:
    """Used like an `MlflowClient`; `called` may raise before or after a request is carried out."""

    def __init__(self, server: Tracked, called: Callable[[str, Callable[[], Any]], Any]) -> None:
        self._server, self._called = server, called

    def __getattr__(self, name: str) -> Callable[..., Any]:
        """Return the request of a name, `_name` below, sent through `called`."""
        request = getattr(type(self), f"_{name}")
        return lambda *a, **k: self._called(name, lambda: request(self, *a, **k))

    def _get_experiment_by_name(self, name: str) -> SimpleNamespace | None:
        return self._server.experiment

    def _get_experiment(self, number: str) -> SimpleNamespace | None:
        return self._server.experiment

    def _create_experiment(self, name: str, **_: Any) -> str:
        self._server.experiment = SimpleNamespace(
            experiment_id="1",
            lifecycle_stage="active",
            artifact_location=None,
            creation_time=1,
            tags={},
        )
        return "1"

    def _create_run(
        self, experiment: str, *, start_time: int | None, tags: dict[str, str], run_name: str
    ) -> SimpleNamespace:
        number = f"run-{len(self._server.runs):04d}"
        info = {"run_id": number, "run_name": run_name, "start_time": start_time or 0}
        self._server.runs[number] = SimpleNamespace(
            info=SimpleNamespace(
                **info, status="RUNNING", end_time=None, lifecycle_stage="active"
            ),
            data=SimpleNamespace(params={}, tags=dict(tags), metrics={}),
            history={},
            files={},
            inputs=None,
            outputs=None,
        )
        return self._server.runs[number]

    def _get_run(self, number: str) -> SimpleNamespace:
        return self._server.runs[number]

    def _update_run(self, number: str, *, status: str) -> None:
        self._server.runs[number].info.status = status

    def _set_terminated(self, number: str, *, status: str, end_time: int) -> None:
        self._server.runs[number].info.status = status
        self._server.runs[number].info.end_time = end_time

    def _delete_run(self, number: str) -> None:
        self._server.runs[number].info.lifecycle_stage = "deleted"

    def _restore_run(self, number: str) -> None:
        self._server.runs[number].info.lifecycle_stage = "active"

    def _log_batch(
        self,
        number: str,
        *,
        metrics: Sequence[Any] = (),
        params: Sequence[Any] = (),
        tags: Sequence[Any] = (),
    ) -> None:
        run = self._server.runs[number]
        for one in params:
            assert run.data.params.setdefault(one.key, one.value) == one.value, "a param changed"
        run.data.tags |= {one.key: one.value for one in tags}
        for one in metrics:
            rows = run.history.setdefault(one.key, [])
            row = SimpleNamespace(step=one.step, value=one.value, timestamp=one.timestamp)
            if row not in rows:  # as the store's primary key has it
                rows.append(row)
            run.data.metrics[one.key] = one.value

    def _log_dict(self, number: str, values: dict[str, Any], name: str) -> None:
        self._server.runs[number].files[name] = values

    def _set_experiment_tag(self, number: str, name: str, text: str) -> None:
        assert self._server.experiment is not None
        self._server.experiment.tags[name] = text

    def _get_metric_history(self, number: str, name: str) -> list[SimpleNamespace]:
        return list(self._server.runs[number].history.get(name, []))

    def _search_runs(
        self, experiments: list[str], asked: str, view: int, **_: Any
    ) -> Sequence[SimpleNamespace]:
        found = _ASKED.fullmatch(asked)
        assert found is not None, asked
        tag, how, text = found.groups()
        runs = self._server.runs.values() if view == ViewType.ALL else self._server.active()
        if how == "LIKE":
            return _Page(r for r in runs if r.data.tags.get(tag, "").startswith(text[:-1]))
        return _Page(r for r in runs if r.data.tags.get(tag) == text)

    def _search_logged_models(self, *_: Any, **__: Any) -> Sequence[Any]:
        return _Page()


class _Page(list[Any]):
    token: str | None = None


def no_answer() -> NoConnection:
    """Return what the client raises where the server does not answer."""
    return NoConnection("no answer")
