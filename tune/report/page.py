"""The report as one HTML file that needs no network."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from tune.display.comparison import CONVENTION
from tune.report.examples import Examples
from tune.report.figure import Section, Table, plural
from tune.report.headline import Headline
from tune.report.tables import when
from tune.study.snapshot import StudySnapshot

if TYPE_CHECKING:
    from markupsafe import Markup


@dataclass(frozen=True, kw_only=True)
class Content:
    """Everything that stands on the page, in words and figures."""

    study: str
    state: str
    """How far it has come, as `StudyState` has it."""
    facts: list[str]
    """Short facts below the title."""
    headline: Headline
    caveats: list[str] = field(default_factory=list)
    """Why its systems are not what their names say: leakage, reconstructions."""
    test_caveats: list[str] = field(default_factory=list)
    """Reasons to trust a test result less."""
    test_evaluations_text: str = ""
    test_evaluations: Table | None = None
    figures: Sequence[Section] = ()
    examples: Examples | None = None
    cost_text: str = ""
    cost: Table | None = None
    teachers: Table | None = None
    origin: Sequence[Table] = ()
    commands: Mapping[str, str] = field(default_factory=dict)
    """What to type next, by its purpose."""


def head_facts(study: StudySnapshot) -> list[str]:
    """Return when the study ran, and how far it came."""
    facts = []
    if study.launches:
        ends = [stamp.time for trial in study.trials for stamp in trial.stamps.values()]
        facts.append(f"begun {when(study.launches[0].begun)}")
        facts.append(f"search last active {when(max([study.launches[-1].last, *ends]))}")
    facts.append(f"{study.summary.ended} of {plural(study.summary.wanted, 'trial')} ended")
    if study.driver is not None:
        facts.append(f"{study.count('RUNNING')} at work now: {study.driver}")
    return [*facts, f"report made {when(time.time())}"]


def ledger_text(study: StudySnapshot) -> str:
    """Say in a sentence how often the test roles were evaluated."""
    if study.ledger_fault is not None:
        return "The ledger of looks at the test roles cannot be read."
    if not study.looks:
        return "Nobody has looked at the test roles: the ledger is empty."
    times = "once" if len(study.looks) == 1 else f"{len(study.looks)} times"
    return f"The test roles were looked at {times}."


def render(content: Content) -> str:
    """Return the page; whatever comes from a user is escaped."""
    from jinja2 import Environment, PackageLoader, StrictUndefined
    from markupsafe import Markup
    from plotly.offline import get_plotlyjs

    pages = Environment(
        loader=PackageLoader("tune"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    pages.filters |= {"code": _code, "kind": _kind}
    pages.policies["json.dumps_kwargs"] = {"separators": (",", ":"), "ensure_ascii": False}
    plots = {p.name: plot_data(p.plot) for figure in content.figures for p in figure.panels}
    convention = (
        f"{CONVENTION} ID: like the training data; OOD: moments lie elsewhere than in training."
    )
    plotly = Markup(get_plotlyjs())
    page = pages.get_template("report.html")
    return page.render(content=content, convention=convention, plotly=plotly, plots=plots)


def plot_data(plot: Any) -> dict[str, Any]:
    """Return a plot as plain JSON data, without a theme."""
    data: dict[str, Any] = json.loads(plot.to_json())
    data["layout"].pop("template", None)
    return data


def _code(text: str) -> Markup:
    """Return a sentence as HTML, what stands between backticks as code."""
    from markupsafe import Markup, escape

    return Markup(re.sub(r"`([^`]*)`", r"<code>\1</code>", str(escape(text))))


def _kind(cell: str) -> str:
    """Return the class of a table's cell: `n` a number, with or without its interval, `w` words.

    >>> _kind("+1.20 [+0.30, +2.00]"), _kind("best-id"), _kind("a long reason " * 3)
    ('n', '', 'w')
    """
    if re.fullmatch(r"[+-]?[\d,]+(\.\d+)?(e[+-]?\d+)?( [\[±].*)?", cell):
        return "n"
    return "w" if len(cell) > 36 else ""
