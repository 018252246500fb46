"""What the routes share: the parts of a running service, who is calling, and a body read with care."""

import asyncio
import hashlib
from dataclasses import dataclass

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request

from .accounts import Accounts
from .answers import Refusal
from .configuration import Configuration
from .contract import Order, order_from
from .jobs import Job, Jobs, Retry
from .links import Links
from .refused import Refused
from .results import Results
from .store import Store
from .worker import Workers

__all__ = ["Parts", "owner_of", "submitted"]

MAX_KEY = 255
UNAUTHORISED = "Unauthorized: send a valid API key in the header x-api-key."


@dataclass(frozen=True)
class Parts:
    """A running service; `intake` bounds how many bodies are read at one time, `refused` how many in vain."""

    configuration: Configuration
    store: Store
    accounts: Accounts
    jobs: Jobs
    results: Results
    links: Links
    workers: Workers
    intake: asyncio.Semaphore
    refused: Refused


async def owner_of(request: Request, parts: Parts) -> str:
    """The account that calls.

    Raises:
        Refusal: 401, with one text for a missing, an unknown and a disabled key.
    """
    key = request.headers.get("x-api-key", "")
    owner = await run_in_threadpool(parts.accounts.owner_of, key) if key else None
    if owner is None:
        raise Refusal(401, UNAUTHORISED, "key")
    return owner


async def submitted(request: Request, parts: Parts, *, awaited: bool) -> Job:
    """The job that a POST asks for; committed, with its hold, when this returns.

    Raises:
        Refusal: by the contract; the cheapest check comes first, and the body is read last.
    """
    owner = await owner_of(request, parts)
    key = request.headers.get("idempotency-key")
    if key is not None and not 0 < len(key) <= MAX_KEY:
        raise Refusal(406, f"Idempotency-Key must have 1 to {MAX_KEY} characters.", "input")
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
        raise Refusal(406, "Invalid content type: send application/json.", "input")
    if key is None:
        # With a key it may be a repetition, which is answered however busy the service is.
        await run_in_threadpool(parts.jobs.check_traffic, owner)
    parts.refused.check(owner)
    async with parts.intake:
        order = await _order(request, parts, owner)
        retry = Retry(key, _fingerprint(request.url.path, order)) if key else None
        job = await run_in_threadpool(parts.jobs.submit, order, owner, awaited=awaited, retry=retry)
    parts.workers.submitted()
    return job


async def _order(request: Request, parts: Parts, owner: str) -> Order:
    try:
        return await run_in_threadpool(order_from, await _body(request, parts.configuration), parts.configuration)
    except Refusal:
        parts.refused.note(owner)
        raise


async def _body(request: Request, configuration: Configuration) -> bytearray:
    limit = configuration.max_body_bytes
    said = request.headers.get("content-length", "0")
    if said.isdecimal() and int(said) > limit:
        raise _too_large(limit)
    body = bytearray()
    try:
        async with asyncio.timeout(configuration.body_seconds):
            async for chunk in request.stream():
                if len(body) + len(chunk) > limit:
                    raise _too_large(limit)
                body += chunk
    except TimeoutError as error:
        sentence = f"The body did not arrive within {configuration.body_seconds:g} seconds."
        raise Refusal(408, sentence, "slow_body") from error
    return body


def _too_large(limit: int) -> Refusal:
    return Refusal(413, f"The body is larger than {limit:,} bytes.", "too_large")


def _fingerprint(path: str, order: Order) -> str:
    # The same body sent to v1 and to v2 asks for two different things.
    return hashlib.sha256(f"{path}\n{order.fingerprint}".encode()).hexdigest()
