"""AUTOMATIC1111's door: the `webuiapi` package with another base URL, and every refusal in their words."""

import base64
import io
import threading
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from PIL import Image

from ..running import Gate, Running, encoded, until

webuiapi = pytest.importorskip("webuiapi", reason="webuiapi is not installed: the extra `service-test`")
Serve = Callable[..., Running]
Client = Callable[[Running], Any]
PRICE = 10_900
SIZE = {"width": 64, "height": 64}


@pytest.fixture
def client_of() -> Iterator[Client]:
    made = []

    def build(running: Running) -> Any:
        client = webuiapi.WebUIApi(baseurl=f"{running.url}/sdapi/v1", username="any", password=running.key)
        made.append(client)
        return client

    yield build
    for client in made:
        client.session.close()


def picture_and_mask(side: int = 64) -> tuple[Image.Image, Image.Image]:
    """A picture, and a mask whose right half is white."""
    pixels = np.random.default_rng(0).integers(0, 255, (side, side, 3), np.uint8)
    mask = np.zeros((side, side, 3), np.uint8)
    mask[:, side // 2 :] = 255
    return Image.fromarray(pixels), Image.fromarray(mask)


def body(**changes: Any) -> dict[str, Any]:
    picture, mask = (encoded(np.asarray(image)) for image in picture_and_mask())
    return {"init_images": [picture], "mask": mask, "prompt": "a quiet sea", "steps": 3, **SIZE} | changes


def posted(running: Running, **changes: Any) -> Any:
    return running.client.post("/sdapi/v1/img2img", json=body(**changes))


def test_the_client_paints_what_the_mask_has_white_and_keeps_the_rest(client_of: Client, serve: Serve) -> None:
    running = serve()
    picture, mask = picture_and_mask()
    said = client_of(running).img2img(images=[picture], mask_image=mask, prompt="a quiet sea", seed=7, **SIZE)
    kept, result = np.asarray(picture)[:, :20], np.asarray(said.image.convert("RGB"))
    assert said.image.format == "PNG" and np.array_equal(result[:, :20], kept)
    assert (said.info["seed"], said.parameters["steps"], said.parameters["sampler_name"]) == (7, 20, "Euler a")
    assert running.balance == 1_000_000 - PRICE


def test_an_inverted_mask_paints_the_other_half(client_of: Client, serve: Serve) -> None:
    picture, mask = picture_and_mask()
    said = client_of(serve()).img2img(
        images=[picture],
        mask_image=mask,
        prompt="a quiet sea",
        inpainting_mask_invert=1,
        inpaint_full_res=False,
        **SIZE,
    )
    assert np.array_equal(np.asarray(said.image.convert("RGB"))[:, 44:], np.asarray(picture)[:, 44:])


def test_a_batch_has_one_seed_after_the_other(client_of: Client, serve: Serve) -> None:
    running = serve()
    picture, mask = picture_and_mask()
    said = client_of(running).img2img(
        images=[picture], mask_image=mask, seed=7, batch_size=2, n_iter=2, steps=2, sampler_name="DPM++ 2M", **SIZE
    )
    assert said.info["all_seeds"] == [7, 8, 9, 10] and len(said.images) == 4
    assert said.parameters["sampler_name"] == "DPM Multi Karras"
    assert running.balance == 1_000_000 - 4 * PRICE


def test_resize_and_fill_paints_what_the_picture_does_not_cover(client_of: Client, serve: Serve) -> None:
    picture = picture_and_mask()[0].crop((0, 0, 32, 64))
    said = client_of(serve()).img2img(images=[picture], resize_mode=2, prompt="a quiet sea", width=128, height=64)
    assert said.image.size == (128, 64)


def test_progress_and_interrupt_are_of_this_account_alone(client_of: Client, serve: Serve) -> None:
    gate = Gate()
    running = serve(unet=gate)
    ours, theirs = client_of(running), client_of(running.entered(1_000_000))
    picture, mask = picture_and_mask()
    answers: list[Any] = []

    def paint() -> None:
        answers.append(posted(running, steps=100))

    gate.close()
    painting = threading.Thread(target=paint)
    painting.start()
    until(lambda: ours.get_progress()["state"]["job_count"] == 1)
    assert theirs.get_progress()["state"]["job_count"] == 0
    assert theirs.interrupt() == {}
    gate.open()
    until(lambda: ours.get_progress()["progress"] > 0)
    assert ours.interrupt() == {}
    painting.join()
    assert answers[0].status_code == 409 and "Interrupted" in answers[0].json()["detail"]
    assert ours.get_progress()["progress"] == 0.0 and running.balance == 1_000_000


def test_what_clients_ask_first_is_answered(client_of: Client, serve: Serve) -> None:
    client = client_of(serve())
    assert client.util_get_current_model() == "sd1.5-outpaint"
    assert {"Euler a", "DPM++ 2M", "DDIM"} <= set(client.util_get_sampler_names())
    assert "karras" in client.util_get_scheduler_names()
    assert client.get_scripts() == {"txt2img": [], "img2img": []}
    client.util_set_model("sd1.5-outpaint")
    assert client.set_options({"CLIP_stop_at_last_layers": 2})["error"] == "input"


def test_a_client_that_hangs_up_stops_its_run_and_pays_nothing(serve: Serve) -> None:
    import httpx2

    gate = Gate()
    running = serve(unet=gate)
    gate.close()
    with pytest.raises(httpx2.ReadTimeout):
        running.client.post("/sdapi/v1/img2img", json=body(steps=100), timeout=0.5)
    until(lambda: running.states() == ["FAILED"])
    gate.open()
    assert running.balance == 1_000_000


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"tiling": True}, "tiling cannot be honoured here: send false or null"),
        ({"inpainting_fill": 1}, "inpainting_fill cannot be honoured here"),
        ({"alwayson_scripts": {"ADetailer": {"args": [True]}}}, "alwayson_scripts cannot be honoured here"),
        ({"hr_scale": 2}, "hr_scale cannot be honoured here: leave it out."),
        ({"sampler_name": "DPM adaptive"}, "sampler_name must be one of DDIM, DPM++ 2M"),
        ({"scheduler": "karras"}, "scheduler karras does not go with Euler a"),
        ({"sampler_name": "Euler", "eta": 0.5}, "eta can be honoured for DDIM and TCD only"),
        ({"width": 1024}, "width must be less than or equal to 128"),
        ({"width": 128}, "resize_mode 0 would stretch or crop the picture of 64x64 to 128x64"),
        ({"mask": None}, "Nothing is to be painted"),
        ({"init_images": []}, "init_images"),
        ({"init_images": ["http://127.0.0.1/a.png"]}, "image's URL leads to"),
        ({"mask": "http://127.0.0.1/a.png"}, "image's URL leads to"),
        ({"n_iter": 16, "batch_size": 2}, "n_iter times batch_size"),
        ({"steps": "many"}, "steps must be a valid integer"),
    ],
)
def test_what_cannot_be_honoured_is_refused_by_name(serve: Serve, changed: dict[str, Any], says: str) -> None:
    running = serve()
    answer = posted(running, **{"sampler_name": "Euler a"} | changed)
    assert answer.status_code == 422 and answer.json()["detail"].startswith(says), answer.text
    assert running.balance == 1_000_000


@pytest.mark.parametrize("text", ["", "Basic ???", "Basic " + base64.b64encode(b"any:none").decode(), "Bearer none"])
def test_a_wrong_key_is_401_in_their_shape(plain: Running, text: str) -> None:
    answer = plain.client.get("/sdapi/v1/options", headers={"authorization": text} if text else {})
    assert answer.status_code == 401 and set(answer.json()) == {"error", "detail", "body", "errors"}
    assert "as a bearer token, as the password of Basic authentication or in the header" in answer.text


def test_too_few_credits_are_402(serve: Serve) -> None:
    assert posted(serve(credits=0)).status_code == 402


def test_the_answer_is_a_picture_of_the_size_that_was_asked_for(serve: Serve) -> None:
    said = posted(serve(), width=60, height=60).json()
    assert Image.open(io.BytesIO(base64.b64decode(said["images"][0]))).size == (56, 56)
