"""What a written picture says of itself, read back by Pillow and by an XML parser."""

import io
import json
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image, ImageOps

from outpaint_engine.images import Original, Provenance, encode, encode_original, open_picture

PHOTO = Image.fromarray(np.random.default_rng(0).integers(0, 256, (24, 32, 3), np.uint8))
PROMPT = "a <b> & 'sea' \"blue\" \U0001f30a\x01\ufffe ]]>"
TOLD = Provenance("outpaint_engine 1.2 & more", {"prompt": PROMPT, "seed": 7}, f"{PROMPT}\nSteps: 4")
FORMATS = [".png", ".jpg", ".webp", ".tif"]
SOURCE_TYPE = "http://cv.iptc.org/newscodes/digitalsourcetype/compositeWithTrainedAlgorithmicMedia"
IPTC, XMP, OURS = (
    "{http://iptc.org/std/Iptc4xmpExt/2008-02-29/}",
    "{http://ns.adobe.com/xap/1.0/}",
    "{urn:outpaint_engine/}",
)


def opened(content: bytes) -> Any:
    return Image.open(io.BytesIO(content))


def stated(content: bytes) -> dict[str, str | None]:
    """The properties of a file's XMP packet, as an XML parser reads them."""
    image = opened(content)
    packet = image.tag_v2[700] if image.format == "TIFF" else image.info["xmp"]
    (description,) = ElementTree.fromstring(packet.rstrip(b"\0").decode())[0]
    return {element.tag: element.text for element in description}


@pytest.mark.parametrize("suffix", FORMATS)
def test_a_file_says_that_a_model_painted_it_with_which_tool_and_on_which_request(suffix: str) -> None:
    found = stated(encode(PHOTO, suffix, TOLD))
    assert found[f"{IPTC}DigitalSourceType"] == SOURCE_TYPE
    assert found[f"{XMP}CreatorTool"] == "outpaint_engine 1.2 & more"
    assert json.loads(found[f"{OURS}request"] or "") == {"prompt": PROMPT, "seed": 7}


@pytest.mark.parametrize("suffix", FORMATS)
def test_the_pixels_are_those_of_a_file_that_says_nothing(suffix: str) -> None:
    told, bare = opened(encode(PHOTO, suffix, TOLD)), opened(encode(PHOTO, suffix))
    assert told.tobytes() == bare.tobytes()


@pytest.mark.parametrize("suffix", FORMATS)
def test_a_file_that_says_nothing_has_neither_packet_nor_text_nor_exif(suffix: str) -> None:
    content = encode(PHOTO, suffix)
    image = opened(content)
    assert "xmp" not in image.info and "exif" not in image.info and not getattr(image, "text", {})
    assert b"outpaint" not in content and b"iptc" not in content
    assert image.format != "TIFF" or not {270, 305, 700} & set(image.tag_v2)


def test_a_png_carries_the_request_as_text() -> None:
    text = opened(encode(PHOTO, ".png", Provenance("a tool", {"seed": 7}, "a prompt\nSteps: 4"))).text
    assert text["parameters"] == "a prompt\nSteps: 4"
    assert json.loads(text["outpaint_engine"]) == {"seed": 7}


@pytest.mark.parametrize("suffix", [".jpg", ".webp"])
def test_a_jpeg_and_a_webp_carry_the_text_of_the_web_ui_where_it_looks_for_it(suffix: str) -> None:
    exif = opened(encode(PHOTO, suffix, TOLD)).getexif()
    comment = exif.get_ifd(0x8769)[0x9286]
    assert comment[:8] == b"UNICODE\0" and comment[8:].decode("utf-16-be") == f"{PROMPT}\nSteps: 4"
    assert exif[0x0131] == "outpaint_engine 1.2 & more"


def test_a_request_too_long_for_a_jpeg_is_left_out_of_it_and_the_mark_stays() -> None:
    found = stated(encode(PHOTO, ".jpg", TOLD._replace(request={"prompt": "x" * 70_000}, parameters="x" * 70_000)))
    assert found[f"{IPTC}DigitalSourceType"] == SOURCE_TYPE and f"{OURS}request" not in found


@pytest.mark.parametrize("suffix", [".png", ".tif"])
@pytest.mark.parametrize("depth", [np.uint8, np.uint16])
def test_a_file_of_the_originals_samples_says_it_too(suffix: str, depth: type) -> None:
    original = Original(np.asarray(PHOTO).astype(depth), None)
    content = encode_original(original, suffix, TOLD)
    assert stated(content)[f"{IPTC}DigitalSourceType"] == SOURCE_TYPE
    assert np.array_equal(open_picture(content).pixels, open_picture(encode_original(original, suffix)).pixels)
    assert b"outpaint" not in encode_original(original, suffix)


@pytest.mark.parametrize("suffix", FORMATS)
def test_nothing_that_is_written_turns_the_picture(suffix: str) -> None:
    image = opened(encode(PHOTO, suffix, TOLD))
    assert ImageOps.exif_transpose(image).size == PHOTO.size
