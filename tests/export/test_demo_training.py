"""The demo's training: the drawn scenes, the words, the masks, and a loop that can be stopped and resumed."""

import contextlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from demo_model import fit as fitting
from demo_model.captions import new_tokenizer, worded
from demo_model.denoiser import new_scheduler
from demo_model.fit import Plan, fit
from demo_model.masks import outpainting_mask
from demo_model.scenes import KINDS, TIMES, draw, scenes
from outpaint_export.errors import DestinationError
from torch import Tensor, nn

from outpaint_engine.samplers import find_scheduler


def test_a_scene_is_the_same_at_every_drawing_and_others_differ() -> None:
    first, second = scenes(5, 2)
    assert np.array_equal(draw(first), draw(first))
    assert not np.array_equal(draw(first), draw(second))


def test_a_scene_can_be_drawn_at_any_size() -> None:
    assert draw(next(scenes(5, 1)), 96, 64).shape == (64, 96, 3)


def test_every_time_and_kind_comes_equally_often() -> None:
    chosen = list(scenes(5, 40))
    assert {(scene.time, scene.kind) for scene in chosen} == {(time, kind) for time in TIMES for kind in KINDS}


def test_a_caption_names_what_is_drawn() -> None:
    assert all(scene.caption.startswith(f"{scene.time} {scene.kind}") for scene in scenes(5, 40))


def test_the_vocabulary_is_always_the_same_and_knows_the_captions_words_whole() -> None:
    tokenizer = new_tokenizer()
    assert tokenizer.get_vocab() == new_tokenizer().get_vocab()
    for scene in scenes(5, 40):
        assert len(tokenizer.tokenize(scene.caption)) == len(scene.caption.split())


def test_a_worded_caption_fits_the_model() -> None:
    rng, tokenizer = np.random.default_rng(0), new_tokenizer()
    assert all(len(tokenizer(worded(scene.caption, rng)).input_ids) <= 77 for scene in scenes(5, 200))


def test_a_mask_leaves_one_known_rectangle_or_nothing() -> None:
    rng = np.random.default_rng(0)
    for _ in range(200):
        known = outpainting_mask(32, 48, rng) == 0
        rows, columns = known.any(axis=1), known.any(axis=0)
        assert np.array_equal(known, np.outer(rows, columns))


def test_the_demos_schedule_ends_in_pure_noise_and_starts_there() -> None:
    schedule = find_scheduler("DDIM").schedule(dict(new_scheduler().config))
    assert schedule.level(int(schedule.timesteps(25)[0])).signal == 0


@pytest.fixture
def regression() -> Callable[[], tuple[nn.Linear, Callable[[np.random.Generator], Tensor]]]:
    """A new model, and the loss of a batch of a linear problem."""

    def build() -> tuple[nn.Linear, Callable[[np.random.Generator], Tensor]]:
        torch.manual_seed(0)
        model = nn.Linear(4, 1)

        def loss(rng: np.random.Generator) -> Tensor:
            x = torch.from_numpy(rng.standard_normal((8, 4)).astype(np.float32))
            return nn.functional.mse_loss(model(x), x.sum(dim=1, keepdim=True))

        return model, loss

    return build


def test_training_learns(regression: Callable, tmp_path: Path) -> None:
    model, loss = regression()
    before = loss(np.random.default_rng(1)).item()
    fit(model, loss, Plan("line", 300, 5e-2, warmup=10, ema=0.9), tmp_path)
    assert loss(np.random.default_rng(1)).item() < before / 50


def test_a_stopped_run_resumes_to_the_same_weights(
    regression: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fitting, "SAVE_EVERY", 5)
    plan = Plan("line", 12, 1e-2)
    whole, loss = regression()
    for name in ("whole", "stopped"):
        (tmp_path / name).mkdir()
    fit(whole, loss, plan, tmp_path / "whole")
    stopped, loss = regression()
    calls = iter(range(8))

    def breaks(rng: np.random.Generator) -> Tensor:
        if next(calls, None) is None:
            raise KeyboardInterrupt
        return loss(rng)

    with pytest.raises(KeyboardInterrupt):
        fit(stopped, breaks, plan, tmp_path / "stopped")
    resumed, loss = regression()
    fit(resumed, loss, plan, tmp_path / "stopped")
    assert torch.equal(whole.weight, resumed.weight)


def test_a_convolution_that_lies_channels_last_resumes_to_the_same_weights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fitting, "SAVE_EVERY", 2)

    def trained(folder: Path, steps: int) -> nn.Conv2d:
        torch.manual_seed(0)
        model = nn.Conv2d(3, 4, 3).to(memory_format=torch.channels_last)
        batches = iter(range(steps))

        def loss(rng: np.random.Generator) -> Tensor:
            if next(batches, None) is None:
                raise KeyboardInterrupt
            x = torch.from_numpy(rng.standard_normal((2, 3, 6, 6)).astype(np.float32))
            return (model(x) - 1).square().mean()

        with contextlib.suppress(KeyboardInterrupt):
            fit(model, loss, Plan("convolution", 6, 1e-2, warmup=1), folder)
        return model

    (tmp_path / "whole").mkdir()
    (tmp_path / "stopped").mkdir()
    trained(tmp_path / "stopped", 4)
    whole, resumed = trained(tmp_path / "whole", 6), trained(tmp_path / "stopped", 2)
    assert torch.equal(whole.weight, resumed.weight)


def test_a_state_that_was_begun_with_another_plan_is_refused(regression: Callable, tmp_path: Path) -> None:
    model, loss = regression()
    fit(model, loss, Plan("line", 2, 1e-2), tmp_path)
    with pytest.raises(DestinationError, match="begun with another plan"):
        fit(model, loss, Plan("line", 2, 2e-2), tmp_path)
