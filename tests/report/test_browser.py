"""The page in a real browser: nothing is loaded; layers switch, pictures zoom, tables sort; everything fits on a laptop and on a phone."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from small_page import PEOPLE, small_page

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome", "chrome"))), None)
SCREENS = {"laptop": (1440, 900), "phone": (390, 844)}

pytestmark = [pytest.mark.slow, pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium")]


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as play:
        chromium = play.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield chromium
        chromium.close()


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> str:
    file: Path = tmp_path_factory.mktemp("page") / "index.html"
    file.write_text(small_page(), encoding="utf-8")
    return file.as_uri()


@pytest.fixture(params=[(screen, scheme) for screen in SCREENS for scheme in ("light", "dark")], ids="-".join)
def page(request: pytest.FixtureRequest, browser: Any, address: str) -> Iterator[Any]:
    """The page on a screen. Fails if it asks for anything but itself and its own data, or reports an error."""
    (width, height), scheme = SCREENS[request.param[0]], request.param[1]
    context = browser.new_context(viewport={"width": width, "height": height}, color_scheme=scheme, has_touch=width < 500)
    opened, requests, errors = context.new_page(), list[str](), list[str]()
    opened.on("request", lambda asked: requests.append(asked.url))
    opened.on("console", lambda message: errors.append(message.text))
    opened.on("pageerror", lambda error: errors.append(str(error)))
    opened.goto(address)
    yield opened
    context.close()
    assert {url for url in requests if not url.startswith("data:")} == {address}
    assert not errors


def column(page: Any, section: str, place: int) -> list[str]:
    """The texts of a column of a section's table."""
    found: list[str] = page.locator(f"#{section} tbody tr td:nth-child({place})").all_inner_texts()
    return found


def view(page: Any, figure: str = "figure.viewer") -> list[float]:
    """What the first picture of a figure shows: x, y, width, height."""
    return [float(part) for part in page.locator(f"{figure} svg.picture").first.get_attribute("viewBox").split()]


def test_nothing_is_wider_than_the_screen(page: Any) -> None:
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")


def test_a_click_on_a_heading_sorts(page: Any) -> None:
    dice = [float(text) for text in column(page, "images", 4)]
    assert len(dice) == 2 * PEOPLE and dice == sorted(dice)
    head = page.locator("#images th", has_text="Dice")
    head.locator("button").click()
    assert [float(text) for text in column(page, "images", 4)] == sorted(dice, reverse=True)
    assert head.get_attribute("aria-sort") == "descending"
    head.locator("button").click()
    assert [float(text) for text in column(page, "images", 4)] == dice
    page.locator("#images th", has_text="Image").locator("button").click()
    keys = column(page, "images", 1)
    assert keys[1].endswith("image1") and keys[-1].endswith("image11"), "numbers in names sort as numbers"


def test_a_checkbox_hides_its_layer_alone(page: Any) -> None:
    layers = {"image", "truth", "predicted", "missed", "extra", "names"}

    def displayed() -> set[str]:
        shown = """[...document.querySelectorAll("#case-11 .layer")].filter(part => getComputedStyle(part).display !== "none")"""
        return {name for names in page.evaluate(f"{shown}.map(part => [...part.classList])") for name in names} & layers

    assert displayed() == layers
    for layer in layers:
        page.locator(f"#show-{layer}").uncheck()
        assert displayed() == layers - {layer}
        page.locator(f"#show-{layer}").check()
    assert displayed() == layers


def test_buttons_zoom_and_reset(page: Any) -> None:
    whole = view(page)
    tools = page.locator("figure.viewer").first.locator(".tools button")
    tools.nth(0).click()
    x, y, width, height = view(page)
    assert width < whole[2] and height / width == pytest.approx(whole[3] / whole[2]) and x > 0 and y > 0
    tools.nth(1).click()
    assert view(page) == pytest.approx(whole)
    tools.nth(0).click()
    tools.nth(2).click()
    assert view(page) == whole


def test_the_keyboard_zooms_moves_and_switches(page: Any) -> None:
    whole = view(page)
    page.locator("figure.viewer svg.picture").first.focus()
    page.keyboard.press("+")
    page.keyboard.press("+")
    zoomed = view(page)
    page.keyboard.press("ArrowRight")
    assert view(page)[0] > zoomed[0] and zoomed[2] < whole[2]
    page.keyboard.press("t")
    assert not page.locator("#show-truth").is_checked()
    page.keyboard.press("0")
    assert view(page) == whole


def test_the_wheel_zooms_a_picture_that_was_clicked_and_scrolls_the_page_otherwise(page: Any) -> None:
    picture = page.locator("figure.viewer svg.picture").first
    picture.scroll_into_view_if_needed()
    whole, box = view(page), picture.bounding_box()
    page.mouse.move(box["x"] + box["width"] / 4, box["y"] + box["height"] / 2)
    page.mouse.wheel(0, -100)
    page.wait_for_timeout(100)
    assert view(page) == whole
    picture.click(position={"x": 5, "y": box["height"] / 2})
    box = picture.bounding_box()
    page.mouse.move(box["x"] + box["width"] / 4, box["y"] + box["height"] / 2)
    page.mouse.wheel(0, -300)
    page.wait_for_function("document.querySelector('figure.viewer').classList.contains('zoomed')")
    x, _, width, _ = view(page)
    assert x + width / 4 == pytest.approx(whole[2] / 4, abs=2), "the place under the pointer stays"


def test_a_picture_can_be_dragged(page: Any) -> None:
    figure = page.locator("figure.viewer").first
    for _ in range(3):
        figure.locator(".tools button").first.click()
    before, box = view(page), figure.locator("svg.picture").bounding_box()
    middle = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    page.mouse.move(*middle)
    page.mouse.down()
    page.mouse.move(middle[0] - 30, middle[1], steps=3)
    page.mouse.up()
    moved = 30 * before[2] / box["width"]
    assert view(page)[0] == pytest.approx(before[0] + moved, rel=0.05)


def test_a_class_below_a_picture_zooms_to_it(page: Any) -> None:
    page.locator("#case-11 figcaption button", has_text="Pisiform").click()
    x, y, width, height = view(page, "#case-11")
    assert x <= 30 and x + width >= 30 + 40 + 22 and y <= 100 and y + height >= 140 and width < 160


def test_a_picture_fills_the_window_until_escape(page: Any) -> None:
    figure = page.locator("figure.viewer").first
    figure.locator(".tools button").last.click()
    size = page.viewport_size
    box = figure.bounding_box()
    assert (box["width"], box["height"]) == (size["width"], size["height"])
    assert page.locator("#show-truth").is_visible()
    page.keyboard.press("Escape")
    assert figure.bounding_box()["width"] < size["width"]


def test_an_image_of_the_table_leads_to_its_picture(page: Any) -> None:
    page.locator("#images tbody a").first.click()
    assert page.evaluate("document.querySelector('figure:target') !== null")


def test_charts_are_drawn_for_the_screen(page: Any) -> None:
    """Another file for dark screens, and for narrow ones; none is cut off."""
    charts = page.evaluate("""[...document.querySelectorAll(".chart img")].map(image => [image.currentSrc, image.src,
        image.clientWidth <= image.closest(".chart").clientWidth, image.naturalWidth])""")
    is_default = page.viewport_size["width"] > 500 and not page.evaluate("matchMedia('(prefers-color-scheme: dark)').matches")
    assert len(charts) == 2 and all(fits and width for _, _, fits, width in charts)
    assert (charts[0][0] == charts[0][1]) == is_default
