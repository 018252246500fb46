"""What runs on the cluster: passed to every process of it, so that none reads files of another machine."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ...errors import RequestError
from ...shared import SharedPipeline
from ..configuration import Configuration

__all__ = ["Plan", "Replicas"]


@dataclass(frozen=True)
class Replicas:
    """How many painters there are: at least and at most, by how many jobs there are to paint."""

    least: int
    most: int

    @classmethod
    def read(cls, text: str) -> "Replicas":
        """From "4", always four, or "1:8".

        Raises:
            RequestError: it is neither.
        """
        least, _, most = text.partition(":")
        try:
            found = cls(int(least), int(most or least))
        except ValueError:
            found = cls(0, 0)
        if not 0 < found.least <= found.most:
            raise RequestError(f"The painters must be a number from 1, or the fewest and the most, 1:8; not {text!r}.")
        return found


@dataclass(frozen=True)
class Plan:
    """The service on a cluster. `configuration.workers` is how many jobs one painter has at one time."""

    load: Callable[[], SharedPipeline]
    """Opens the model on a painter's machine."""
    configuration: Configuration
    store: str
    results: str
    """A folder of the head, or the URL of an object store."""
    host: str = "127.0.0.1"
    port: int = 8000
    """Where the Api listens, on the head."""
    replicas: Replicas = Replicas(1, 1)
    cores: float = 1
    gpus: float = 0
    """What one painter is given."""

    def __post_init__(self) -> None:
        """Check it.

        Raises:
            RequestError: the configuration says what a cluster does not do.
        """
        if self.configuration.shared_store:
            raise RequestError("The one Api of a cluster has its store alone: take shared_store out.")

    @property
    def of_all(self) -> Configuration:
        """The configuration of the Api, which counts the places of all painters as its own workers."""
        return self.configuration.with_(workers=self.configuration.workers * self.replicas.most)

    @property
    def resources(self) -> dict[str, Any]:
        """What Ray is asked for a painter."""
        return {"num_cpus": self.cores, "num_gpus": self.gpus}
