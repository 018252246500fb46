"""The command line of the export stage: arguments in, one sentence and an exit code out. Converts nothing itself.

Exit codes: 0 done, 1 cannot be written, 2 usage, 3 extra `export` missing, 4 broken engine set, 5 checkpoint
refused, 130 interrupted.
"""

import dataclasses
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click
from tqdm import tqdm

from outpaint_engine.adapters import file_and_strength
from outpaint_engine.engine_set import PARTS, EngineSet
from outpaint_engine.errors import OutpaintError, RequestError

from ..errors import exit_code
from ..layout import STAGES, SYNTHETIC
from .parity import parity_command
from .tensorrt import tensorrt_command

__all__ = ["commands", "exit_code_of", "main", "progress", "summarise"]

STAGE_WORDS = {"load": "loading", "export": "exporting", "check": "checking"}
MISSING_LIBRARY, INTERRUPTED = 3, 130
FOLDER = click.Path(path_type=Path, exists=True, file_okay=False)
PRECISION = click.option(
    "--precision",
    type=click.Choice(["fp32", "fp16-weights", "fp16"]),
    default="fp32",
    show_default=True,
    help="fp16-weights halves the files and computes in fp32; fp16 also computes in it, for GPUs.",
)


QUICK = click.option(
    "--quick", is_flag=True, help="Compare with the checkpoint on small random inputs alone, not at full size."
)


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def commands() -> None:
    """Turn Stable Diffusion 1.5 checkpoints into engine sets for outpaint_engine."""


@commands.command("onnx")
@click.argument("source")
@click.argument("out", type=click.Path(path_type=Path))
@PRECISION
@click.option("--revision", help="Branch, tag or commit of a hub id.")
@click.option("--tokenizer", type=FOLDER, help="Folder of the CLIP tokenizer, for a SOURCE in one file.")
@click.option("--opset", type=click.IntRange(18, 23), default=23, show_default=True, help="ONNX operator set.")
@click.option(
    "--lora", multiple=True, metavar="FILE[:STRENGTH]", help="Fold a LoRA into the weights; may be given again. [:1]"
)
@click.option(
    "--safety-checker",
    default="own",
    show_default=True,
    metavar="own|none|SOURCE",
    help="The checkpoint's, where it has one; none; or that of another folder or hub id.",
)
@click.option("--tiny-decoder", metavar="SOURCE", help="Add TAESD: the folder or hub id of an AutoencoderTiny.")
@QUICK
@click.option("--overwrite", is_flag=True, help="Replace the engine set at OUT.")
def onnx_command(source: str, out: Path, **given: Any) -> None:
    """Export a checkpoint to an engine set in the folder OUT.

    SOURCE is a diffusers folder, a hub id such as owner/name, or one .safetensors file.
    """
    # torch takes seconds to import, which `--help` and `adopt` need not wait for.
    from ..exporting import ExportOptions, export_parts
    from ..sources.adapted import with_loras
    from ..sources.opening import open_source, silence_libraries
    from ..sources.safety import open_safety_checker
    from ..sources.tiny_decoder import open_tiny_decoder

    silence_libraries()
    loras = [_lora(text) for text in given["lora"]]
    with progress() as report:
        sources = open_source(source, given["revision"], given["tokenizer"])
        if loras:
            sources = with_loras(sources, loras)
        safety_checker = open_safety_checker(given["safety_checker"], source, given["revision"])
        tiny = given["tiny_decoder"]
        tiny_decoder = open_tiny_decoder(tiny) if tiny else None
        sources = dataclasses.replace(sources, safety_checker=safety_checker, tiny_decoder=tiny_decoder)
        options = ExportOptions(given["precision"], given["opset"], given["overwrite"], report, given["quick"])
        engines = export_parts(sources, out, options)
    summarise(engines)


def _lora(text: str) -> tuple[Path, float]:
    try:
        return file_and_strength(text)
    except RequestError as error:
        raise click.BadParameter(str(error), param_hint="--lora") from error


@commands.command("adopt")
@click.argument("folder", metavar="DIR", type=FOLDER)
def adopt_command(folder: Path) -> None:
    """Bring a folder that Optimum exported, or a set of an older version, up to date; DIR is rewritten.

    The same weights, in one file a part, and every form of each graph.
    """
    from ..adopting import adopt

    summarise(adopt(folder))


@commands.command("synthetic")
@click.argument("architecture", type=click.Choice(SYNTHETIC))
@click.argument("out", type=click.Path(path_type=Path))
@click.option("--channels", type=click.Choice(["4", "9"]), default="9", show_default=True, help="UNet inputs.")
@PRECISION
@QUICK
@click.option("--overwrite", is_flag=True, help="Replace the engine set at OUT.")
def synthetic_command(architecture: str, out: Path, channels: str, **given: Any) -> None:
    """Write an engine set with random weights to the folder OUT, for measuring speed offline.

    sd15 has Stable Diffusion 1.5's size; tiny is for tests.
    """
    from ..exporting import ExportOptions, export_parts
    from ..sources.opening import silence_libraries
    from ..sources.synthetic import synthetic_sources

    silence_libraries()
    with progress() as report:
        options = ExportOptions(**given, report=report)
        engines = export_parts(synthetic_sources(architecture, int(channels)), out, options)
    summarise(engines)


commands.add_command(parity_command)
commands.add_command(tensorrt_command)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code."""
    return exit_code_of(commands, "outpaint-export", arguments)


def exit_code_of(command: click.Command, name: str, arguments: Sequence[str] | None = None) -> int:
    """Run `command` as the program `name`: what goes wrong becomes one sentence on stderr and an exit code."""
    try:
        command.main(args=arguments, prog_name=name, standalone_mode=False)
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except OutpaintError as error:
        click.echo(f"Error: {error}", err=True)
        return exit_code(error)
    except (click.Abort, KeyboardInterrupt):
        click.echo("Interrupted; no engine set was written.", err=True)
        return INTERRUPTED
    except ImportError as error:
        click.echo(f'Error: {error}. Exporting needs more: pip install "outpaint_engine[export]"', err=True)
        return MISSING_LIBRARY
    except OSError as error:
        click.echo(f"Error: {error.filename or 'the output'} cannot be written or read: {error.strerror}.", err=True)
        return 1
    return 0


@contextmanager
def progress() -> Iterator[Callable[[str, str], None]]:
    """A function to report stages to, shown as a bar on stderr where that is a terminal."""
    with tqdm(total=len(PARTS) * len(STAGES), disable=not sys.stderr.isatty(), unit="stage", leave=False) as bar:

        def report(part: str, stage: str) -> None:
            if part not in PARTS and stage == STAGES[0]:
                bar.total += len(STAGES)
            begun = PARTS.index(part) * len(STAGES) if part in PARTS else bar.total - len(STAGES)
            bar.update(begun + STAGES.index(stage) - bar.n)
            bar.set_description(f"{STAGE_WORDS[stage]} {part}")

        yield report


def summarise(engines: EngineSet) -> None:
    """One line for the set and one for each part, on stdout."""
    click.echo(f"{engines.folder}: {engines.source['name']}, {engines.unet_channels}-channel UNet")
    for artifact in engines.artifacts:
        size = sum((engines.folder / name).stat().st_size for name in artifact.files)
        error = artifact.parity.get("max_rel_error")
        parity = f"max relative error {error:.1e}" if error is not None else "parity not measured"
        name = artifact.part if artifact.graph == "model" else f"{artifact.part} {artifact.graph}"
        backends = f" for {', '.join(artifact.backends)}" if artifact.backends else ""
        click.echo(f"  {name:13} {artifact.precision:12} {size / 1e6:9.1f} MB  {parity}{backends}")
