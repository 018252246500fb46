"""`outpaint serve` and `outpaint keys`: the HTTP service and its accounts. Needs the extra `serve`."""

import datetime
import importlib.util
import ipaddress
import json
import logging
import socket
from contextlib import closing, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..engines import Bucket, EngineOptions
from ..errors import BackendUnavailable
from .adapters import Adapters, adapter_options
from .cluster import Cluster, cluster_options
from .options import engine_options

if TYPE_CHECKING:
    from fastapi import FastAPI

    from ..service.configuration import Configuration
    from ..service.model import Model
    from ..service.queue.accounts import Accounts
    from ..service.queue.store import Store

__all__ = ["keys", "serve"]

LIBRARIES = (
    "fastapi",
    "fastapi_offline",
    "uvicorn",
    "sqlalchemy",
    "prometheus_client",
    "httpcore2",
    "python_multipart",
)
STORE = "sqlite:///outpaint.db"
store_option = click.option(
    "--store", "url", default=STORE, show_default=True, envvar="OUTPAINT_STORE", help="SQLite or PostgreSQL URL."
)


@click.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="Another than this machine's own needs keys.")
@click.option("--port", type=click.IntRange(0, 65535), default=8000, show_default=True)
@engine_options
@adapter_options
@store_option
@click.option(
    "--results", default="outpaint-results", show_default=True, help="A folder, or s3://BUCKET/... or gs://BUCKET/..."
)
@click.option("--workers", type=click.IntRange(1), help="Requests run at one time; they share the model. [2]")
@click.option("--public-url", help="How clients reach this server; answers are built from it. [http://HOST:PORT]")
@click.option("--configuration", type=click.Path(path_type=Path), help="A TOML file of limits and prices.")
@cluster_options
def serve(host: str, port: int, engines: str, device: str, url: str, **options: Any) -> None:
    """Serve Segmind's outpainting API over HTTP.

    \b
    outpaint keys create --owner me --credits 10
    outpaint serve
    """  # noqa: D301 - click keeps the lines after the character \b
    _check_installed()
    from ..service.queue.accounts import Accounts
    from ..service.queue.files import Files

    cluster = Cluster.of(options)
    configuration = _configuration(options)
    with closing(_store(url)) as store:
        _check_exposure(host, Accounts(store))
        if cluster is None:
            store.hold(shared=configuration.shared_store)
        listening = _bound(host, port)
        address = f"http://{f'[{host}]' if ':' in host else host}:{listening.getsockname()[1]}"
        if options["public_url"] or "public_url" not in configuration.model_fields_set:
            configuration = configuration.with_(public_url=options["public_url"] or address)
        logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
        model = _model(engines, device, configuration, options)
        if cluster is None:
            from ..service.app import create_app

            with listening, model.load() as loaded:
                _listen(create_app(configuration, store, Files(options["results"]), loaded), listening, address)
            return
        listening.close()
    cluster.serve(model, configuration, url, options["results"], address)


def _configuration(options: dict[str, Any]) -> "Configuration":
    from ..service.configuration import Configuration

    path = options["configuration"]
    configuration = Configuration.read(path) if path else Configuration()
    if (options["loras"] is None) != (not configuration.loras):
        raise click.UsageError(
            "For LoRAs in prompts give both: --loras FOLDER, and in the configuration their names, loras = [...]."
        )
    return configuration.with_(workers=options["workers"]) if options["workers"] else configuration


def _model(engines: str, device: str, configuration: "Configuration", options: dict[str, Any]) -> "Model":
    from ..lora_models import Loras
    from ..service.model import Model

    side, adapters = configuration.canvas_default, Adapters.of(options)
    chosen = EngineOptions(
        options["precision"], options["threads"], (Bucket(side, side),), cuda_graph=options["cuda_graph"]
    )
    return Model(
        engines,
        device,
        chosen,
        configuration.workers,
        configuration.load_twice,
        Loras(adapters.loras, configuration.loras, configuration.lora_bytes),
        adapters.lora,
        adapters.embeddings,
    )


@click.group()
def keys() -> None:
    """Make, list and disable API keys, and give their accounts credits."""


@keys.command()
@click.option("--owner", required=True, help="The account; a new one is made.")
@click.option("--credits", "amount", type=str, default="0", show_default=True, help="Credits to begin with.")
@store_option
def create(owner: str, amount: str, url: str) -> None:
    """Make a key and print it: the only time that it can be read."""
    micros = _micros(amount)
    if micros < 0:
        raise click.UsageError(f"A key begins with 0 credits or more, not {amount}.")
    with closing(_store(url)) as store:
        click.echo(_accounts(store).create_key(owner, micros))


@keys.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print as JSON.")
@store_option
def list_keys(as_json: bool, url: str) -> None:
    """Say which keys there are, without the keys themselves."""
    with closing(_store(url)) as store:
        found = _accounts(store).list()
    rows = [{**key._asdict(), "balance": _credits_text(key.balance)} for key in found]
    if as_json:
        click.echo(json.dumps(rows))
        return
    for row in rows:
        day = datetime.date.fromtimestamp(row["created"])
        state = "disabled" if row["disabled"] else "enabled"
        click.echo(f"{row['id']}  {state:8}  {day}  {row['balance']:>12} credits  {row['owner']}")


@keys.command()
@click.argument("identity", metavar="ID")
@store_option
def disable(identity: str, url: str) -> None:
    """Make the key ID useless at once; `list` shows the ids."""
    with closing(_store(url)) as store:
        _accounts(store).disable(identity)


@keys.command()
@click.argument("owner")
@click.argument("amount")
@store_option
def grant(owner: str, amount: str, url: str) -> None:
    """Give OWNER's account AMOUNT credits and print its balance."""
    with closing(_store(url)) as store:
        click.echo(_credits_text(_accounts(store).grant(owner, _micros(amount))))


def _check_installed() -> None:
    missing = [name for name in LIBRARIES if importlib.util.find_spec(name) is None]
    if missing:
        raise BackendUnavailable(f'The service needs {", ".join(missing)}. Try: pip install "outpaint_engine[serve]"')


def _store(url: str) -> "Store":
    _check_installed()
    from ..service.queue.store import Store

    return Store(url)


def _accounts(store: "Store") -> "Accounts":
    from ..service.queue.accounts import Accounts

    return Accounts(store)


def _micros(amount: str) -> int:
    from decimal import Decimal, InvalidOperation

    from ..service.queue.ledger import MICROS

    try:
        micros = Decimal(amount) * MICROS
        if micros == micros.to_integral_value() and abs(micros) < 10**15:
            return int(micros)
    except InvalidOperation:
        pass
    raise click.UsageError(f"Credits must be a number with at most six decimals, not {amount!r}.")


def _credits_text(micros: int) -> str:
    from ..service.queue.ledger import credits_text

    return credits_text(micros)


def _bound(host: str, port: int) -> socket.socket:
    """The address, taken before the model is loaded, so that a busy port is said at once; nobody is answered yet.

    Raises:
        click.UsageError: it is taken, or not this machine's.
    """
    from ..service.server import bound

    try:
        return bound(host, port)
    except OSError as error:
        raise click.UsageError(f"Cannot listen on {host}:{port}: {error.strerror}. Try another --port.") from error


def _listen(app: "FastAPI", listening: socket.socket, address: str) -> None:
    """Answer until Ctrl-C or SIGTERM; requests that are under way are answered first."""
    from ..service.server import server_of

    server, store = server_of(app, app.state.service.configuration), app.state.service.store
    store.when_lost(lambda: setattr(server, "should_exit", True))
    logging.getLogger(__name__).info("Serving on %s (Ctrl-C stops it)", address)
    with suppress(KeyboardInterrupt):
        server.run(sockets=[listening])
    store.check_held()
    if not server.started:
        raise click.ClickException("The service could not start; the log says why.")


def _check_exposure(host: str, accounts: "Accounts") -> None:
    """Refuse to listen to the network while nobody could be let in, or kept out."""
    if accounts.any_enabled():
        return
    try:
        local = ipaddress.ip_address(host).is_loopback
    except ValueError:
        local = host == "localhost"
    hint = "make a key first: outpaint keys create --owner NAME --credits 10"
    if not local:
        raise click.UsageError(f"{host} can be reached from outside and there is no API key: {hint}.")
    click.echo(f"Note: there is no API key yet; {hint}.", err=True)
