"""`outpaint schedulers`: the samplers by name, and what each is good for."""

import json

import click

from ..samplers import SCHEDULERS, SPREADS

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
                "spreads": list(SPREADS) if scheduler.spreads else [],
                "eta": scheduler.takes_eta,
            }
            for scheduler in SCHEDULERS
        ]
        click.echo(json.dumps(rows))
        return
    for scheduler in SCHEDULERS:
        spreads = " *" if scheduler.spreads else ""
        click.echo(f"{scheduler.name + spreads:15} {scheduler.aliases[0]:24} {scheduler.good_for}")
    click.echo("auto            the scheduler, and all its keys, of the engine set's own scheduler_config.json\n")
    click.echo(f"* also with a word behind that spreads the noise levels: {', '.join(SPREADS)}. Example: Euler Karras")
