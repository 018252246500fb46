"""The one process of a cluster that answers clients and keeps the books: the app, over painters elsewhere.

It listens on its own socket, so that a connection has the limits of `server.py` and a body those of the app before
anybody keeps it. Ray Serve's proxy would stand before one process only, and adds headers to answers.
"""

import logging
import threading
from typing import TYPE_CHECKING

from ...errors import OutpaintError
from ..app import create_app
from ..queue.files import Files
from ..queue.store import Store
from ..server import bound, server_of
from .plan import Plan
from .remote import RemotePainters

if TYPE_CHECKING:
    from ray.serve.handle import DeploymentHandle

__all__ = ["Api"]


class Api:
    """Ray Serve starts it anew where it dies; the store says where to go on."""

    def __init__(self, plan: Plan, painter: "DeploymentHandle") -> None:
        logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
        self._answering: threading.Thread | None = None
        self._store = Store(plan.store)
        # One that was stopped or killed a moment ago is waited for.
        self._store.hold()
        painters = RemotePainters(painter, plan.configuration.workers)
        app = create_app(plan.of_all, self._store, Files(plan.results), painters)
        self._service, self._server = app.state.service, server_of(app, plan.configuration)
        self._listening = bound(plan.host, plan.port)
        self._answering = threading.Thread(target=self._server.run, args=([self._listening],), daemon=True)
        self._answering.start()

    def check_health(self) -> None:
        """Raise where only another process helps."""
        self._store.check_held()
        answers = self._answering is not None and self._answering.is_alive()
        if not answers or (self._server.started and not self._service.workers.alive):
            raise OutpaintError("A thread that answers, or sees jobs through, has ended.")

    def __del__(self) -> None:
        """Answer what is under way, and give what is painted back to the queue."""
        if self._answering is not None:
            self._server.should_exit = True
            self._answering.join()
            self._listening.close()
            self._store.close()
