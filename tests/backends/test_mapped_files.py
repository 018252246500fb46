"""Pages of mapped weights are given back, and what is read from them afterwards is still right."""

import mmap
import sys
from pathlib import Path

import pytest

from outpaint_engine.engines.openvino import release_mapped

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells what is mapped")
PAGES = 64 * mmap.PAGESIZE


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    file = tmp_path / "model.onnx_data"
    file.write_bytes(bytes(range(256)) * (PAGES // 256))
    return file


def test_a_file_that_is_mapped_to_be_read_is_released_and_read_again(weights: Path) -> None:
    with weights.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
        assert sum(mapped[:]) > 0
        assert release_mapped([weights.parent]) == PAGES
        assert mapped[:] == weights.read_bytes()


def test_what_lies_elsewhere_or_may_be_written_to_is_left_alone(weights: Path, tmp_path: Path) -> None:
    with weights.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY) as copy:
        copy[0] = 200
        assert release_mapped([weights.parent]) == 0
        assert copy[0] == 200
    with weights.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ):
        assert release_mapped([tmp_path / "elsewhere"]) == 0
