"""A safety checker that needs no model: its one concept is red, and its one concept of special care is blue."""

import numpy as np

from outpaint_engine import FunctionEngine
from outpaint_engine.safety import Concepts, Preparation, SafetyChecker

SIDE = 8


def toy_checker() -> SafetyChecker:
    """The embedding of a picture is its mean colour."""
    engine = FunctionEngine(
        lambda clip_input: {"image_embeds": clip_input.mean(axis=(2, 3))},
        {"clip_input": ("B", 3, SIDE, SIDE)},
        {"image_embeds": ("B", 3)},
    )
    one = np.ones(1, np.float32)
    concepts = Concepts(np.float32([[1, 0, 0]]), np.float32([[0, 0, 1]]), 0.9 * one, 0.9 * one)
    return SafetyChecker(engine, Preparation(SIDE, 3, (0, 0, 0), (1, 1, 1)), concepts)
