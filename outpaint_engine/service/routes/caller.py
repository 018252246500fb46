"""What a route depends on: the running service, who calls, and the job that a body or a path names.

The cheapest check comes first, and the body is read last.
"""

import base64
import hashlib
import re
from binascii import Error as Base64Error
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Annotated, Generic, NamedTuple, TypeVar

from fastapi import Depends, Request, Security
from fastapi.security import APIKeyHeader, HTTPAuthorizationCredentials, HTTPBearer
from starlette.concurrency import run_in_threadpool

from ...errors import ImageError
from ..configuration import Configuration
from ..metrics import Metrics
from ..pictures.decoding import Decoded, Decoders, DecodingEnded
from ..queue.accounts import Accounts
from ..queue.files import Files
from ..queue.jobs import Jobs
from ..queue.orders import Order, Retry, Submission
from ..queue.store import Store
from ..queue.tables import Job
from ..refusals import InputRefused, TooCostly, Unauthorized, Unknown
from ..worker import Workers
from .bodies import Bodies
from .links import Links
from .schema import Asked, Contract

__all__ = [
    "ID",
    "KEY",
    "Caller",
    "Door",
    "ForeignCaller",
    "Found",
    "Running",
    "Sent",
    "Service",
    "all_submitted",
    "owner_of",
    "submitted",
]

MAX_KEY = 255
ID = re.compile("[0-9a-f]{32}")
"""What the id of a job looks like; nothing else is asked of the store, which may not even be able to hold it."""
KEY = APIKeyHeader(name="x-api-key", auto_error=False)
BEARER = HTTPBearer(auto_error=False, description="Or Basic with the key as its password, or x-api-key.")
HEADER = "in the header x-api-key"
ANY_WAY = f"as a bearer token, as the password of Basic authentication or {HEADER}"


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


def owner_of(service: Service, key: str | None, where: str = HEADER) -> str:
    """The account of an API key; `where` says how a caller of this path sends one.

    Raises:
        Unauthorized: with one text for a missing, an unknown and a disabled key.
    """
    owner = service.accounts.owner_of(key) if key else None
    if owner is None:
        raise Unauthorized(where=where)
    return owner


def _caller(service: Running, key: Annotated[str | None, Security(KEY)]) -> str:
    return owner_of(service, key)


Caller = Annotated[str, Depends(_caller)]
"""The account that calls."""


def _foreign_caller(
    request: Request, service: Running, bearer: Annotated[HTTPAuthorizationCredentials | None, Security(BEARER)]
) -> str:
    key = bearer.credentials if bearer else request.headers.get("x-api-key")
    return owner_of(service, key or _password(request.headers.get("authorization", "")), ANY_WAY)


def _password(authorization: str) -> str | None:
    """That of Basic authentication (RFC 7617); None where there is none."""
    scheme, _, text = authorization.partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        return base64.b64decode(text, validate=True).decode().partition(":")[2]
    except (Base64Error, ValueError):
        return None


ForeignCaller = Annotated[str, Depends(_foreign_caller)]
"""The account that calls in the way of another API: the key as a bearer token or a password."""


def _found(service: Running, owner: Caller, identity: str) -> Job:
    job = service.jobs.find(owner, identity) if ID.fullmatch(identity) else None
    if job is None:
        raise Unknown
    return job


Found = Annotated[Job, Depends(_found)]
"""The caller's job in the path; 404 for an unknown one and for another's alike."""


class Sent(NamedTuple):
    """A body as it came, and its content type with all parameters."""

    body: bytearray
    content_type: str


A = TypeVar("A", bound=Asked)


@dataclass(frozen=True)
class Door(Generic[A]):
    """How a body is read: the content type that it must be of, and what it asks for."""

    media: str
    read: Callable[[Sent], A]


async def submitted(request: Request, service: Service, owner: str, *, awaited: bool) -> Submission:
    """The job that a POST of our own API asks for; committed, with its hold, when this returns.

    Raises:
        Refusal: by the contract.
    """
    door = Door("application/json", lambda sent: service.contract.read(sent.body))
    _, (submission,) = await all_submitted(request, service, owner, door, awaited=awaited)
    return submission


async def all_submitted(
    request: Request, service: Service, owner: str, door: Door[A], *, awaited: bool
) -> tuple[A, list[Submission]]:
    """What a POST asks for, and its jobs, each committed with its hold when this returns; or none of them.

    Raises:
        Refusal: by the contract.
    """
    key, content_type = request.headers.get("idempotency-key"), request.headers.get("content-type", "")
    if key is not None and not 0 < len(key) <= MAX_KEY:
        raise InputRefused(sentence=f"Idempotency-Key must have 1 to {MAX_KEY} characters.")
    if content_type.partition(";")[0].strip().lower() != door.media:
        raise InputRefused(sentence=f"Invalid content type: send {door.media}.")
    await run_in_threadpool(service.jobs.admit, owner, key, awaited=awaited)
    async with service.bodies.reading(request, owner) as body:
        asked = await service.bodies.work(door.read, Sent(body, content_type))
        order = await _decoded(service, owner, asked)
    # The same body sent to v1 and to v2 asks for two different things.
    print_ = hashlib.sha256(f"{request.url.path}\n{asked.fingerprint}".encode()).hexdigest()
    retry = Retry(key, print_) if key else None
    orders = [order.numbered(number) for number in range(asked.count)]
    taken = await run_in_threadpool(service.jobs.submit_all, orders, owner, awaited=awaited, retry=retry)
    for _ in taken:
        service.workers.submitted()
    return asked, taken


async def _decoded(service: Service, owner: str, asked: Asked) -> Order:
    """The order with its picture as a plain PNG, or with the flaw for which it will fail."""
    order = asked.order
    try:
        async with service.bodies.decoder(owner):
            content = await service.bodies.work(service.decoders.decode, order.picture, asked.mask)
    except DecodingEnded as error:
        raise TooCostly(sentence=error) from error
    except ImageError as error:
        return replace(order, picture=b"", flaw=str(error))
    order = replace(order, picture=content)
    return asked.place(order, Decoded.of(content)) if asked.place else order
