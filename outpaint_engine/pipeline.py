"""The front door: opens an engine set, loads its engines on one device, and runs requests."""

import dataclasses
import threading
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from inspect import Parameter, Signature
from pathlib import Path
from typing import Any, Self

from .adapters import read_embedding
from .components import ADDED_WORDS, TINY_DECODER, Models, TextEncoder, TinyDecoder
from .detail import LargeRun, asks_for_detail
from .engine_set import EngineSet
from .engine_set.stamps import verify_changed
from .engines import SHALLOW, Engine, EngineOptions, Loading, find_backend, load_engines, load_optional
from .errors import AdapterError, EngineSetError, RequestError
from .lora_models import LoraModels, Loras
from .prompts import lora_tags
from .request import OutpaintRequest, all_names
from .run import CheckedRun, OutpaintResult, OutpaintRun, StraightRun
from .run.place import Placed, place
from .safety import SafetyChecker
from .shapes import shapes_to_prepare
from .window import WindowedRun, cropped, inside, window_of

__all__ = ["OutpaintPipeline"]

OPTIONS = [
    Parameter(name, Parameter.KEYWORD_ONLY, default=getattr(OutpaintRequest, name, None)) for name in all_names()
]
COMPLETED = Signature(
    [
        Parameter("self", Parameter.POSITIONAL_ONLY),
        Parameter("request", Parameter.POSITIONAL_OR_KEYWORD, default=None, annotation=OutpaintRequest | None),
        *OPTIONS,
    ]
)
"""What an editor or a notebook offers for a call."""
NO_TINY_DECODER = (
    "The engine set {folder} has no tiny decoder. Leave decoder at full, or export the checkpoint again with one: "
    "`outpaint-export onnx SOURCE OUT --tiny-decoder TAESD`, where TAESD is a folder or hub id of an AutoencoderTiny."
)


class OutpaintPipeline:
    """An engine set ready to run. Use it as a context manager, or `close` it.

    `max_batch` bounds how many pictures of a request share a UNet call; see `run.pictures_per_call`. `options` are how
    its engines were loaded, `loras` which LoRAs prompts may name; `safety_checker` is by default the engine set's,
    loaded when it is first asked for.
    """

    def __init__(
        self,
        models: Models,
        *,
        max_batch: int | None = None,
        options: EngineOptions = EngineOptions(),  # noqa: B008 - frozen
        loras: Loras | LoraModels = Loras(),  # noqa: B008 - frozen
        safety_checker: SafetyChecker | None = None,
    ) -> None:
        channels = models.engine_set.unet_channels
        if channels not in (4, 9):
            raise EngineSetError(f"The UNet takes {channels} channels; outpainting knows 4 and 9.")
        if max_batch is not None and max_batch < 1:
            raise RequestError(f"max_batch must be a whole number from 1, not {max_batch}.")
        self.models, self.max_batch = models, max_batch
        self._options, self._adding, self.safety_checker = options, threading.Lock(), safety_checker
        self._loras = loras if isinstance(loras, LoraModels) else LoraModels(models.engine_set, options, loras)

    @classmethod
    def from_pretrained(
        cls,
        folder: str | Path = "demo",
        *,
        device: str = "auto",
        options: EngineOptions = EngineOptions(),  # noqa: B008 - frozen
        verify: bool | None = None,
        max_batch: int | None = None,
        loras: str | Path | Loras | None = None,
    ) -> Self:
        """Open an engine set ("demo" is the one that comes with this package) and load it on `device`.

        `device` is "auto" or a backend's name, see docs/backends.md; `options` say in what precision and on how many
        threads, where it leaves a choice, and for which canvas sizes to be ready. The files are compared with the
        manifest's SHA-256 while they are loaded, unless they were before and have not changed since; `verify=True`
        compares them in any case, `verify=False` never. `loras` is a folder of `.safetensors` files that prompts may
        name as `<lora:name:0.8>`, or `Loras` with more to say.

        Raises:
            AdapterError: there is no such folder of LoRAs.
            EngineSetError: the folder is missing, incomplete or damaged.
            BackendUnavailable: the device cannot be used here, or not in that precision.
        """
        engine_set = EngineSet.open(folder, verify=False)
        shapes, allowed = shapes_to_prepare(engine_set, options.buckets), Loras.of(loras)
        merging = LoraModels(engine_set, options, allowed)
        with ThreadPoolExecutor(1) as pool:
            compared = pool.submit(_compare, engine_set, verify)
            try:
                engines = load_engines(engine_set, device, options, shapes)
            except Exception:
                # A damaged file is the reason, where there is one.
                compared.result()
                raise
        if damage := compared.exception():
            for engine in engines.values():
                engine.close()
            raise damage
        return cls(Models.of(engine_set, engines), max_batch=max_batch, options=options, loras=merging)

    def with_models(self, models: Models) -> Self:
        """A pipeline over these models, which are this one's in other hands, with the same options and LoRAs."""
        return type(self)(
            models,
            max_batch=self.max_batch,
            options=self._options,
            loras=self._loras,
            safety_checker=self.safety_checker,
        )

    def __call__(self, request: OutpaintRequest | None = None, **fields: Any) -> OutpaintResult:
        """Run a request, or the one that `OutpaintRequest.placed` makes of `fields`, to its end."""
        run = self.steps(request, **fields)
        for _ in run:
            pass
        return run.result

    def steps(self, request: OutpaintRequest | None = None, **fields: Any) -> OutpaintRun:
        """A run to iterate over: one `Progress` a step, then `.result`. Stop iterating to cancel."""
        if request is None:
            request = OutpaintRequest.placed(**fields)
        elif not isinstance(request, OutpaintRequest):
            raise RequestError(
                f"Give an OutpaintRequest, or options by name: image=..., prompt=...; not a {type(request).__name__} "
                "without a name."
            )
        elif fields:
            raise RequestError(f"Give either an OutpaintRequest or options by name, not both: {', '.join(fields)}.")
        text, tags = lora_tags(request.prompt)
        if lora_tags(request.negative_text).loras:
            raise RequestError("A LoRA is named in the prompt, not in the negative prompt: move the tag there.")
        if tags:
            request = dataclasses.replace(request, prompt=text)
        checker = None if request.safety == "off" else self.load_safety_checker()
        run = self._unchecked(request, tags)
        return run if checker is None else CheckedRun(run, checker, refuse=request.safety == "refuse")

    def _unchecked(self, request: OutpaintRequest, tags: Mapping[str, float]) -> OutpaintRun:
        placed = place(request)
        shallow = request.chosen_reuse.method == SHALLOW
        if shallow:
            self._open_shallow()
        tiny = self.load_tiny_decoder() if request.decoder == "tiny" else None
        models = self._loras.models(self.models, tags, shallow=shallow)
        models = models._replace(vae_decoder=tiny or models.vae_decoder)
        if not request.window:
            return self._run(models, request, placed)
        box = window_of(placed.plan, models.engine_set.native_size)
        part = inside(request, box)
        return WindowedRun(placed, box, self._run(models, part, cropped(placed, part, box)))

    def _run(self, models: Models, request: OutpaintRequest, placed: Placed) -> OutpaintRun:
        large = asks_for_detail(request, models.engine_set.native_size)
        return (LargeRun if large else StraightRun)(models, request, placed, self.max_batch)

    def __repr__(self) -> str:
        unet = self.models.unet.engine
        return f"<OutpaintPipeline {str(self.models.engine_set.folder)!r} on {unet.backend} ({unet.precision})>"

    def load_textual_inversion(self, path: str | Path, token: str | None = None) -> str:
        """Add the word of an embedding file, and return it; prompts may use it from now on, whatever thread runs them.

        `path` is a `.safetensors` file of one or more vectors, or a folder as diffusers' trainer leaves it; `token` is
        the word to write in prompts, by default the file's own. A failure changes nothing. The first word opens the
        text encoder again, in a form that takes vectors.

        Raises:
            AdapterError: the file is damaged or made for another model, or the tokenizer has the word already.
            EngineSetError: the engine set has no text encoder that takes words.
        """
        word, vectors = read_embedding(path, token)
        prompts, text_encoder = self.models.prompts, self.models.text_encoder
        width = text_encoder.width or vectors.shape[1]
        if vectors.shape[1] != width:
            raise AdapterError(
                f"{path} has vectors of width {vectors.shape[1]} and this model's are {width} wide, so it was made for "
                "another one. Give an embedding for Stable Diffusion 1.5."
            )
        with self._adding:
            tokenizer = prompts.with_word(word, len(vectors))
            engine = None if text_encoder.takes_words else self._text_encoder_that_takes_words()
            text_encoder.add_words(vectors, engine)
            prompts.use(tokenizer)
        return word

    @property
    def loras(self) -> Mapping[str, float]:
        """The LoRAs that every run is painted with: name and strength."""
        return self._loras.strengths

    def load_lora(self, path: str | Path, strength: float = 1.0, name: str | None = None) -> str:
        """Paint with the LoRA in a `.safetensors` file from the next run on, and return its name.

        Several are added up; loading a name again changes its strength, and at 0 the picture is the one without it, bit
        for bit. `name` is by default the file's own. The UNet and the text encoder are opened again, as far as the
        file changes them, and the plain ones stay loaded. A failure changes nothing.

        Raises:
            AdapterError: the file is damaged, or made for another model; the message says how.
            BackendUnavailable: the backend cannot merge; the message names the command that folds it in at export.
            EngineSetError: the engine set does not say where its weights are.
            RequestError: the strength is no number from -100 to 100.
        """
        return self._loras.load(self.models, path, strength, name)

    def unload_lora(self, name: str) -> None:
        """Paint without it from the next run on.

        Raises:
            RequestError: no LoRA of that name is loaded.
        """
        self._loras.unload(name)

    def _text_encoder_that_takes_words(self) -> Engine:
        engine_set = self.models.engine_set
        backend = find_backend(self.models.text_encoder.engine.backend)
        artifact = engine_set.artifact("text_encoder", backend.format, backend.name, ADDED_WORDS)
        shapes = TextEncoder.shapes_with_words(engine_set, artifact.inputs)
        return backend.load(Loading(engine_set, "text_encoder", self._options, (shapes,), ADDED_WORDS))

    def _open_shallow(self) -> None:
        """Load the UNet's shallow part for the first run that asks for it, where the set has one."""
        engine_set, unet = self.models.engine_set, self.models.unet.engine
        with self._adding:
            if self.models.shallow is None and SHALLOW in engine_set.graphs("unet"):
                loading = Loading(engine_set, "unet", self._options, graph=SHALLOW)
                self.models = self.models.with_engines({SHALLOW: find_backend(unet.backend).load(loading)})

    def load_safety_checker(self) -> SafetyChecker:
        """The set's safety checker, loaded by the first run that asks for it, or now.

        Raises:
            RequestError: the set has none; the message has the command that makes it.
        """
        with self._adding:
            if self.safety_checker is None:
                backend = self.models.unet.engine.backend
                self.safety_checker = SafetyChecker.open(self.models.engine_set, backend, self._options)
            return self.safety_checker

    def load_tiny_decoder(self) -> TinyDecoder:
        """The set's tiny decoder, loaded by the first run that asks for it, or now, for previews of any run.

        Raises:
            RequestError: the set has none; the message has the command that makes it.
        """
        with self._adding:
            if self.models.tiny_decoder is None:
                engine_set, backend = self.models.engine_set, self.models.unet.engine.backend
                engine = load_optional(engine_set, TINY_DECODER, backend, self._options, NO_TINY_DECODER)
                self.models = self.models.with_engines({TINY_DECODER: engine})
            assert self.models.tiny_decoder is not None
            return self.models.tiny_decoder

    def close(self) -> None:
        """Free the engines."""
        for engine in self.models.engines.values():
            engine.close()
        self._loras.close()
        if self.safety_checker is not None:
            self.safety_checker.close()

    def __enter__(self) -> Self:
        """Return the pipeline."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the pipeline."""
        self.close()


def _compare(engine_set: EngineSet, verify: bool | None) -> None:
    if verify:
        engine_set.verify()
    elif verify is None:
        verify_changed(engine_set)


CALLS: tuple[Any, ...] = (OutpaintPipeline.__call__, OutpaintPipeline.steps)
for call in CALLS:
    call.__signature__ = COMPLETED
