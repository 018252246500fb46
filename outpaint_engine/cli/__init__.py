"""The command line `outpaint`: argument parsing, progress and exit codes; everything else is the library's."""

import os
import signal
import sys
import warnings
from collections.abc import Mapping

import click

from .. import __version__
from ..errors import AdapterError, BackendUnavailable, EngineSetError, ImageError, OutpaintError, RequestError
from .batch import batch
from .bench import bench
from .devices import devices
from .engines import engines
from .film import film
from .outpaint import plan, run
from .schedulers import schedulers
from .service import keys, serve

__all__ = ["main"]

EXIT_CODES: Mapping[type[OutpaintError], int] = {
    AdapterError: 5,
    BackendUnavailable: 3,
    EngineSetError: 4,
    ImageError: 5,
    RequestError: 5,
}
INTERRUPTED = 130


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="outpaint")
def cli() -> None:
    """Extend pictures beyond their borders with Stable Diffusion 1.5, without torch.

    Exit codes: 0 done, 1 failed while running, 2 usage, 3 backend missing, 4 engine set broken, 5 input
    refused, 130 interrupted.
    """


for command in (run, film, batch, plan, engines, devices, schedulers, bench, serve, keys):
    cli.add_command(command)


def main() -> None:
    """Entry point: run a command and turn errors into one sentence and an exit code."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    _fill_closed_streams()
    warnings.showwarning = lambda message, *_: click.echo(f"Note: {message}", err=True)
    try:
        sys.exit(cli.main(standalone_mode=False) or 0)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except (KeyboardInterrupt, click.Abort):
        click.echo("Interrupted.", err=True)
        sys.exit(INTERRUPTED)
    except OSError as error:  # standard output closed or full; files are written by `write_all`, which says more
        click.echo(f"Error: the output cannot be written: {error.strerror}.", err=True)
        sys.exit(1)
    except OutpaintError as error:
        click.echo(f"Error: {error}", err=True)
        sys.exit(next((code for kind, code in EXIT_CODES.items() if isinstance(error, kind)), 1))


def _fill_closed_streams() -> None:
    """Give the numbers of closed standard streams to the null device, lest a file that is opened takes one of them."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)
