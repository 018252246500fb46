"""The front door: opens an engine set, loads its engines on one device, and runs requests."""

from pathlib import Path
from typing import Any, Self

from .components import TextEncoder, Unet, VaeDecoder, VaeEncoder
from .engine_set import EngineSet
from .engines import Engine, choose_backend
from .errors import EngineSetError
from .prompts import Prompts
from .request import OutpaintRequest
from .run import Models, OutpaintResult, OutpaintRun
from .schedule import NoiseSchedule

__all__ = ["OutpaintPipeline"]


class OutpaintPipeline:
    """An engine set ready to run. Use it as a context manager, or `close` it."""

    def __init__(self, models: Models) -> None:
        channels = models.engine_set.unet_channels
        if channels not in (4, 9):
            raise EngineSetError(f"The UNet takes {channels} channels; outpainting knows 4 and 9.")
        self.models = models

    @classmethod
    def from_pretrained(cls, folder: str | Path = "demo", *, device: str = "auto", verify: bool = True) -> Self:
        """Open an engine set ("demo" is the one that comes with this package) and load it on `device`.

        Raises:
            EngineSetError: the folder is missing, incomplete or damaged.
            BackendUnavailable: the device cannot be used here.
        """
        engine_set = EngineSet.open(folder, verify=verify)
        backend = choose_backend(device)

        def engine(part: str) -> Engine:
            return backend.load(engine_set.folder / engine_set.artifact(part, backend.format).file, part)

        return cls(
            Models(
                engine_set,
                NoiseSchedule.from_config(engine_set.scheduler),
                Prompts(engine_set.folder / "tokenizer"),
                TextEncoder(engine("text_encoder")),
                Unet(engine("unet")),
                VaeEncoder(engine("vae_encoder"), engine_set.latent_scale),
                VaeDecoder(engine("vae_decoder"), engine_set.latent_scale),
            )
        )

    def __call__(self, request: OutpaintRequest | None = None, **fields: Any) -> OutpaintResult:
        """Run a request, or the request made of `fields`, to its end."""
        run = self.steps(request or OutpaintRequest(**fields))
        for _ in run:
            pass
        return run.result

    def steps(self, request: OutpaintRequest) -> OutpaintRun:
        """A run to iterate over: one `Progress` a step, then `.result`. Stop iterating to cancel."""
        return OutpaintRun(self.models, request)

    def close(self) -> None:
        """Free the engines."""
        models = self.models
        for component in (models.text_encoder, models.unet, models.vae_encoder, models.vae_decoder):
            component.engine.close()

    def __enter__(self) -> Self:
        """Return the pipeline."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the pipeline."""
        self.close()
