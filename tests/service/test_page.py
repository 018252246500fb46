"""The page for trying the service, as a visitor uses it: headless Chromium against a real server."""

import base64
import io
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from PIL import Image

from outpaint_engine.service.configuration import Configuration
from tests.service.browser import CHROMIUM, DRIVER, Served, chromium, served

if TYPE_CHECKING:
    from selenium.webdriver import Chrome

pytest.importorskip("selenium", reason="needs selenium (the extra `browser-test`)")
pytestmark = pytest.mark.skipif(not (CHROMIUM and DRIVER), reason="needs chromium and chromedriver (Debian packages)")

SMALL = Configuration(canvas_sides=(128, 192), canvas_default=192, steps=(2, 100), steps_default=3, price=20_000)
PICTURE = Path(__file__).parents[2] / "examples" / "night-sea.png"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with served(tmp_path_factory.mktemp("page"), SMALL) as running:
        yield running


@pytest.fixture(scope="module")
def desktop() -> Iterator["Chrome"]:
    with chromium(1280, 860) as browser:
        yield browser


@pytest.fixture
def page(desktop: "Chrome", server: Served) -> Iterator["Page"]:
    """The page freshly opened on a desktop's width; in the end, nothing on it may have broken."""
    opened = Page(desktop, server)
    yield opened
    assert opened.faults() == []


class Page:
    """What a visitor sees and does."""

    def __init__(self, browser: "Chrome", server: Served) -> None:
        self.browser, self.key = browser, server.key
        browser.get(server.url)
        browser.execute_script("sessionStorage.clear()")
        browser.refresh()
        browser.get_log("browser")
        self.wait_for(lambda: self.see("fieldset label"))

    def see(self, selector: str) -> list[Any]:
        return [found for found in self.browser.find_elements("css selector", selector) if found.is_displayed()]

    def text(self, selector: str) -> str:
        return str(self.browser.execute_script("return document.querySelector(arguments[0]).textContent", selector))

    def value(self, selector: str) -> float:
        return float(self.browser.execute_script("return document.querySelector(arguments[0]).value", selector))

    def click(self, selector: str) -> None:
        self.browser.find_element("css selector", selector).click()

    def write(self, selector: str, text: str) -> None:
        self.browser.find_element("css selector", selector).send_keys(text)

    def wait_for(self, condition: Callable[[], Any], seconds: float = 20) -> None:
        from selenium.webdriver.support.ui import WebDriverWait

        WebDriverWait(self.browser, seconds, 0.05).until(lambda _: condition())

    @property
    def state(self) -> str:
        return str(self.browser.execute_script("return document.body.dataset.state"))

    def reach(self, state: str) -> None:
        self.wait_for(lambda: self.state == state)

    def drop(self, path: Path) -> None:
        self.browser.execute_script(
            """const bytes = Uint8Array.from(atob(arguments[0]), (letter) => letter.charCodeAt(0));
            const dataTransfer = new DataTransfer();
            dataTransfer.items.add(new File([bytes], arguments[1], {type: "image/png"}));
            document.getElementById("stage").dispatchEvent(
              new DragEvent("drop", {dataTransfer, bubbles: true, cancelable: true}));""",
            base64.b64encode(path.read_bytes()).decode(),
            path.name,
        )
        self.reach("placing")

    def set(self, name: str, value: object) -> None:
        self.browser.execute_script(
            """const input = document.forms[0].elements[arguments[0]]; input.value = arguments[1];
            input.dispatchEvent(new Event("input", {bubbles: true}));""",
            name,
            value,
        )

    def faults(self) -> list[str]:
        """What went wrong in the browser: errors of scripts and of the content security policy."""
        severe = [str(entry["message"]) for entry in self.browser.get_log("browser") if entry["level"] == "SEVERE"]
        return [line for line in severe if "the server responded with a status of" not in line]

    def width(self) -> int:
        return int(self.browser.execute_script("return document.documentElement.scrollWidth"))


def result_size(page: Page) -> list[int]:
    size: list[int] = page.browser.execute_script(
        "const shown = document.getElementById('result'); return [shown.naturalWidth, shown.naturalHeight]"
    )
    return size


def test_a_dropped_picture_is_dragged_and_painted_on(page: Page) -> None:
    from selenium.webdriver import ActionChains

    page.drop(PICTURE)
    before = page.value("#offset_x"), page.value("#offset_y")
    stage = page.browser.find_element("id", "stage")
    pixels = stage.size["width"] / 192
    moves = ActionChains(page.browser, duration=50)
    moves.drag_and_drop_by_offset(page.browser.find_element("id", "picture"), round(20 * pixels), round(-10 * pixels))
    moves.perform()
    after = page.value("#offset_x"), page.value("#offset_y")
    assert after == pytest.approx((before[0] + 20, before[1] - 10), abs=1)

    page.write("#key", page.key)
    page.write("#prompt", "a calm sea at night")
    page.click("#run")
    page.reach("done")
    page.wait_for(lambda: result_size(page) == [192, 192])
    assert re.search(r"0\.02 credits, [\d.]+ left · seed \d+", page.text("#facts"))
    assert page.browser.find_element("id", "download").get_attribute("href").startswith("blob:")


def test_pulling_the_corner_scales_the_picture_in_its_proportions(page: Page) -> None:
    from selenium.webdriver import ActionChains

    page.drop(PICTURE)
    before = page.value("#scale")
    grip = page.browser.find_element("id", "grip")
    ActionChains(page.browser, duration=50).drag_and_drop_by_offset(grip, 60, 60).perform()
    assert page.value("#scale") > before * 1.1
    shown = page.browser.find_element("id", "picture").size
    assert shown["width"] == pytest.approx(shown["height"], abs=1)


def test_a_visitor_without_a_mouse_gets_a_picture_too(page: Page) -> None:
    from selenium.webdriver import ActionChains, Keys

    def press(*keys: str) -> None:
        ActionChains(page.browser, duration=0).send_keys(*keys).perform()

    def tab_to(identity: str) -> None:
        for _ in range(30):
            press(Keys.TAB)
            if page.browser.switch_to.active_element.get_attribute("id") == identity:
                outline = page.browser.switch_to.active_element.value_of_css_property("outline-style")
                assert outline == "solid", f"{identity} does not show that it has the focus"
                return
        pytest.fail(f"{identity} is not reached by Tab")

    tab_to("sample")
    press(Keys.ENTER)
    page.reach("placing")
    assert page.browser.switch_to.active_element.get_attribute("id") == "prompt"
    press("green hills")
    tab_to("key")
    press(page.key)
    page.browser.execute_script("document.activeElement.blur(); scrollTo(0, 0)")
    tab_to("stage")
    x, y, scale = page.value("#offset_x"), page.value("#offset_y"), page.value("#scale")
    press(Keys.ARROW_RIGHT, Keys.ARROW_RIGHT, Keys.ARROW_UP)
    assert (page.value("#offset_x"), page.value("#offset_y")) == (x + 16, y - 8)
    press("-")
    assert page.value("#scale") == pytest.approx(scale / 1.05, abs=0.001)
    tab_to("run")
    press(Keys.ENTER)
    page.reach("done")
    page.wait_for(lambda: page.value("#compare") == 100)
    press(Keys.ARROW_LEFT, Keys.ARROW_LEFT)
    assert page.value("#compare") == 98


def test_a_cancelled_run_goes_back_to_placing_and_costs_nothing(page: Page) -> None:
    page.drop(PICTURE)
    page.write("#key", page.key)
    page.set("num_inference_steps", 100)
    page.click("#run")
    page.wait_for(lambda: "step" in page.text("#said"))
    page.click("#cancel")
    page.reach("placing")
    assert page.text("#said") == "Cancelled. Nothing was charged."
    assert page.text("#wrong") == ""


def test_a_refused_key_is_told_in_the_servers_own_words(page: Page) -> None:
    page.drop(PICTURE)
    page.write("#key", "nonsense")
    page.click("#run")
    page.wait_for(lambda: page.text("#wrong"))
    assert page.text("#wrong").startswith("Unauthorized: ")
    assert page.browser.switch_to.active_element.get_attribute("id") == "key"


def test_a_picture_that_leaves_nothing_to_paint_is_told_in_the_servers_own_words(page: Page) -> None:
    page.drop(PICTURE)
    page.write("#key", page.key)
    page.browser.execute_script(
        """for (const [id, value] of [["scale", 1], ["offset_x", 0], ["offset_y", 0]]) {
          document.getElementById(id).value = value;
          document.getElementById(id).dispatchEvent(new Event("change"));
        }"""
    )
    page.click("#run")
    page.wait_for(lambda: page.text("#wrong"))
    assert page.text("#wrong").startswith("Nothing is left to paint")
    assert page.state == "placing"


def test_a_file_that_is_no_picture_is_refused_on_the_page(page: Page, tmp_path: Path) -> None:
    (tmp_path / "notes.png").write_text("no picture")
    page.browser.find_element("id", "file").send_keys(str(tmp_path / "notes.png"))
    page.wait_for(lambda: page.text("#wrong"))
    assert page.state == "empty"


def test_a_picture_larger_than_the_limits_is_made_smaller_before_it_is_sent(page: Page, tmp_path: Path) -> None:
    Image.new("RGB", (6000, 4000), "teal").save(tmp_path / "large.png")
    page.browser.find_element("id", "file").send_keys(str(tmp_path / "large.png"))
    page.reach("placing")
    page.write("#key", page.key)
    page.click("#run")
    page.reach("done")


def test_the_key_is_kept_in_the_session_and_nowhere_else(page: Page) -> None:
    page.write("#key", page.key)
    kept = page.browser.execute_script("return [Object.values(sessionStorage), localStorage.length, document.cookie]")
    assert kept == [[page.key], 0, ""]


LANGUAGES = {
    "curl": ["bash", "-c"],
    "python": [sys.executable, "-c"],
    "javascript": ["node", "--input-type=module", "-e"],
}


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_copied_request_runs_as_it_stands(language: str, page: Page, tmp_path: Path) -> None:
    if not all(map(shutil.which, ("curl", "base64") if language == "curl" else LANGUAGES[language][:1])):
        pytest.skip(f"needs what {language} needs")
    page.drop(PICTURE)
    page.write("#prompt", """it's a "calm" sea, 100% $HOME \\ ü""")
    page.click("#code summary")
    page.click(f'[data-language="{language}"]')
    copied = page.text("#snippet")
    assert page.key not in copied
    shutil.copy(PICTURE, tmp_path)
    environment = {**os.environ, "OUTPAINT_API_KEY": page.key}
    ran = subprocess.run([*LANGUAGES[language], copied], cwd=tmp_path, env=environment, capture_output=True, timeout=60)
    assert ran.returncode == 0, ran.stderr.decode()
    with Image.open(io.BytesIO((tmp_path / "outpainted.jpg").read_bytes())) as picture:
        assert picture.size == (192, 192)


@pytest.mark.parametrize("dark", [False, True])
def test_nothing_is_wider_than_a_narrow_phone(server: Served, dark: bool) -> None:
    with chromium(360, 740, dark=dark) as browser:
        page = Page(browser, server)
        assert page.width() == 360
        page.drop(PICTURE)
        browser.execute_script("for (const part of document.querySelectorAll('details')) part.open = true")
        assert page.width() == 360
        page.write("#key", page.key)
        page.click("#run")
        page.reach("done")
        assert page.width() == 360
        assert page.faults() == []
