"""Whether a picture shows what Stable Diffusion 1.5's own safety checker was made to find."""

from .checker import PART, SafetyChecker
from .concepts import Concepts, SafetyReport
from .preparing import Preparation

__all__ = ["PART", "Concepts", "Preparation", "SafetyChecker", "SafetyReport"]
