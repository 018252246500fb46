"""`outpaint batch --cluster` on a Ray cluster in this machine: the files of a local run, whoever dies meanwhile."""

import os
import signal
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from PIL import Image

pytest.importorskip("ray.serve", reason="Ray is not installed: the extra `cluster`")
pytest.importorskip("onnxruntime", reason="onnxruntime is not installed: the extra `cpu`")

import ray

from outpaint_engine import OutpaintRequest
from outpaint_engine.cli import cli
from outpaint_engine.errors import OutpaintError
from outpaint_engine.service.cluster.batch_painters import BatchPainters

from ...conftest import toy_pipeline
from ..running import until
from .clusters import OBJECT_BYTES
from .toys import Toy, calls, painters

TINY = Path(__file__).parents[2] / "goldens" / "tiny-9"
THERE = ("--cluster", "auto", "--replicas", "2", "--painter-cores", "1")


@pytest.fixture(autouse=True)
def two_cores() -> Iterator[None]:
    ray.init(
        address="local", num_cpus=2, include_dashboard=False, object_store_memory=OBJECT_BYTES, log_to_driver=False
    )
    yield
    ray.shutdown()


@pytest.fixture
def batch(tmp_path: Path, picture: np.ndarray, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    """Extend three pictures, of which the second is broken, into a folder."""
    photos = tmp_path / "photos"
    photos.mkdir()
    for number in range(3):
        Image.fromarray(np.roll(picture, 7 * number, axis=1)).save(photos / f"{number}.png")
    (photos / "1.png").write_bytes(b"no picture")
    # The cluster of this test is joined already.
    monkeypatch.setattr(ray, "init", lambda **_: None)
    monkeypatch.setattr(ray, "shutdown", lambda: None)
    common = (
        "--engines",
        TINY,
        "--device",
        "ort-cpu",
        "--threads",
        "1",
        "--right",
        "16",
        "--steps",
        "2",
        "--seed",
        "3",
    )

    def call(out: Path, *more: str) -> Result:
        return CliRunner().invoke(cli, [str(each) for each in ("batch", photos, out, *common, *more)])

    return call


def test_files_and_failures_are_those_of_one_machine(batch: Callable[..., Result], tmp_path: Path) -> None:
    here, there = batch(tmp_path / "here"), batch(tmp_path / "there", *THERE)
    assert (here.exit_code, there.exit_code) == (1, 1), there.stderr
    assert "1.png is not a picture" in there.stderr and "2 painted, 0 there already, 1 failed." in there.stderr
    found = {name: (tmp_path / "there" / name).read_bytes() for name in os.listdir(tmp_path / "there")}
    assert found == {name: (tmp_path / "here" / name).read_bytes() for name in ("0.png", "2.png")}


def test_a_painter_that_is_killed_is_replaced_and_no_request_is_lost(tmp_path: Path, picture: np.ndarray) -> None:
    requests = [OutpaintRequest.placed(image=picture, right=16, seed=seed, num_inference_steps=6) for seed in range(6)]
    there = BatchPainters(Toy(tmp_path, at_once=1).load, 2, 1, 0)
    with ThreadPoolExecutor(4) as threads:
        answers = threads.map(there, requests)
        until(lambda: len(calls(tmp_path)) > 3)
        os.kill(painters(tmp_path)[0], signal.SIGKILL)
        found = [np.asarray(result.images[0]) for result in answers]
    with toy_pipeline() as here:
        for request, image in zip(requests, found, strict=True):
            np.testing.assert_array_equal(image, np.asarray(here(request).images[0]))


def test_painters_that_cannot_load_the_model_say_why() -> None:
    def load() -> None:
        raise OutpaintError("There is no engine set at /nowhere.")

    there = BatchPainters(load, 2, 1, 0)  # type: ignore[arg-type]
    with pytest.raises(OutpaintError, match="cannot start.*no engine set at /nowhere"):
        there(OutpaintRequest(image=None))
