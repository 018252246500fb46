"""`python -m demo_model OUT`: train the demo model and export it to the folder OUT."""

import sys
from pathlib import Path

import click
from outpaint_export.commands.cli import exit_code_of, progress, summarise


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("out", type=click.Path(path_type=Path))
@click.option(
    "--work",
    type=click.Path(path_type=Path, file_okay=False),
    default="demo-training",
    show_default=True,
    help="Where the training's state is kept, so that it can be resumed.",
)
@click.option(
    "--device", default="cpu", show_default=True, help="Where to train, as PyTorch names it: cpu, cuda, cuda:1."
)
@click.option("--overwrite", is_flag=True, help="Replace the engine set at OUT.")
def command(out: Path, work: Path, device: str, overwrite: bool) -> None:
    """Train the demo model (hours on two CPU cores) and export it to the folder OUT."""
    from outpaint_export.exporting import ExportOptions, export_parts
    from outpaint_export.staging import check_destination

    from .train import train_demo

    check_destination(out, overwrite)
    sources = train_demo(work, device)
    with progress() as report:
        engines = export_parts(sources, out, ExportOptions("fp16-weights", overwrite=overwrite, report=report))
    summarise(engines)


if __name__ == "__main__":
    sys.exit(exit_code_of(command, "python -m demo_model"))
