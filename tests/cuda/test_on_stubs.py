"""`ort-cuda` on stubs of CUDA: what a call launches, copies and records. Nothing is computed, so values say nothing.

The tiny set shows the ways. `OUTPAINT_SD15_HALF` may name a full-size one, whose launches are counted too:
`outpaint-export synthetic sd15 FOLDER --precision fp16`.
"""

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.export

Counted = Callable[..., dict[str, Any]]
MOST_LAUNCHES = {"unet": (2, 830), "vae_decoder": (1, 280)}
"""Of Stable Diffusion 1.5 at 512x512: rows, and launches that a call may take."""


@pytest.fixture(scope="session")
def half(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny set that computes in float16."""
    from outpaint_export.exporting import ExportOptions, export_parts

    from tests.export.tiny_models import sources

    out = tmp_path_factory.mktemp("sets") / "half"
    export_parts(sources(9, tmp_path_factory.mktemp("tokenizer") / "files"), out, ExportOptions("fp16", quick=True))
    return out


@pytest.fixture(scope="session")
def for_everybody(half: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same set without the graphs that were made for CUDA."""
    out = tmp_path_factory.mktemp("sets") / "everybody"
    shutil.copytree(half, out)
    (out / "engine_set.json").unlink()
    return out


@pytest.fixture(scope="session")
def unet(counted: Counted, half: Path) -> dict[str, Any]:
    return counted(half, "unet", 2, 64)


def test_the_first_call_launches_and_later_ones_replay_what_the_second_recorded(unet: dict[str, Any]) -> None:
    first, second, *later = unet["calls"]
    assert first["graphs"] == [] and first["launches"] > 100
    assert second["graphs"][0] == "graph begin" and second["graphs"][-1] == "graph launch"
    for call in later:
        assert call["graphs"] == ["graph launch"] and call["launches"] == 0


def test_a_replayed_call_copies_its_feeds_and_its_answer_only(unet: dict[str, Any]) -> None:
    # Sample, timestep, embeddings; the answer.
    assert unet["calls"][-1]["copies"] == 4


def test_the_graph_made_for_cuda_takes_far_fewer_launches(
    unet: dict[str, Any], counted: Counted, for_everybody: Path
) -> None:
    assert unet["calls"][0]["launches"] < 0.7 * counted(for_everybody, "unet", 2, 64)["calls"][0]["launches"]


def test_a_step_on_the_device_is_two_launches_and_no_copy(
    counted_steps: Callable[[Path, int], list[list[dict[str, Any]]]], half: Path
) -> None:
    first, second = counted_steps(half, 64)
    assert not any(step["recorded_from_host"] for step in (*first, *second))
    # The UNet's call and the tail's in either direction are recorded in the second to the fourth step.
    for step in (*first[4:], *second[1:]):
        assert step["graphs"] == ["graph launch", "graph launch"]
        assert (step["launches"], step["copies"]) == (0, 0)


@pytest.mark.parametrize("part", ["text_encoder", "vae_encoder", "vae_decoder"])
def test_every_other_part_runs_and_is_recorded_too(counted: Counted, half: Path, part: str) -> None:
    found = counted(half, part, 1, 64)
    assert found["precision"] == "fp16" and found["calls"][-1]["graphs"] == ["graph launch"]


@pytest.mark.parametrize("part", ["text_encoder", "unet", "vae_encoder", "vae_decoder"])
def test_nothing_that_is_recorded_reads_the_hosts_memory(counted: Counted, half: Path, part: str) -> None:
    # It would be read again at each replay, when something else is there.
    assert not any(call["recorded_from_host"] for call in counted(half, part, 1, 64)["calls"])


@pytest.mark.parametrize("part", MOST_LAUNCHES)
def test_a_full_size_part_stays_within_its_launches(counted: Counted, part: str) -> None:
    folder = os.environ.get("OUTPAINT_SD15_HALF")
    if not folder:
        pytest.skip("OUTPAINT_SD15_HALF names no full-size set in float16")
    rows, most = MOST_LAUNCHES[part]
    assert counted(Path(folder), part, rows, 512)["calls"][0]["launches"] <= most
