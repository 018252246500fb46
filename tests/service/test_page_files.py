"""What `GET /` and `/page/` send: nothing from outside, nothing unsafe, nothing that the configuration does not say."""

import re

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from outpaint_engine.service.configuration import Configuration
from outpaint_engine.service.page import page_router
from outpaint_engine.service.routes.schema import Contract

from .running import Running

SCRIPTS = ("compare", "form", "page", "picture", "placement", "service", "snippets", "stage")
FILES = ["index.html", "page.css", *(f"{name}.js" for name in SCRIPTS)]


@pytest.fixture
def client() -> TestClient:
    return client_of(Configuration())


def client_of(configuration: Configuration) -> TestClient:
    app = FastAPI()
    app.include_router(page_router(configuration, Contract(configuration).fields))
    return TestClient(app)


def test_the_page_is_at_the_root(client: TestClient) -> None:
    answer = client.get("/")
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert "<title>Outpaint</title>" in answer.text


@pytest.mark.parametrize("path", ["/", "/page/settings.json", *(f"/page/{name}" for name in FILES)])
def test_every_answer_forbids_outside_resources_inline_code_and_frames(client: TestClient, path: str) -> None:
    answer = client.get(path)
    assert answer.status_code == 200
    policy = dict(part.split(" ", 1) for part in answer.headers["content-security-policy"].split("; "))
    assert policy["default-src"] == policy["frame-ancestors"] == policy["base-uri"] == "'none'"
    assert policy["script-src"] == policy["style-src"] == policy["connect-src"] == "'self'"
    assert answer.headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize("name", FILES)
def test_no_file_names_an_outside_address_or_carries_inline_code(client: TestClient, name: str) -> None:
    text = client.get(f"/page/{name}").text
    assert not re.search(r"https?://|//[a-z]+\.[a-z]", text)
    assert not re.search(r"\son[a-z]+=|style=|javascript:|innerHTML|eval\(", text)


def test_all_that_the_page_loads_is_there(client: TestClient) -> None:
    loaded = set(re.findall(r'(?:src|href)="(/page/[^"]+)"', client.get("/").text))
    for name in FILES:
        loaded |= {f"/page/{found}" for found in re.findall(r'from "\./([^"]+)"', client.get(f"/page/{name}").text)}
    assert len(loaded) >= 7
    assert all(client.get(path).status_code == 200 for path in loaded)


@pytest.mark.parametrize("path", ["/page/", "/page/../page.py", "/page/%2e%2e/page.py", "/page/unknown.js", "/page.py"])
def test_no_other_path_is_answered(client: TestClient, path: str) -> None:
    assert client.get(path).status_code == 404


def test_the_api_pages_own_files_come_from_here_too(plain: Running) -> None:
    text = plain.client.get("/docs").text
    loaded = re.findall(r'(?:src|href)="([^"]+)"', text)
    assert len(loaded) >= 3 and all(path.startswith("/") for path in loaded)
    assert all(plain.client.get(path).status_code == 200 for path in loaded)
    assert "https://" not in text


def test_what_is_offered_follows_from_the_configuration() -> None:
    configuration = Configuration(
        canvas_sides=(256, 512), canvas_default=512, steps=(1, 9), steps_default=5, price=500_000
    )
    settings = client_of(configuration).get("/page/settings.json").json()
    assert settings["fields"]["img_width"]["enum"] == [256, 512]
    assert settings["fields"]["num_inference_steps"] == {"type": "integer", "minimum": 1, "maximum": 9, "default": 5}
    assert settings["price"] == "0.5"
    assert settings["largest_side"] == 512
