"""`outpaint-export parity`: a table, a file in the engine set, and an exit code that says whether bounds are kept."""

import importlib.util
import json
import shutil
from pathlib import Path

import pytest
from outpaint_export.commands.cli import main
from outpaint_export.parity import fidelity
from outpaint_export.parity.fidelity import Bounds
from outpaint_export.parity.reference import reference_pipeline
from outpaint_export.sources.opening import open_source

from outpaint_engine.engine_set import PARITY, EngineSet

from ..tiny_models import sources

pytestmark = [
    pytest.mark.export,
    # diffusers hands torch tensors to numpy in a way that numpy 2 will not take for ever.
    *(
        pytest.mark.filterwarnings(f"ignore:{method}:DeprecationWarning")
        for method in ("__array__ implementation", "__array_wrap__ must")
    ),
]
QUICK = ("--scheduler", "DDIM", "--scheduler", "euler_a", "--strength", "1", "-g", "7.5", "--steps", "3")


@pytest.fixture
def engines(inpainting_set: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(inpainting_set, tmp_path / "set"))


def test_the_figures_of_every_case_are_printed_and_written(
    engines: Path, checkpoint: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["parity", str(engines), "--reference", str(checkpoint), *QUICK, "--size", "64x48"]) == 0
    table = capsys.readouterr().out.splitlines()
    assert [line.split("  ")[0] for line in table] == ["scheduler", "DDIM", "Euler a"]
    written = json.loads((engines / PARITY).read_text())
    assert [case["scheduler"] for case in written["cases"]] == ["DDIM", "Euler a"]
    assert written["kept"] and written["canvas"] == [64, 48]
    assert written["worst"]["latent_error"] == max(case["latent_error"] for case in written["cases"])
    assert EngineSet.open(engines).parity == written


def test_a_missed_bound_ends_with_4_and_is_written_down(
    engines: Path, checkpoint: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(fidelity.BOUNDS, "fp32", Bounds(1e-12, 0.999))
    assert main(["parity", str(engines), "--reference", str(checkpoint), *QUICK]) == 4
    assert "2 of 2 runs miss a bound (latents within 1e-12" in capsys.readouterr().err
    assert EngineSet.open(engines).parity["kept"] is False


def test_a_scheduler_that_diffusers_cannot_run_here_is_left_out_and_said(
    engines: Path, checkpoint: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    found = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *more: None if name == "scipy" else found(name, *more)
    )
    given = ["parity", str(engines), "--reference", str(checkpoint), "--strength", "1", "-g", "7.5", "--steps", "3"]
    assert main([*given, "--scheduler", "LMS", "--scheduler", "DDIM"]) == 0
    assert "LMS was left out: diffusers' LMS needs scipy" in capsys.readouterr().err
    assert main([*given, "--scheduler", "LMS"]) == 5
    assert "Nothing is left to compare" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["{set}", "--reference", "{checkpoint}", "--scheduler", "magic"], 2, "'magic' is no scheduler"),
        (["{set}", "--reference", "{checkpoint}", "--size", "100x100"], 2, "multiples of 8"),
        (["{set}", "--reference", "{checkpoint}", "--strength", "0.01"], 5, "less than one"),
        (["{set}", "--reference", "{checkpoint}", "--steps", "2000"], 5, "num_inference_steps"),
        (["nowhere", "--reference", "{checkpoint}"], 4, "no engine set at 'nowhere'"),
        (["{set}", "--reference", "not there"], 5, "There is no folder or file"),
        (["{set}"], 2, "--reference"),
    ],
)
def test_a_refusal_is_one_sentence_and_measures_nothing(
    arguments: list[str],
    code: int,
    message: str,
    engines: Path,
    checkpoint: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["parity", *(text.format(set=engines, checkpoint=checkpoint) for text in arguments)]) == code
    assert message in capsys.readouterr().err
    assert not (engines / PARITY).exists()


def test_a_saved_reference_can_be_opened_as_a_checkpoint(tmp_path: Path) -> None:
    made = sources(9, tmp_path / "words")
    reference_pipeline(made).save_pretrained(tmp_path / "diffusers")
    opened = open_source(str(tmp_path / "diffusers"))
    assert opened.scheduler["steps_offset"] == made.scheduler["steps_offset"]
    assert opened.tokenizer("the sun").input_ids == made.tokenizer("the sun").input_ids
    weights, expected = opened.unet().state_dict(), made.unet().state_dict()
    assert all(weights[name].equal(weight) for name, weight in expected.items())
