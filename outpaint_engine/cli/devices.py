"""`outpaint devices`: which backends work on this machine, and what to install for the others."""

import dataclasses
import json

import click

from ..engines import BACKENDS

__all__ = ["devices"]


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print as JSON.")
def devices(as_json: bool) -> None:
    """Say which backends work here, in the order in which `auto` tries them, and what the others lack."""
    probes = [(backend, backend.probe()) for backend in BACKENDS]
    if as_json:
        rows = [
            {
                "name": backend.name,
                "device": backend.device,
                "precisions": backend.precisions,
                **dataclasses.asdict(probe),
            }
            for backend, probe in probes
        ]
        click.echo(json.dumps(rows))
        return
    for backend, probe in probes:
        state = f"works      {probe.version}" if probe.usable else f"missing    {probe.reason}"
        click.echo(f"{backend.name:16} {state}")
        if not probe.usable:
            click.echo(f"{'':16} {'':10} try: {probe.remedy}")
