"""A toy model for painters: takes its time, and says with which rows it was called, in a file of its process."""

import os
import threading
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from outpaint_engine.shared import SharedPipeline

from ...conftest import toy_pipeline, toy_unet


@dataclass(frozen=True)
class Toy:
    """A call takes `seconds` however many rows it has, one at a time: a pretended accelerator.

    While there is a file `slow` in the folder it takes half a second.
    """

    folder: Path
    seconds: float = 0.05
    at_once: int = 2

    def load(self) -> SharedPipeline:
        told, one = (self.folder / f"painter-{os.getpid()}").open("a"), threading.Lock()

        def slowly(**feeds: np.ndarray) -> dict[str, np.ndarray]:
            with one:
                time.sleep(0.5 if (self.folder / "slow").exists() else self.seconds)
                print(len(feeds["sample"]), file=told, flush=True)
                return toy_unet(**feeds)

        return SharedPipeline(toy_pipeline(unet=slowly), self.at_once)


def calls(folder: Path) -> list[int]:
    """The rows of every call that painters have made."""
    return [int(line) for file in folder.glob("painter-*") for line in file.read_text().split()]


def painters(folder: Path) -> list[int]:
    """The processes that have loaded the model."""
    return [int(file.name.partition("-")[2]) for file in folder.glob("painter-*")]
