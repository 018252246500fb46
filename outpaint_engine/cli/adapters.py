"""Options for what is added to a model from files of its own: words of textual inversion, and LoRAs."""

from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Self

import click

from ..adapters import file_and_strength
from ..errors import RequestError
from .options import Command, added

if TYPE_CHECKING:
    from ..pipeline import OutpaintPipeline
    from ..shared import SharedPipeline

__all__ = ["Adapters", "adapter_options"]


def adapter_options(command: Command) -> Command:
    """Add what prompts may use beyond the engine set: words of textual inversion, and LoRAs."""
    options = [
        click.option(
            "--embeddings",
            type=click.Path(exists=True, path_type=Path),
            multiple=True,
            metavar="FILE",
            help="A word of textual inversion (.safetensors) for prompts; may be given several times.",
        ),
        click.option(
            "--lora",
            "lora",
            callback=_loras,
            multiple=True,
            metavar="FILE[:STRENGTH]",
            help="Paint with a LoRA (.safetensors); may be given several times. [:1]",
        ),
        click.option(
            "--loras",
            type=click.Path(exists=True, file_okay=False, path_type=Path),
            metavar="FOLDER",
            help="LoRAs that prompts may name: <lora:NAME:0.8>.",
        ),
    ]
    return added(command, options)


class Adapters(NamedTuple):
    """What `adapter_options` were given: files of words, LoRA files with strengths, and a folder of LoRAs."""

    embeddings: tuple[Path, ...]
    lora: tuple[tuple[Path, float], ...]
    loras: Path | None

    @classmethod
    def of(cls, given: dict[str, Any]) -> Self:
        """Take the options out of `given`."""
        return cls(*(given.pop(name) for name in cls._fields))

    def load(self, pipe: "OutpaintPipeline | SharedPipeline") -> None:
        """Add the files to a pipeline, which was opened with the folder `loras`."""
        for file in self.embeddings:
            pipe.load_textual_inversion(file)
        for file, strength in self.lora:
            pipe.load_lora(file, strength)


def _loras(
    context: click.Context, parameter: click.Parameter, texts: tuple[str, ...]
) -> tuple[tuple[Path, float], ...]:
    try:
        return tuple(map(file_and_strength, texts))
    except RequestError as error:
        raise click.BadParameter(str(error)) from error
