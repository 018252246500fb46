"""What a server, or each painter of a cluster, loads: the engine set, how it runs, and what is added to it."""

from dataclasses import dataclass, field
from pathlib import Path

from ..engines import EngineOptions
from ..lora_models import Loras
from ..shared import SharedPipeline
from .engine_files import engines_here

__all__ = ["Model"]


@dataclass(frozen=True)
class Model:
    """Everything that decides about the pictures beside the request; files are this machine's."""

    engines: str
    """A folder, "demo", or a URL of one; see `engines_here`."""
    device: str = "auto"
    options: EngineOptions = EngineOptions()
    at_once: int = 2
    load_twice: bool = True
    loras: Loras = field(default_factory=Loras)
    lora: tuple[tuple[Path, float], ...] = ()
    embeddings: tuple[Path, ...] = ()

    def load(self) -> SharedPipeline:
        """Open and load it; see `SharedPipeline.from_pretrained`.

        Raises:
            AdapterError: a file that is added cannot be used.
            EngineSetError: the folder is missing, incomplete or damaged.
            BackendUnavailable: the device cannot be used here.
        """
        loaded = SharedPipeline.from_pretrained(
            engines_here(self.engines),
            device=self.device,
            options=self.options,
            at_once=self.at_once,
            load_twice=self.load_twice,
            loras=self.loras,
        )
        try:
            for file in self.embeddings:
                loaded.load_textual_inversion(file)
            for file, strength in self.lora:
                loaded.load_lora(file, strength)
        except BaseException:
            loaded.close()
            raise
        return loaded
