"""The project's texts tell the truth: links, commands, and no word about one machine."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from _pytest.mark.expression import Expression
from support.commands import parse
from support.project import ROOT, project_files, shell_commands

from refkd.evaluation.comparison import MEANING

TEXTS = project_files(".md")
MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")
LINK = re.compile(r"\[[^\]]*\]\(([^)#\s]+)[^)]*\)")
MACHINE = {
    "a path of one machine": r"(?<![\w.~-])/(?:work|root|Users|home/(?!ubuntu\b|ray\b)\w+)/",
    "a package index": r"--(?:extra-)?index-url|--find[-]links|https?://[^\s/]+/simple\b",
}

by_text = pytest.mark.parametrize("path", TEXTS, ids=lambda p: str(p.relative_to(ROOT)))


@by_text
def test_links_within_the_project_resolve(path: Path) -> None:
    links = LINK.findall(path.read_text(encoding="utf-8"))
    own = [link for link in links if not re.match(r"\w+:", link)]
    assert [link for link in own if not (path.parent / link).exists()] == []


@by_text
def test_commands_are_accepted(path: Path) -> None:
    for words in shell_commands(path.read_text(encoding="utf-8")):
        if words[0] == "refkd":
            parse(words[1:])


@by_text
def test_intervals_are_explained_in_the_words_of_the_tables(path: Path) -> None:
    text = " ".join(path.read_text(encoding="utf-8").split())
    assert text.count("[low, high]") == text.count(MEANING)


@pytest.mark.parametrize("name", ["README.md", "docs/search.md", "docs/reproduce.md"])
def test_the_texts_say_what_an_interval_means(name: str) -> None:
    assert MEANING in " ".join((ROOT / name).read_text(encoding="utf-8").split())


def made_by(text: str) -> set[str]:
    """Return the targets that a text tells to make, in blocks and within sentences."""
    blocks = {w[1] for w in shell_commands(text) if w[0] == "make" and len(w) > 1}
    inline = set(re.findall(r"`make ([a-z-]+)", text))
    return {name for name in blocks | inline if "=" not in name}


@by_text
def test_make_targets_exist(path: Path) -> None:
    targets = set(re.findall(r"^([a-z-]+):", MAKEFILE, re.MULTILINE))
    assert made_by(path.read_text(encoding="utf-8")) - targets == set()


@pytest.mark.parametrize("name", ["README.md", "CONTRIBUTING.md"])
def test_the_texts_name_every_tier(name: str) -> None:
    tiers = {"test", "test-system", "test-nightly"}
    assert made_by((ROOT / name).read_text(encoding="utf-8")) >= tiers


def test_ci_runs_the_first_two_tiers() -> None:
    ci = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    assert re.findall(r"^make (.+)$", ci, re.MULTILINE) == ["test", "test-system"]


@pytest.mark.parametrize("tier", [(), ("system",), ("nightly",), ("gpu",)], ids=str)
@pytest.mark.parametrize("hypothesis", [False, True])
@pytest.mark.parametrize("cluster", [False, True])
def test_each_test_is_run_by_the_command_of_its_tier(
    tier: tuple[str, ...], hypothesis: bool, cluster: bool
) -> None:
    """Properties are run at night as well; what is marked cluster bears a tier (see conftest)."""
    marks = {*tier, *(["hypothesis"] * hypothesis), *(["cluster"] * cluster)}
    told = re.findall(r"^(tests|test-\w+): .*\n((?:\t.*\n)+)", MAKEFILE, re.MULTILINE)
    by = [
        target
        for target, recipe in told
        for expression in re.findall(r'-m "([^"]+)"', recipe)
        if Expression.compile(expression).evaluate(lambda name, **_: name in marks)
    ]
    own = {(): "tests", ("system",): "test-system", ("nightly",): "test-nightly", ("gpu",): None}
    wanted = {own[tier]} - {None}
    if "tests" in wanted:
        wanted.add("test-lowest")
    if hypothesis and not cluster and tier != ("gpu",):
        wanted.add("test-nightly")
    if tier != () or not cluster:
        assert sorted(by) == sorted(wanted)


def test_the_readme_starts_a_cluster_as_the_guide_does() -> None:
    """The tests of a cluster run the guide's commands, and so those of the README."""
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    (block,) = re.findall(r"^```\n(make wheel\n.*?)^```", readme, re.DOTALL | re.MULTILINE)
    guide = (ROOT / "docs" / "cluster.md").read_text(encoding="utf-8").splitlines()
    places = [guide.index(line) for line in block.splitlines()]
    assert places == sorted(places)


def test_every_file_ships_without_a_word_about_one_machine() -> None:
    found = []
    for path in project_files():
        try:
            lines = path.read_text(encoding="utf-8").splitlines()
        except UnicodeDecodeError:  # an image or another binary file
            continue
        found += [
            f"{path.relative_to(ROOT)}:{number}: {what}: {line.strip()[:80]}"
            for number, line in enumerate(lines, 1)
            for what, pattern in MACHINE.items()
            if re.search(pattern, line)
        ]
    assert found == []


@pytest.mark.parametrize(
    ("line", "wrong"),
    [
        ("cd /" + "work/main", True),
        ("open('/" + "root/x')", True),
        ("/" + "home/someone/data", True),
        ("file_mounts: {/" + "home/ubuntu/refkd: .}", False),
        ("network/" + "work/x", False),
        ("pip install --index" + "-url x", True),
        ("https://host.example/" + "simple/torch", True),
        ("pip install -r requirements.lock", False),
    ],
)
def test_the_machine_patterns(line: str, wrong: bool) -> None:
    assert any(re.search(pattern, line) for pattern in MACHINE.values()) is wrong
