"""Errors that nobody expected: logged under an id, which is all that a client is told."""

import logging
import secrets
import traceback

from ..errors import OutpaintError

__all__ = ["record_failure"]

log = logging.getLogger("outpaint_engine.service")


def record_failure(error: BaseException, during: str) -> str:
    """Log an error that nobody expected and return the id under which it was logged.

    Where it happened is logged, and the message only of errors that we word ourselves: another's may quote
    a prompt, a key or a picture.
    """
    identity = secrets.token_hex(6)
    frames = reversed(traceback.extract_tb(error.__traceback__))
    places = " < ".join(f"{frame.name} {frame.filename.rpartition('/')[2]}:{frame.lineno}" for frame in frames)
    wording = f": {error}" if isinstance(error, OutpaintError) else ""
    log.error("error %s during %s: %s%s at %s", identity, during, type(error).__name__, wording, places)
    return identity
