"""Bodies: what is taken, what is refused, and that the sentence names the field."""

import base64
import json
import struct
import zlib
from typing import Any
from urllib.parse import quote

import numpy as np
import pytest

from outpaint_engine.service.configuration import Configuration
from outpaint_engine.service.pictures import intake
from outpaint_engine.service.pictures.fetch import FetchLimits, TooManyBytes
from outpaint_engine.service.queue.ledger import credits_text
from outpaint_engine.service.refusals import Refusal
from outpaint_engine.service.routes.placing import settings
from outpaint_engine.service.routes.schema import EXAMPLE, Asked, Contract

from ..running import encoded

DEFAULT = Configuration()


def asked(body: dict[str, Any], configuration: Configuration = DEFAULT) -> Asked:
    return Contract(configuration).read(json.dumps(body).encode())


def order(body: dict[str, Any], configuration: Configuration = DEFAULT) -> Any:
    return asked(body, configuration).order


def refusal(content: bytes, configuration: Configuration = DEFAULT) -> Refusal:
    with pytest.raises(Refusal) as caught:
        Contract(configuration).read(content)
    return caught.value


def test_only_the_picture_and_the_prompt_are_required(body: dict[str, Any]) -> None:
    fields = order({"image": body["image"], "prompt": "sea"}).fields
    assert {name: value for name, value in fields.items() if name != "seed"} == {
        "prompt": "sea",
        "negative_prompt": None,
        "scheduler": "DDIM",
        "num_inference_steps": 25,
        "width": 1024,
        "height": 1024,
        "scale": 0.2,
        "strength": 1.0,
        "offset_x": 1,
        "offset_y": 1,
        "guidance_scale": 7.5,
        "mask_expand": 8,
    }


@pytest.mark.parametrize(("scheduler", "reuse"), [("DDIM", "careful"), ("Euler a", "off")])
def test_reuse_by_configuration_is_for_samplers_that_survive_it(
    body: dict[str, Any], scheduler: str, reuse: str
) -> None:
    careful = Configuration(reuse="careful")
    assert order(body | {"scheduler": scheduler}, careful).request().reuse == reuse


def test_the_decoder_is_the_configurations(body: dict[str, Any]) -> None:
    for decoder in ("full", "tiny"):
        assert order(body | {"decoder": "other"}, Configuration(decoder=decoder)).request().decoder == decoder


def test_what_the_printed_client_sends_is_taken(body: dict[str, Any]) -> None:
    """Segmind's page: `negative_prompt: "NONE"` and the camel-cased field of its TypeScript client, ignored."""
    extra = {"negative_prompt": "NONE", "negativePrompt": "x", "img_width": 1024, "img_height": 768}
    assert order(body | extra).request().negative_text == ""


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("image", None),
        ("image", 5),
        ("image", ""),
        ("image", "not base64!"),
        ("image", "data:text/html;base64,AAAA"),
        ("image", "https://example.com/a.png"),
        ("image", base64.b64encode(b"GIF89a" + bytes(20)).decode()),
        ("image", base64.b64encode(b"\x89PNG\r\n\x1a\n" + bytes(20)).decode()),
        ("prompt", 1),
        ("prompt", "x" * 4001),
        ("negative_prompt", ["x"]),
        ("scheduler", "Euler z"),
        ("num_inference_steps", 24),
        ("num_inference_steps", 101),
        ("num_inference_steps", 25.5),
        ("num_inference_steps", True),
        ("num_inference_steps", "25"),
        ("img_width", 512),
        ("img_height", "768"),
        ("scale", 0.05),
        ("scale", 1e400),
        ("strength", 0),
        ("offset_x", -1),
        ("offset_y", 1025),
        ("guidance_scale", 26),
        ("mask_expand", 257),
        ("seed", -2),
        ("seed", 10**400),
        ("base64", 1),
    ],
)
def test_a_refused_value_is_406_and_the_sentence_names_its_field(
    body: dict[str, Any], field: str, value: object
) -> None:
    content = json.dumps(body | {field: value}).replace("Infinity", "1e400").encode()
    found = refusal(content)
    assert found.status == 406
    assert found.sentence.startswith(field)


def test_what_a_field_may_be_is_said(body: dict[str, Any]) -> None:
    assert refusal(json.dumps(body | {"img_width": 512}).encode()).sentence == "img_width must be 768 or 1024, not 512."
    sentence = refusal(json.dumps(body | {"scheduler": "Euler z"}).encode()).sentence
    assert sentence.startswith("scheduler must be one of DDIM, ") and sentence.endswith(" or TCD, not 'Euler z'.")


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"[1]", b"null", b"\xff\xfe", b'{"scale": NaN}', b"[" * 100_000, b'{"seed": ' + b"9" * 5000 + b"}"],
)
def test_what_is_no_json_object_is_406(content: bytes) -> None:
    assert refusal(content).status == 406


@pytest.mark.parametrize("missing", ["image", "prompt"])
def test_a_missing_field_is_named(body: dict[str, Any], missing: str) -> None:
    del body[missing]
    assert refusal(json.dumps(body).encode()).sentence == f"{missing} is missing; it is required."


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
def test_three_formats_are_taken_also_as_data_urls(body: dict[str, Any], picture: np.ndarray, kind: str) -> None:
    text = f"data:image/{kind.lower()};base64,{encoded(picture, kind)}"
    assert order(body | {"image": text}).picture == base64.b64decode(text.partition(",")[2])


@pytest.mark.parametrize(
    "head", ["data:image/png;charset=utf-8;base64,", "data:image/png;name=a%20b.png;base64,", "data:;BASE64,"]
)
def test_a_data_url_may_have_parameters(body: dict[str, Any], head: str) -> None:
    assert order(body | {"image": head + body["image"]}).picture == base64.b64decode(body["image"])


@pytest.mark.parametrize("padding", [True, False])
def test_url_safe_base64_is_base64(body: dict[str, Any], padding: bool) -> None:
    content = base64.b64decode(body["image"]) + b"\xfb\xff\xfe\xfb"
    text = base64.urlsafe_b64encode(content).decode()
    assert "-" in text and "_" in text
    assert order(body | {"image": text if padding else text.rstrip("=")}).picture == content


def test_base64_in_a_data_url_may_be_percent_encoded(body: dict[str, Any]) -> None:
    text = quote(body["image"], safe="")
    assert order(body | {"image": f"data:image/png;base64,{text}"}).picture == base64.b64decode(body["image"])


@pytest.mark.parametrize("field", ["seed", "scheduler", "img_width", "scale", "base64", "negative_prompt"])
def test_null_in_an_optional_field_is_as_if_it_were_not_sent(body: dict[str, Any], field: str) -> None:
    without = {name: value for name, value in body.items() if name != field}
    with_null = order(without | {field: None})
    assert with_null.fields.keys() == order(without).fields.keys()
    assert asked(without | {field: None}).fingerprint == asked(without).fingerprint
    assert all(value is not None or name == "negative_prompt" for name, value in with_null.fields.items())


def test_base64_is_measured_before_it_is_decoded(body: dict[str, Any]) -> None:
    small = Configuration(max_image_bytes=1000, max_body_bytes=2000)
    found = refusal(json.dumps(body | {"image": "!" * 1400}).encode(), small)
    assert (found.status, found.sentence) == (413, "image is larger than 1,000 bytes.")


def test_a_picture_by_url_has_the_same_limit(body: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    def endless(_: str, limits: FetchLimits) -> bytes:
        raise TooManyBytes(f"more than {limits.max_bytes}")

    monkeypatch.setattr(intake, "fetch_image", endless)
    small = Configuration(max_image_bytes=1000, max_body_bytes=2000)
    found = refusal(json.dumps(body | {"image": "https://example.org/a.png"}).encode(), small)
    assert (found.status, found.sentence) == (413, "image is larger than 1,000 bytes.")


def bomb(width: int, height: int) -> str:
    """A PNG of a few bytes that claims to be huge."""
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunk = struct.pack(">I", 13) + b"IHDR" + header + struct.pack(">I", zlib.crc32(b"IHDR" + header))
    return base64.b64encode(
        b"\x89PNG\r\n\x1a\n" + chunk + struct.pack(">I", 0) + b"IDAT" + struct.pack(">I", zlib.crc32(b"IDAT"))
    ).decode()


@pytest.mark.parametrize("size", [(4097, 4096), (30_000, 30_000), (2**31 - 1, 2**31 - 1)])
def test_a_bomb_is_refused_by_its_header(body: dict[str, Any], size: tuple[int, int]) -> None:
    found = refusal(json.dumps(body | {"image": bomb(*size)}).encode())
    assert found.status == 406 and found.sentence.startswith("image ")
    assert "pixels" in found.sentence and "damaged" not in found.sentence


def test_a_pictures_text_never_decides_about_it(body: dict[str, Any]) -> None:
    content = base64.b64decode(body["image"])
    text = b"zTXtComment\0\0" + zlib.compress(bytes(3_000_000))
    chunk = struct.pack(">I", len(text) - 4) + text + struct.pack(">I", 0)
    picture = base64.b64encode(content[:33] + chunk + content[33:]).decode()
    assert order(body | {"image": picture}).picture


def test_scaling_up_beyond_the_pixel_limit_is_refused(body: dict[str, Any]) -> None:
    found = refusal(json.dumps(body | {"scale": 10}).encode(), Configuration(max_pixels=64 * 48 * 50))
    assert found.status == 406 and found.sentence.startswith("scale ")


def test_an_animation_is_refused(body: dict[str, Any]) -> None:
    import io

    from PIL import Image

    frames = [Image.new("RGB", (8, 8), (shade, 0, 0)) for shade in (0, 200)]
    buffer = io.BytesIO()
    frames[0].save(buffer, "WEBP", save_all=True, append_images=frames[1:])
    content = base64.b64encode(buffer.getvalue()).decode()
    assert "animated" in refusal(json.dumps(body | {"image": content}).encode()).sentence


def test_spacing_and_order_do_not_change_the_fingerprint(body: dict[str, Any]) -> None:
    turned = json.dumps(dict(reversed(body.items())), indent=3).encode()
    assert asked(body).fingerprint == Contract(DEFAULT).read(turned).fingerprint
    assert asked(body | {"seed": 8}).fingerprint != asked(body).fingerprint


def test_the_example_of_the_document_is_taken() -> None:
    assert order(EXAMPLE).fields["prompt"] == "sunset mountains"


def test_the_schema_follows_the_configuration() -> None:
    properties = Contract(Configuration(canvas_sides=(256,), canvas_default=256)).sent["properties"]
    assert properties["img_width"]["enum"] == [256, None] and properties["img_width"]["default"] == 256
    assert properties["num_inference_steps"]["minimum"] == 25


@pytest.mark.parametrize(
    ("micros", "text"), [(10_900, "0.0109"), (0, "0"), (1_000_000, "1"), (-10_900, "-0.0109"), (100_000_000, "100")]
)
def test_credits_are_written_without_needless_zeros(micros: int, text: str) -> None:
    assert credits_text(micros) == text


@pytest.mark.parametrize(
    ("prompt", "allowed", "sentence"),
    [
        ("sea <lora:ink:0.5>", (), "prompt names the LoRA 'ink'; this service has none. Leave the tag out."),
        (
            "sea <lora:/etc/passwd>",
            ("ink",),
            "prompt names the LoRA '/etc/passwd'; it may name ink. Leave the tag out.",
        ),
        ("<lora:ink:inf>", ("ink",), "The strength of the LoRA 'ink' must be a number from -100 to 100, not 'inf'."),
    ],
)
def test_a_lora_that_the_configuration_does_not_name_is_refused(
    prompt: str, allowed: tuple[str, ...], sentence: str, body: dict[str, Any]
) -> None:
    content = json.dumps({**body, "prompt": prompt}).encode()
    assert str(refusal(content, Configuration(loras=allowed)).sentence) == sentence


def test_a_lora_that_the_configuration_names_is_taken(body: dict[str, Any]) -> None:
    prompt = "sea <lora:ink:0.5>"
    assert order({**body, "prompt": prompt}, Configuration(loras=("ink",))).fields["prompt"] == prompt


def test_the_other_apis_take_the_same_loras() -> None:
    assert settings(Configuration(loras=("ink",)), prompt="<lora:ink>")["prompt"] == "<lora:ink>"
    with pytest.raises(Refusal, match="'oil'; it may name ink"):
        settings(Configuration(loras=("ink",)), prompt="<lora:oil>")
