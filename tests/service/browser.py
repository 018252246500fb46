"""A real server with the demo engine set, and headless Chromium to look at its page."""

import contextlib
import shutil
import socket
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from outpaint_engine.service.app import create_app
from outpaint_engine.service.configuration import Configuration
from outpaint_engine.service.queue.accounts import Accounts
from outpaint_engine.service.queue.files import Files
from outpaint_engine.service.queue.ledger import MICROS
from outpaint_engine.service.queue.store import Store
from outpaint_engine.service.server import server_of
from outpaint_engine.shared import SharedPipeline

if TYPE_CHECKING:
    from selenium.webdriver import Chrome

CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--hide-scrollbars"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage"),
)


class Served(NamedTuple):
    """Where the page is, and a key with credits."""

    url: str
    key: str


@contextlib.contextmanager
def served(folder: Path, configuration: Configuration) -> Iterator[Served]:
    """The service on a free port of this machine, as `outpaint serve` puts it together."""
    with contextlib.ExitStack() as stack:
        listening = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        url = f"http://127.0.0.1:{listening.getsockname()[1]}"
        store = stack.enter_context(contextlib.closing(Store(f"sqlite:///{folder / 'store.db'}")))
        key = Accounts(store).create_key("visitor", 100 * MICROS)
        model = stack.enter_context(SharedPipeline.from_pretrained("demo", device="cpu", at_once=configuration.workers))
        app = create_app(configuration.with_(public_url=url), store, Files(folder / "results"), model)
        server = server_of(app, configuration)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
        thread.start()
        try:
            while not server.started:
                assert thread.is_alive(), "the server did not start"
                time.sleep(0.02)
            yield Served(url, key)
        finally:
            server.should_exit = True
            thread.join()


@contextlib.contextmanager
def chromium(width: int, height: int, *, dark: bool = False) -> Iterator["Chrome"]:
    """A fresh browser whose page is exactly `width` x `height` CSS pixels."""
    from selenium import webdriver

    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM or ""
    for flag in FLAGS:
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        options.add_argument(f"--user-data-dir={profile}")
        browser = webdriver.Chrome(options, webdriver.ChromeService(DRIVER))
        try:
            metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 500}
            browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
            scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
            browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [scheme]})
            yield browser
        finally:
            browser.quit()
