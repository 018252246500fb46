"""Fixtures of the export tests; the whole folder is left out where torch is not installed."""

import importlib.util
import logging
from collections.abc import Iterator
from pathlib import Path

import pytest

NEEDED = ("torch", "diffusers", "transformers", "onnx", "onnxscript", "onnxruntime")
MISSING = [name for name in NEEDED if importlib.util.find_spec(name) is None]
collect_ignore_glob = ["test_*.py", "*/test_*.py"] if MISSING else []


def pytest_report_header() -> str | None:
    return f"tests/export is left out: {', '.join(MISSING)} not installed (extra `export`)" if MISSING else None


@pytest.fixture(scope="session", autouse=True)
def quiet_libraries() -> Iterator[None]:
    """Progress bars and advice of transformers and diffusers are not what these tests look at."""
    from diffusers.utils import logging as diffusers_logging
    from transformers.utils import logging as transformers_logging

    for library in (diffusers_logging, transformers_logging):
        library.disable_progress_bar()
        library.set_verbosity(logging.ERROR)
    # torch writes thousands of lines of its own tracing here, which pytest would keep and format.
    logging.getLogger("torch.__trace").propagate = False
    yield


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny 9-channel checkpoint as a diffusers folder, with a safety checker; not to be changed."""
    from .safety.tiny_checker import save_safety_checker
    from .tiny_models import save_checkpoint

    return save_safety_checker(save_checkpoint(9, tmp_path_factory.mktemp("checkpoint") / "tiny-inpainting"))


@pytest.fixture(scope="session")
def tiny_autoencoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An AutoencoderTiny with random weights, as diffusers saves it; not to be changed."""
    from .tiny_models import save_tiny_autoencoder

    return save_tiny_autoencoder(tmp_path_factory.mktemp("taesd"))


@pytest.fixture(scope="session")
def inpainting_set(checkpoint: Path, tiny_autoencoder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The 9-channel checkpoint, exported with float32 weights by the command line; not to be changed."""
    from outpaint_export.commands.cli import main

    out = tmp_path_factory.mktemp("sets") / "inpainting"
    assert main(["onnx", str(checkpoint), str(out), "--tiny-decoder", str(tiny_autoencoder)]) == 0
    return out


@pytest.fixture(scope="session")
def half_set(checkpoint: Path, tiny_autoencoder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The 9-channel checkpoint, exported to compute in float16; not to be changed."""
    from outpaint_export.commands.cli import main

    out = tmp_path_factory.mktemp("sets") / "half"
    more = ["--precision", "fp16", "--tiny-decoder", str(tiny_autoencoder)]
    assert main(["onnx", str(checkpoint), str(out), *more]) == 0
    return out


@pytest.fixture(scope="session")
def plain_set(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A 4-channel checkpoint in memory, exported with float16 weights; not to be changed."""
    from outpaint_export.exporting import ExportOptions, export_parts

    from .tiny_models import sources

    out = tmp_path_factory.mktemp("sets") / "plain"
    export_parts(sources(4, tmp_path_factory.mktemp("tokenizer") / "files"), out, ExportOptions("fp16-weights"))
    return out


@pytest.fixture(scope="session")
def synthetic_set(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny synthetic set with 9 channels, written by the command line; not to be changed."""
    from outpaint_export.commands.cli import main

    out = tmp_path_factory.mktemp("sets") / "synthetic"
    assert main(["synthetic", "tiny", str(out), "--channels", "9"]) == 0
    return out
