"""Takes the picture of the page that the documentation shows: `python -m tests.service.page_picture`.

Needs chromium, chromedriver and the extra `browser-test`.
"""

import tempfile
from pathlib import Path

from outpaint_engine.service.configuration import Configuration
from tests.service.browser import chromium, served

TARGET = Path(__file__).parents[2] / "docs" / "images" / "page.png"
MAX_BYTES = 300_000
COMPARED_AT = 64


def main() -> None:
    from selenium.webdriver.support.ui import WebDriverWait

    configuration = Configuration(canvas_sides=(256, 384), canvas_default=384)
    with (
        tempfile.TemporaryDirectory() as folder,
        served(Path(folder), configuration) as server,
        chromium(1240, 760) as browser,
    ):
        patience = WebDriverWait(browser, 120, 0.1)

        def reach(state: str) -> None:
            patience.until(lambda _: browser.execute_script("return document.body.dataset.state") == state)

        browser.get(server.url)
        reach("empty")
        browser.find_element("id", "sample").click()
        reach("placing")
        browser.find_element("id", "prompt").send_keys("day hills with sun and clouds")
        browser.find_element("id", "key").send_keys(server.key)
        browser.execute_script(
            "document.forms[0].elements.seed.value = 4; document.querySelector('[value=\"384x256\"]').click()"
        )
        browser.find_element("id", "run").click()
        reach("done")
        patience.until(lambda _: browser.find_element("id", "compare").get_attribute("value") == "100")
        browser.execute_script(
            """const slider = document.getElementById("compare");
            slider.value = arguments[0];
            slider.dispatchEvent(new Event("input"));
            document.activeElement.blur();""",
            COMPARED_AT,
        )
        browser.save_screenshot(str(TARGET))
    size = TARGET.stat().st_size
    assert size < MAX_BYTES, f"{TARGET} has {size} bytes"
    print(f"{TARGET}: {size} bytes")


if __name__ == "__main__":
    main()
