"""What a painter says of a job, in the order in which it does: steps, then a picture, or why there is none."""

from typing import Literal, NamedTuple

from ...errors import RequestError, SafetyError
from ..painters import RunFailed
from ..painting import Painted

__all__ = ["Made", "Refused", "Said"]


class Made(NamedTuple):
    """`step` of `steps` is done; with a small JPEG of the run so far where one was asked for."""

    step: int
    steps: int
    preview: bytes | None


class Refused(NamedTuple):
    """There is no picture."""

    reason: Literal["input", "safety", "internal"]
    sentence: str

    def error(self) -> Exception:
        """The same as an error of this process."""
        kinds = {"input": RequestError, "safety": SafetyError, "internal": RunFailed}
        return kinds[self.reason](self.sentence)


Said = Made | Painted | Refused
