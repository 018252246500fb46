"""The backends that the contract holds for, a small engine set that they may write to, and a cache of their own."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from outpaint_engine.engine_set import EngineSet
from outpaint_engine.engines import BACKENDS, Backend, Engine, EngineOptions, Loading
from outpaint_engine.tensors import Array

from .bound_on_cpu import BoundOnCpu

GOLDENS = Path(__file__).parents[1] / "goldens"
Feeds = dict[str, Array]


CONTRACTED = (
    *BACKENDS,
    BoundOnCpu("ort-cuda's buffers on the CPU", graph=False),
    BoundOnCpu("ort-cuda's recorded graphs on the CPU", graph=True),
)
USABLE = [backend for backend in CONTRACTED if backend.probe().usable]
"""What `test_table.py` skips for each of the others is their reason."""


@pytest.fixture(autouse=True, scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The user's cache folder: one for the whole run, apart from the real one."""
    folder = tmp_path_factory.getbasetemp() / "cache"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(folder))
        yield folder


@pytest.fixture(
    scope="session",
    params=[
        pytest.param(backend, id=backend.name, marks=[pytest.mark.gpu] if backend.device == "cuda" else [])
        for backend in USABLE
    ],
)
def backend(request: pytest.FixtureRequest) -> Backend:
    """Each backend that works here, in turn."""
    found: Backend = request.param
    return found


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> EngineSet:
    """A copy of the small 9-channel set; a backend may leave built engines in it."""
    folder = tmp_path_factory.mktemp("sets") / "tiny-9"
    shutil.copytree(GOLDENS / "tiny-9", folder)
    return EngineSet.open(folder)


@pytest.fixture(scope="session")
def unet(backend: Backend, tiny: EngineSet) -> Iterator[Engine]:
    """The small UNet on a backend, in float32, loaded once."""
    with backend.load(Loading(tiny, "unet", EngineOptions(precision="fp32"))) as engine:
        yield engine


@pytest.fixture
def feeds() -> Callable[..., Feeds]:
    """`feeds(rows, height, width)`: noise, a timestep and embeddings for the small UNet."""

    def made(rows: int = 2, height: int = 8, width: int = 8, seed: int = 0) -> Feeds:
        draw = np.random.default_rng(seed)
        return {
            "sample": draw.standard_normal((rows, 9, height, width), np.float32),
            "timestep": np.full(rows, 500, np.float32),
            "encoder_hidden_states": draw.standard_normal((rows, 77, 32), np.float32),
        }

    return made
