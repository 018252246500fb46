"""OpenAI's door: their own client with another base URL, and every refusal in their words."""

import base64
import io
import time
from collections.abc import Callable, Iterator
from typing import Any

import httpx2
import numpy as np
import pytest
from PIL import Image

from ..running import Gate, Running, until

openai = pytest.importorskip("openai", reason="openai is not installed: the extra `service-test`")
Serve = Callable[..., Running]
Client = Callable[..., Any]
PRICE = 10_900


def png(pixels: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def holed(side: int = 64) -> tuple[bytes, bytes]:
    """A picture, and a mask whose right half is transparent."""
    rng = np.random.default_rng(0)
    alpha = np.full((side, side), 255, np.uint8)
    alpha[:, side // 2 :] = 0
    picture = rng.integers(0, 255, (side, side, 3), np.uint8)
    return png(picture), png(np.dstack([picture, alpha]))


@pytest.fixture
def client_of() -> Iterator[Client]:
    made = []

    def build(running: Running, **options: Any) -> Any:
        made.append(openai.OpenAI(api_key=running.key, base_url=f"{running.url}/v1", **{"timeout": 20} | options))
        return made[-1]

    yield build
    for client in made:
        client.close()


def opened(text: str) -> Image.Image:
    return Image.open(io.BytesIO(base64.b64decode(text)))


def test_the_client_edits_what_the_mask_has_transparent_and_keeps_the_rest(client_of: Client, serve: Serve) -> None:
    running = serve()
    picture, mask = holed()
    said = client_of(running).images.edit(image=("a.png", picture), mask=("m.png", mask), prompt="a quiet sea")
    result = opened(said.data[0].b64_json)
    assert (result.format, result.size, said.size, said.output_format) == ("PNG", (64, 64), "64x64", "png")
    kept = np.asarray(Image.open(io.BytesIO(picture)))[:, :20]
    assert np.array_equal(np.asarray(result.convert("RGB"))[:, :20], kept)
    assert running.balance == 1_000_000 - PRICE


def test_a_picture_with_transparent_parts_needs_no_mask(client_of: Client, serve: Serve) -> None:
    said = client_of(serve()).images.edit(image=("a.png", holed()[1]), prompt="a quiet sea", output_format="webp")
    assert opened(said.data[0].b64_json).format == "WEBP"


def test_several_pictures_are_several_seeds_and_prices(client_of: Client, serve: Serve) -> None:
    running = serve()
    picture, mask = holed()
    said = client_of(running).images.edit(image=picture, mask=mask, prompt="a quiet sea", n=3)
    assert len({one.b64_json for one in said.data}) == 3
    assert running.balance == 1_000_000 - 3 * PRICE


def test_several_pictures_are_all_paid_or_none(client_of: Client, serve: Serve) -> None:
    running = serve(credits=2 * PRICE)
    picture, mask = holed()
    with pytest.raises(openai.RateLimitError) as caught:
        client_of(running).images.edit(image=picture, mask=mask, prompt="a quiet sea", n=3)
    assert (caught.value.type, caught.value.code) == ("insufficient_quota", "credits")
    until(lambda: running.balance == 2 * PRICE)


@pytest.mark.parametrize(("asked", "size"), [("auto", (50, 36)), ("96x72", (96, 72)), ("100x50", (100, 50))])
def test_the_result_has_the_size_that_was_asked_for(
    client_of: Client, serve: Serve, asked: str, size: tuple[int, int]
) -> None:
    pixels = np.full((36, 50, 4), 255, np.uint8)
    pixels[:, 30:, 3] = 0
    said = client_of(serve()).images.edit(image=png(pixels), prompt="a quiet sea", size=asked, output_format="jpeg")
    assert opened(said.data[0].b64_json).size == size


def test_a_result_by_url_needs_no_key(client_of: Client, serve: Serve) -> None:
    running = serve()
    picture, mask = holed()
    said = client_of(running).images.edit(
        image=picture, mask=mask, prompt="a quiet sea", model="dall-e-2", response_format="url"
    )
    answer = running.client.get(said.data[0].url, headers={"x-api-key": ""})
    assert answer.headers["content-type"] == "image/png" and answer.content.startswith(b"\x89PNG")


def test_partial_pictures_are_streamed_before_the_picture(client_of: Client, serve: Serve) -> None:
    def slow(**feeds: Any) -> Any:
        time.sleep(0.1)
        return {"out_sample": feeds["sample"][:, :4]}

    picture, mask = holed()
    client = client_of(serve(unet=slow, steps_default=8))
    with client.images.edit(image=picture, mask=mask, prompt="a quiet sea", stream=True, partial_images=2) as told:
        said = list(told)
    assert [one.type for one in said] == ["image_edit.partial_image"] * 2 + ["image_edit.completed"]
    assert [one.partial_image_index for one in said[:2]] == [0, 1]
    assert opened(said[-1].b64_json).size == (64, 64) and opened(said[0].b64_json).format == "JPEG"


@pytest.mark.parametrize("stream", [False, True])
def test_a_client_that_hangs_up_stops_its_run_and_pays_nothing(client_of: Client, serve: Serve, stream: bool) -> None:
    gate = Gate()
    running = serve(unet=gate, steps_default=100)
    gate.close()
    picture, mask = holed()
    client = client_of(running, timeout=1.0, max_retries=0)
    with pytest.raises((openai.APITimeoutError, httpx2.ReadTimeout)):
        for _ in client.images.edit(image=picture, mask=mask, prompt="a quiet sea", stream=stream):
            pass
    until(lambda: running.states() == ["FAILED"])
    calls = gate.calls
    gate.open()
    time.sleep(0.3)
    assert gate.calls <= calls + 1 and running.balance == 1_000_000


@pytest.mark.parametrize(
    ("changed", "param", "says"),
    [
        ({"user": "ann"}, "user", "cannot be honoured"),
        ({"n": 11}, "n", "less than or equal to 10"),
        ({"background": "transparent"}, "background", "must be 'auto' or 'opaque'"),
        ({"output_compression": 50}, "output_compression", "100"),
        ({"size": "big"}, "size", "WIDTHxHEIGHT"),
        ({"size": "4096x4096"}, "size", "at most 128 pixels"),
        ({"size": "20000x20000"}, "size", "at most 128 pixels"),
        ({"model": "sora-2"}, "model", "sd1.5-outpaint"),
        ({"partial_images": 2}, "partial_images", "stream"),
        ({"image": [b"a", b"b"]}, "image", "2 times"),
        ({"image": b"no picture"}, "image", "formats: PNG, JPEG, WEBP"),
        ({"mask": b"no picture"}, "mask", "formats: PNG, JPEG, WEBP"),
        ({"mask": None}, "mask", "Nothing is to be painted"),
        ({"prompt": ""}, "prompt", "at least 1 character"),
    ],
)
def test_what_cannot_be_honoured_is_refused_by_name(
    client_of: Client, serve: Serve, changed: dict[str, Any], param: str, says: str
) -> None:
    running = serve()
    picture, mask = holed()
    sent = {"image": picture, "mask": mask, "prompt": "a quiet sea"} | changed
    with pytest.raises(openai.BadRequestError) as caught:
        client_of(running).images.edit(**{name: value for name, value in sent.items() if value is not None})
    assert caught.value.param == param and says in caught.value.message
    assert running.balance == 1_000_000


def test_a_mask_of_another_size_is_refused_and_nothing_charged(client_of: Client, serve: Serve) -> None:
    running = serve()
    with pytest.raises(openai.BadRequestError, match="mask is 32x32 and image is 64x64"):
        client_of(running).images.edit(image=holed()[0], mask=holed(32)[1], prompt="a quiet sea")
    assert running.balance == 1_000_000


def test_errors_have_their_shape_for_a_wrong_key_path_method_and_body(client_of: Client, serve: Serve) -> None:
    running = serve()
    running.client.headers.pop("x-api-key")
    with pytest.raises(openai.AuthenticationError):
        client_of(running, max_retries=0).with_options(api_key="none").images.edit(image=holed()[0], prompt="x")
    bearer = {"authorization": f"Bearer {running.key}"}
    for method, path, status in (("GET", "edits", 405), ("POST", "generations", 404), ("POST", "edits", 400)):
        answer = running.client.request(method, f"/v1/images/{path}", headers=bearer)
        assert answer.status_code == status and answer.json()["error"]["message"], answer.text


def test_a_body_over_the_limit_is_refused_unread(serve: Serve) -> None:
    running = serve(max_body_bytes=100_000, max_image_bytes=60_000)
    bearer = {"authorization": f"Bearer {running.key}"}
    answer = running.client.post("/v1/images/edits", files={"image": bytes(100_001)}, headers=bearer)
    assert answer.status_code == 413 and answer.json()["error"]["code"] == "too_large"
    answer = running.client.post(
        "/v1/images/edits", files={"image": bytes(60_001)}, data={"prompt": "x"}, headers=bearer
    )
    assert answer.status_code == 413
