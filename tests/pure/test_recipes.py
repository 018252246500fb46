"""The commands of docs/recipes.md: their options are real, and their requests can be tried."""

import shlex
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from outpaint_engine import OutpaintRequest
from outpaint_engine.cli import cli

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs" / "recipes.md").read_text(encoding="utf-8")
COMMANDS = [line for line in TEXT.splitlines() if line.startswith("outpaint ")]
USES = ("landscape", "film", "advertising", "game", "Interiors", "Fashion", "art")
SIZE = (1600, 1200)


class ModelNeeded(Exception):
    """The command line got as far as opening a model."""


def needed(*_: Any, **__: Any) -> None:
    raise ModelNeeded


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the examples and whatever else the commands name; no model can be opened."""
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    (tmp_path / "products").mkdir()
    picture = Image.fromarray(np.full((*SIZE[::-1], 3), 90, np.uint8))
    for name in ("coast.jpg", "frame.tif", "frame.png", "tavern.png", "room.jpg", "portrait.jpg", "painting.tif"):
        picture.save(tmp_path / name)
    picture.save(tmp_path / "products" / "shoe.jpg")
    Image.new("L", SIZE).save(tmp_path / "sofa-mask.png")
    monkeypatch.chdir(tmp_path)
    opened = SimpleNamespace(native_size=512, digest="")
    for name in ("outpaint", "film", "batch"):
        module = sys.modules[f"outpaint_engine.cli.{name}"]
        monkeypatch.setattr(module, "OutpaintPipeline", SimpleNamespace(from_pretrained=needed))
        if hasattr(module, "EngineSet"):
            monkeypatch.setattr(module, "EngineSet", SimpleNamespace(open=lambda *_, **__: opened))
    return tmp_path


@pytest.mark.parametrize("command", COMMANDS)
def test_every_recipe_is_understood_and_gets_as_far_as_the_model(
    command: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if "--video" in command:
        pytest.importorskip("imageio_ffmpeg", reason="imageio-ffmpeg is not installed (extra `video`)")
    made: list[OutpaintRequest] = []
    placed = OutpaintRequest.placed
    monkeypatch.setattr(OutpaintRequest, "placed", lambda **fields: made.append(placed(**fields)) or made[-1])
    done = CliRunner().invoke(cli, shlex.split(command)[1:])
    assert isinstance(done.exception, ModelNeeded), done.output or done.exception
    assert made or "batch" in command


def test_each_use_has_a_recipe_for_the_demo_and_the_same_for_stable_diffusion() -> None:
    recipes = TEXT.split("\n## ")[1:]
    assert len(recipes) == len(USES)
    for recipe, use in zip(recipes, USES, strict=True):
        commands = [line for line in recipe.splitlines() if line.startswith("outpaint ")]
        assert use in recipe.splitlines()[0] and commands
        for demo, sd15 in zip(commands[::2], commands[1::2], strict=True):
            assert " examples" in demo and "--engines" not in demo and "--engines sd15" in sd15
            assert demo.split()[:2] == sd15.split()[:2]
