"""What pruning saved: epochs run and not run, by the epoch at which trials were stopped."""

from __future__ import annotations

from tune.report.figure import COLORS, Panel, Section, Table, chart, plural
from tune.study.snapshot import StudySnapshot


def pruning(study: StudySnapshot) -> Section:
    """Return bars of epochs run and saved, for each place where trials ended."""
    key, title = "pruning", "What pruning saved"
    pruned = [v for v in study.trials if v.state == "PRUNED"]
    if not pruned:
        name = study.file.pruning.name
        why = "pruning is switched off" if name == "none" else "no trial was pruned"
        return Section(key=key, title=title, text=f"Nothing was saved: {why}.")
    import plotly.graph_objects as go

    stops = sorted({v.epoch for v in pruned})
    counts = [sum(v.epoch == stop for v in pruned) for stop in stops]
    saved = [count * max(0, study.epochs - e) for e, count in zip(stops, counts, strict=True)]
    ran = [count * stop for stop, count in zip(stops, counts, strict=True)]
    others = [v for v in study.trials if v.state != "PRUNED" and v.epoch]
    bars = [f"stopped at epoch {stop}" for stop in stops]
    rows = list(zip(bars, counts, ran, saved, strict=True))
    if others:
        rows.append(("not pruned", len(others), sum(v.epoch for v in others), 0))
    total, spared = sum(row[2] for row in rows), sum(saved)
    text = (
        f"{plural(len(pruned), 'trial')} stopped early: {total:,} epochs were run and {spared:,} "
        f"saved, {spared / (total + spared):.0%} of what all trials would have taken."
    )
    names = [row[0] for row in rows][::-1]
    plot = chart(
        [
            go.Bar(
                y=names,
                x=[row[column] for row in rows][::-1],
                name=name,
                orientation="h",
                marker={"color": COLORS[color]},
                opacity=opacity,
                hovertemplate="%{y}: %{x} epochs " + name + "<extra></extra>",
            )
            for name, column, color, opacity in (
                ("run", 2, "COMPLETE", 1.0),
                ("saved", 3, "PRUNED", 0.55),
            )
        ],
        height=120 + 44 * len(rows),
        x="epochs",
    )
    plot.update_layout(barmode="stack")
    table = Table(
        heads=["", "trials", "epochs run", "epochs saved"],
        rows=[[name, *(f"{n:,}" for n in numbers)] for name, *numbers in rows],
    )
    panel = Panel(name="pruning", label=text, plot=plot)
    return Section(key=key, title=title, text=text, panels=[panel], tables=[table])
