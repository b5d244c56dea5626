"""The report in a real browser: drawn, readable on a phone, in the dark, and on paper."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect
from support.browser import needs_chromium
from support.ended_study import FakeTrainer, end_study

from refkd.data.dataset import Dataset
from tune import evaluate_final, finalists
from tune.report.make import report

pytestmark = [
    *needs_chromium,
    pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning"),
]
VIEWS = {"light": (1280, "light"), "dark": (1280, "dark"), "phone": (390, "light")}


@dataclass
class ViewCache:
    """A page in the browser, and what it said and asked for."""

    page: Page
    told: list[str] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory, tiny_dataset: Dataset) -> Path:
    """The report of a study that was evaluated on test."""
    folder = tmp_path_factory.mktemp("report")
    study = end_study(folder, tiny_dataset)
    scores = {n: [(40.0 - 10 * n, 10.0 + 10 * n)] for n in range(3)}
    finalists(study.path, top=1, seeds=1, train=FakeTrainer(tiny_dataset, scores))
    evaluate_final(study.path)
    return report(study.path, out=folder / "report.html").path


@pytest.fixture(params=VIEWS)
def seen(request: pytest.FixtureRequest, chromium: Browser, written: Path) -> Iterator[ViewCache]:
    width, scheme = VIEWS[request.param]
    page = chromium.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
    page.set_default_timeout(120_000)
    held = ViewCache(page)
    page.on("console", lambda message: held.told.append(message.text))
    page.on("pageerror", lambda error: held.told.append(str(error)))
    page.on("request", lambda request: held.asked.append(request.url))
    page.goto(written.as_uri())
    expect(page.locator("[data-plot] .main-svg").first).to_be_visible(timeout=120_000)
    yield held
    page.close()


def test_it_is_drawn_without_a_word_or_a_request(seen: ViewCache, written: Path) -> None:
    plots = seen.page.locator("[data-plot]")
    assert plots.count() > 10
    for index in range(plots.count()):
        expect(plots.nth(index).locator(".main-svg").first).to_be_visible()
        assert plots.nth(index).locator(".point, .js-line, .bars path").count() > 0
    assert seen.told == []
    assert [url for url in seen.asked if not url.startswith("data:")] == [written.as_uri()]


def test_nothing_scrolls_sideways(seen: ViewCache) -> None:
    for opened in seen.page.locator("details > summary").all():
        opened.click()
    widths = seen.page.evaluate(
        "[document.documentElement.scrollWidth, document.documentElement.clientWidth]"
    )
    assert widths[0] <= widths[1]
    wide = seen.page.evaluate(
        """[...document.querySelectorAll("[data-plot]")]
        .filter(box => box.querySelector(".main-svg").getBoundingClientRect().right > innerWidth)
        .map(box => box.dataset.plot)"""
    )
    assert wide == []


def test_a_trial_says_what_it_is_when_pointed_at(seen: ViewCache) -> None:
    front = seen.page.locator("[data-plot=front]")
    front.scroll_into_view_if_needed()
    front.locator(".scatterlayer .point").first.hover(force=True)
    text = front.locator(".hoverlayer")
    expect(text).to_contain_text("trial ")
    expect(text).to_contain_text("lambda_id")


def test_text_stands_out_from_its_ground(seen: ViewCache) -> None:
    def brightness(selector: str, name: str) -> float:
        found: float = seen.page.evaluate(
            """([selector, name]) => {
                const style = getComputedStyle(document.querySelector(selector));
                const [r, g, b] = style[name].match(/[\\d.]+/g).map(Number);
                return (r + g + b) / 3;
            }""",
            [selector, name],
        )
        return found

    ground = brightness("body", "backgroundColor")
    assert abs(brightness("body", "color") - ground) > 150
    assert abs(brightness("[data-plot=front] .xtick text", "fill") - ground) > 150


def test_colours_follow_the_reader(seen: ViewCache) -> None:
    tick = seen.page.locator("[data-plot=front] .xtick text").first
    scheme = seen.page.evaluate("matchMedia('(prefers-color-scheme: dark)').matches")
    before = tick.evaluate("element => getComputedStyle(element).fill")
    seen.page.emulate_media(color_scheme="light" if scheme else "dark")
    seen.page.wait_for_function(
        "before => getComputedStyle(document.querySelector('[data-plot=front] .xtick text')).fill"
        " !== before",
        arg=before,
    )


def test_on_paper_pictures_are_dark_on_white_and_fit(seen: ViewCache, tmp_path: Path) -> None:
    seen.page.emulate_media(media="print")
    seen.page.set_viewport_size({"width": 680, "height": 960})
    seen.page.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert seen.page.evaluate("document.documentElement.scrollWidth") <= 680
    fill = seen.page.locator("[data-plot=front] .xtick text").first.evaluate(
        "element => getComputedStyle(element).fill"
    )
    assert fill == "rgb(0, 0, 0)"
    assert seen.page.evaluate("getComputedStyle(document.body).backgroundColor") == (
        "rgb(255, 255, 255)"
    )
    pdf = tmp_path / "report.pdf"
    seen.page.pdf(path=pdf, format="A4")
    assert pdf.stat().st_size > 30_000


def test_each_picture_has_a_name_for_who_cannot_see_it(seen: ViewCache) -> None:
    pictures = seen.page.locator("[data-plot]").all()
    assert {picture.get_attribute("role") for picture in pictures} == {"img"}
    labels = [picture.get_attribute("aria-label") for picture in pictures]
    assert all(labels)
    assert len(set(labels)) == len(labels)
