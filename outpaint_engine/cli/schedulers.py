"""`outpaint schedulers`: the samplers by name, and what each is good for."""

import json

import click

from ..samplers import SCHEDULERS

__all__ = ["schedulers"]


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print as JSON.")
def schedulers(as_json: bool) -> None:
    """List the schedulers that --scheduler takes; capitals, spaces, hyphens and underscores do not count."""
    if as_json:
        rows = [
            {
                "name": scheduler.name,
                "aliases": scheduler.aliases,
                "good_for": scheduler.good_for,
                "calls_per_step": scheduler.calls_per_step,
                "random": scheduler.random,
            }
            for scheduler in SCHEDULERS
        ]
        click.echo(json.dumps(rows))
        return
    for scheduler in SCHEDULERS:
        click.echo(f"{scheduler.name:17} {scheduler.aliases[0]:24} {scheduler.good_for}")
