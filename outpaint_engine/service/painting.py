"""Paints one order on the loaded model, step by step: all that a worker needs of the runtime.

It knows neither the queue nor HTTP, so that what paints may as well be in another process.
"""

import dataclasses
import json
import time
from collections.abc import Generator, Mapping
from typing import Any, NamedTuple

from .. import __version__
from ..images import encode
from ..images.credentials import Credentials, original_of
from ..recipe import provenance_of
from ..request import OutpaintRequest
from ..run import OutpaintResult, Progress
from ..shared import SharedPipeline
from .configuration import Configuration

__all__ = ["Painted", "Painter", "painter_of", "thumbnail"]

PREVIEW_SIDE = 256


class Painted(NamedTuple):
    """A result: its files, and the seconds that it took, in all and by stage."""

    picture: bytes
    report: bytes
    seconds: float
    stages: Mapping[str, float]


class Painter:
    """Runs orders on a model that several threads share; the model stays the caller's to close.

    `standing_still` is how many runs may be open beside those that go on; `metadata` says whether a result carries
    where it is from, `credentials` sign that; `safety` is every request's.
    """

    def __init__(
        self,
        model: SharedPipeline,
        standing_still: int = 0,
        metadata: bool = True,
        safety: str = "off",
        credentials: Credentials | None = None,
    ) -> None:
        self._model, self._metadata, self._safety, self._credentials = model, metadata, safety, credentials
        if safety != "off":
            model.load_safety_checker()
        if standing_still:
            model.allow(standing_still)

    def paint(
        self, picture: bytes, fields: Mapping[str, Any], suffix: str = ".jpg"
    ) -> Generator[Progress, None, Painted]:
        """Yield after each step; close it to cancel. The generator's value is what was painted, as a file of `suffix`.

        `fields` are those of `OutpaintRequest`, and `crop`: what of the canvas is wanted, (left, top, right, bottom).

        Raises:
            RequestError: the order cannot be run.
            ImageError: the picture cannot be opened.
            SafetyError: what was painted is refused.
        """
        began = time.perf_counter()
        wanted = dict(fields)
        crop = wanted.pop("crop", None)
        request = OutpaintRequest(image=picture, safety=self._safety, **wanted)
        with self._model.steps(request) as run:
            yield from run
        result = run.result
        stages = result.timings.stages | {"unet": sum(result.timings.steps)}
        image = result.images[0].crop(crop) if crop else result.images[0]
        content = encode(image, suffix, provenance_of(request, result) if self._metadata else None)
        if self._credentials:
            content = self._credentials.sign(content, suffix, original_of(picture), __version__)
        return Painted(content, _report(result), time.perf_counter() - began, stages)

    def warm_up(self, side: int) -> None:
        """Run one step on grey, which also shows whether the engines work."""
        self._model.warm_up(side)


def painter_of(configuration: Configuration, model: SharedPipeline, standing_still: int = 0) -> Painter:
    """The painter that a configuration asks for.

    Raises:
        RequestError: the engine set has no safety checker or tiny decoder, or the certificate's files cannot be used.
    """
    if configuration.decoder == "tiny":
        model.load_tiny_decoder()
    credentials = None
    if configuration.sign_certificate:
        pair = configuration.sign_certificate, configuration.sign_key
        credentials = Credentials.read(*pair, configuration.sign_algorithm)
    return Painter(model, standing_still, configuration.metadata, configuration.safety, credentials)


def thumbnail(progress: Progress) -> bytes:
    """A small JPEG of a run so far."""
    picture = progress.preview()
    picture.thumbnail((PREVIEW_SIDE, PREVIEW_SIDE))
    return encode(picture, ".jpg")


def _report(result: OutpaintResult) -> bytes:
    """What was measured on the picture, and what a person should know of it, as JSON."""
    facts = {
        "quality": dataclasses.asdict(result.quality[0]),
        "safety": [dataclasses.asdict(each) for each in result.safety],
        "notes": list(result.notes),
        "seed": result.seed,
        "timings": result.timings.stages | {"steps": result.timings.steps},
        "backend": result.backend,
        "device": result.device,
        "precision": result.precision,
        "engine_set": result.engine_set,
    }
    return json.dumps(facts).encode()
