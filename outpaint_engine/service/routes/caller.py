"""What a route depends on: the running service, who calls, and the job that a body or a path names.

The cheapest check comes first, and the body is read last.
"""

import hashlib
import re
from dataclasses import dataclass, replace
from typing import Annotated

from fastapi import Depends, Request, Security
from fastapi.security import APIKeyHeader
from starlette.concurrency import run_in_threadpool

from ...errors import ImageError
from ..configuration import Configuration
from ..metrics import Metrics
from ..pictures.decoding import Decoders, DecodingEnded
from ..queue.accounts import Accounts
from ..queue.files import Files
from ..queue.jobs import Jobs, Order, Retry, Submission
from ..queue.store import Store
from ..queue.tables import Job
from ..refusals import InputRefused, TooCostly, Unauthorized, Unknown
from ..worker import Workers
from .bodies import Bodies
from .links import Links
from .schema import Contract

__all__ = ["ID", "KEY", "Caller", "Found", "Running", "Service", "owner_of", "submitted"]

MAX_KEY = 255
ID = re.compile("[0-9a-f]{32}")
"""What the id of a job looks like; nothing else is asked of the store, which may not even be able to hold it."""
KEY = APIKeyHeader(name="x-api-key", auto_error=False)


@dataclass(frozen=True)
class Service:
    """The parts of a running service."""

    configuration: Configuration
    contract: Contract
    store: Store
    files: Files
    accounts: Accounts
    jobs: Jobs
    links: Links
    workers: Workers
    metrics: Metrics
    bodies: Bodies
    decoders: Decoders


async def _service(request: Request) -> Service:
    service: Service = request.app.state.service
    return service


Running = Annotated[Service, Depends(_service)]


def owner_of(service: Service, key: str | None) -> str:
    """The account of an API key.

    Raises:
        Unauthorized: with one text for a missing, an unknown and a disabled key.
    """
    owner = service.accounts.owner_of(key) if key else None
    if owner is None:
        raise Unauthorized
    return owner


def _caller(service: Running, key: Annotated[str | None, Security(KEY)]) -> str:
    return owner_of(service, key)


Caller = Annotated[str, Depends(_caller)]
"""The account that calls."""


def _found(service: Running, owner: Caller, identity: str) -> Job:
    job = service.jobs.find(owner, identity) if ID.fullmatch(identity) else None
    if job is None:
        raise Unknown
    return job


Found = Annotated[Job, Depends(_found)]
"""The caller's job in the path; 404 for an unknown one and for another's alike."""


async def submitted(request: Request, service: Service, owner: str, *, awaited: bool) -> Submission:
    """The job that a POST asks for; committed, with its hold, when this returns.

    Raises:
        Refusal: by the contract.
    """
    key = request.headers.get("idempotency-key")
    if key is not None and not 0 < len(key) <= MAX_KEY:
        raise InputRefused(sentence=f"Idempotency-Key must have 1 to {MAX_KEY} characters.")
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
        raise InputRefused(sentence="Invalid content type: send application/json.")
    await run_in_threadpool(service.jobs.admit, owner, key, awaited=awaited)
    async with service.bodies.reading(request, owner) as body:
        asked = await service.bodies.work(service.contract.read, body)
        order = await _decoded(service, owner, asked.order)
    # The same body sent to v1 and to v2 asks for two different things.
    print_ = hashlib.sha256(f"{request.url.path}\n{asked.fingerprint}".encode()).hexdigest()
    retry = Retry(key, print_) if key else None
    submission = await run_in_threadpool(service.jobs.submit, order, owner, awaited=awaited, retry=retry)
    service.workers.submitted()
    return submission


async def _decoded(service: Service, owner: str, order: Order) -> Order:
    """The order with its picture as a plain PNG, or with the flaw for which it will fail."""
    try:
        async with service.bodies.decoder(owner):
            picture = await service.bodies.work(service.decoders.decode, order.picture)
    except DecodingEnded as error:
        raise TooCostly(sentence=error) from error
    except ImageError as error:
        return replace(order, picture=b"", flaw=str(error))
    return replace(order, picture=picture)
