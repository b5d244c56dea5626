"""A report read as a browser reads it: its elements, what they ask for, and its words."""

from __future__ import annotations

from html.parser import HTMLParser
from pathlib import Path

from tune.report.make import Content, compose, render
from tune.study.snapshot import open_snapshot

VOID = {"meta", "link", "br", "img", "input", "hr"}


class Page(HTMLParser):
    """The page's elements; `words` is what a reader sees, without scripts and styles."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.asked: list[str] = []
        """Every address in an attribute."""
        self.labels: dict[str, str] = {}
        """Alternative text of each picture, by its name."""
        self.scripts: list[str] = []
        self.words = ""
        self._open: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        held = {name: value or "" for name, value in attrs}
        self.tags.append(tag)
        self.asked += [held[name] for name in ("src", "href", "data", "action") if name in held]
        if "data-plot" in held:
            self.labels[held["data-plot"]] = held.get("aria-label", "")
        if tag not in VOID:
            self._open.append(tag)
        if tag == "script":
            self.scripts.append("")

    def handle_endtag(self, tag: str) -> None:
        assert self._open, f"</{tag}> closes nothing"
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self._open[-1:] == ["script"]:
            self.scripts[-1] += data
        elif self._open[-1:] != ["style"]:
            self.words += " ".join(data.split()) + " " if data.strip() else ""


def content_of(path: Path) -> Content:
    """Return what the report of a study says."""
    return compose(open_snapshot(path))


def page_of(path: Path) -> Page:
    """Return the report of a study as a page."""
    return Page(render(content_of(path)))
