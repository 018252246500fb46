"""`--cluster`: the options, and how they become what a Ray cluster runs. Needs the extra `cluster`."""

import importlib.util
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import urlsplit

import click

from ..errors import BackendUnavailable
from ..machine import usable_cores
from .options import Command, added

if TYPE_CHECKING:
    from ..service.cluster.batch_painters import BatchPainters
    from ..service.configuration import Configuration
    from ..service.model import Model

__all__ = ["Cluster", "cluster_options"]

REPLICAS, SQLITE = "1", "sqlite:///"


def cluster_options(command: Command) -> Command:
    """Add where the painters run, how many there are and what each is given."""
    options = [
        click.option("--cluster", metavar="auto|ADDRESS", help="Paint on a Ray cluster; auto starts one if need be."),
        click.option("--replicas", metavar="N|MIN:MAX", help="Painters, as many as there is work for. [1]"),
        click.option("--painter-cores", type=click.FloatRange(0.1), help="Cores of each. [--threads, or all of these]"),
        click.option("--painter-gpus", type=click.FloatRange(0), help="GPUs of each. [0]"),
    ]
    return added(command, options)


class Cluster(NamedTuple):
    """Which cluster, and what of it."""

    address: str
    replicas: str
    cores: float | None
    gpus: float

    @classmethod
    def of(cls, given: dict[str, Any]) -> "Cluster | None":
        """Take the options out of `given`; None without a cluster.

        Raises:
            UsageError: what only a cluster has is asked for without one.
            BackendUnavailable: Ray is not installed.
        """
        address = given.pop("cluster")
        rest = {name: given.pop(name) for name in ("replicas", "painter_cores", "painter_gpus")}
        if address is None:
            if any(value is not None for value in rest.values()):
                raise click.UsageError("--replicas and --painter-... are for a cluster: give --cluster too.")
            return None
        if importlib.util.find_spec("ray") is None:
            raise BackendUnavailable('A cluster needs Ray. Try: pip install "outpaint_engine[serve,cluster]"')
        return cls(address, rest["replicas"] or REPLICAS, rest["painter_cores"], rest["painter_gpus"] or 0.0)

    def serve(self, model: "Model", configuration: "Configuration", store: str, results: str, url: str) -> None:
        """Serve at a URL until Ctrl-C or SIGTERM; relative paths are from this folder, on every machine."""
        from ..service.cluster.joining import joined
        from ..service.cluster.plan import Plan, Replicas
        from ..service.cluster.running import serve_until_stopped

        model, cores = self._fitted(model)
        address = urlsplit(url)
        plan = Plan(
            model.load,
            configuration.with_(**_signing(configuration)),
            _absolute_store(store),
            results if "://" in results else str(Path(results).absolute()),
            address.hostname or "",
            address.port or 0,
            Replicas.read(self.replicas),
            cores,
            self.gpus,
        )
        with joined(self.address):
            serve_until_stopped(plan, url)

    @contextmanager
    def painters(self, model: "Model") -> Iterator["BatchPainters"]:
        """Painters that take one request after the other, at most as many as are asked for.

        Raises:
            OutpaintError: no cluster answers at the address.
            RequestError: the number of painters is none.
        """
        from ..service.cluster.batch_painters import BatchPainters
        from ..service.cluster.joining import joined
        from ..service.cluster.plan import Replicas

        most, (model, cores) = Replicas.read(self.replicas).most, self._fitted(model)
        with joined(self.address):
            yield BatchPainters(model.load, most, cores, self.gpus)

    def _fitted(self, model: "Model") -> tuple["Model", float]:
        """The model as a painter anywhere loads it, with the threads of its cores; and those cores."""
        cores = self.cores or model.options.threads or (1 if self.gpus else usable_cores())
        if model.options.threads is None:
            model = replace(model, options=replace(model.options, threads=max(1, int(cores))))
        return _anywhere(model), cores


def _anywhere(model: "Model") -> "Model":
    """The same from any working folder; "demo" and URLs are the same everywhere."""
    return replace(
        model,
        engines=str(Path(model.engines).absolute()) if Path(model.engines).is_dir() else model.engines,
        loras=replace(model.loras, folder=model.loras.folder and Path(model.loras.folder).absolute()),
        lora=tuple((file.absolute(), strength) for file, strength in model.lora),
        embeddings=tuple(file.absolute() for file in model.embeddings),
    )


def _signing(configuration: "Configuration") -> dict[str, str]:
    names = ("sign_certificate", "sign_key")
    return {name: str(Path(file).absolute()) for name in names if (file := getattr(configuration, name))}


def _absolute_store(url: str) -> str:
    path = url.removeprefix(SQLITE)
    return f"{SQLITE}{Path(path).absolute()}" if path != url else url
