"""The words and figures of `python -m benchmarks.quality`."""

from typing import Any

import numpy as np
import pytest

pytest.importorskip("tqdm")

from benchmarks.quality.cases import placed  # noqa: E402
from benchmarks.quality.measure import decibels  # noqa: E402
from benchmarks.quality.settings import Setting  # noqa: E402
from outpaint_engine.denoise import Reuse  # noqa: E402


@pytest.mark.parametrize(
    ("text", "fields"),
    [
        ("UniPC:15", {}),
        ("DDIM:25:reuse=careful", {"reuse": "careful"}),
        ("DDIM:25:reuse=4", {"reuse": Reuse(4)}),
        ("DDIM:25:reuse=fast:damping=0", {"reuse": Reuse(3, 0.0)}),
        ("DDIM:25:reuse=2:damping=0:method=shallow", {"reuse": Reuse(2, 0.0, "shallow")}),
        ("DDIM:25:guidance_every=2", {"guidance_every": 2}),
        ("DDIM:25:decoder=tiny", {"decoder": "tiny"}),
    ],
)
def test_a_setting_is_one_word_and_knows_its_exact_run(text: str, fields: dict[str, Any]) -> None:
    setting = Setting.read(text)
    scheduler, steps = text.split(":")[:2]
    plain = {"scheduler": scheduler, "num_inference_steps": int(steps)}
    assert setting.fields == plain | fields
    assert setting.exact.fields == plain


@pytest.mark.parametrize("text", ["DDIM", "DDIM:x", "DDIM:25:fast", "DDIM:25:colour=blue"])
def test_a_word_that_is_no_setting_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="SCHEDULER:STEPS"):
        Setting.read(text)


def test_decibels_are_those_of_the_mean_squared_error() -> None:
    dark = np.zeros((10, 3), np.uint8)
    assert decibels(dark, dark) == 99
    assert decibels(dark, dark + 255) == 0
    assert decibels(dark, dark + 1) == pytest.approx(48.13)


@pytest.mark.parametrize(("extend", "known", "canvas"), [("sides", 32, (64, 64)), ("right", 64, (96, 64))])
def test_a_square_is_cut_or_extended(extend: str, known: int, canvas: tuple[int, int]) -> None:
    fields = placed(np.zeros((64, 64, 3), np.uint8), extend)
    assert fields["image"].shape == (64, known, 3)
    assert (fields["width"], fields["height"]) == canvas
