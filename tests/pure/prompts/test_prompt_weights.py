"""Brackets become weights, as AUTOMATIC1111's web UI reads them; what is no weight stays text."""

import gc
import time
from collections.abc import Iterator

import numpy as np
import pytest

from outpaint_engine import RequestError
from outpaint_engine.prompts.weights import parse, weighted

PIECES = [
    ("", []),
    ("normal text", [("normal text", 1)]),
    ("an (important) word", [("an ", 1), ("important", 1.1), (" word", 1)]),
    ("a [quiet] word", [("a ", 1), ("quiet", 1 / 1.1), (" word", 1)]),
    ("(word:1.3)", [("word", 1.3)]),
    ("(word: 0.5 )", [("word", 0.5)]),
    ("(word:.5)(word:2.)", [("word", 0.5), ("word", 2)]),
    ("(a:+2)", [("a", 2)]),
    ("(unnecessary)(parens)", [("unnecessaryparens", 1.1)]),
    ("((a))", [("a", 1.1**2)]),
    ("[[a]]", [("a", 1.1**-2)]),
    ("(a (b:2) c:1.5)", [("a ", 1.5), ("b", 3), (" c", 1.5)]),
    ("a (((house:1.3)) [on] a (hill:0.5), sun)", [
        ("a ", 1), ("house", 1.3 * 1.1**2), (" ", 1.1), ("on", 1), (" a ", 1.1), ("hill", 0.55), (", sun", 1.1),
    ]),
    ("()", []),
    # Escapes.
    (r"\(a\) \[b\] \\", [("(a) [b] \\", 1)]),
    (r"(\(a\):1.2)", [("(a)", 1.2)]),
    (r"(a\:1.2)", [("a\\", 1.2)]),
    (r"C:\paint", [(r"C:\paint", 1)]),
    # Brackets without a partner are text.
    ("(a", [("(a", 1)]),
    ("a)", [("a)", 1)]),
    ("a:1.3)", [("a:1.3)", 1)]),
    ("(a [b)", [("a [b", 1.1)]),
    ("(a [b) c]", [("a [b", 1.1), (" c]", 1)]),
    ("[a:1.3)", [("[a:1.3)", 1)]),
    (":-) (:", [(":-) (:", 1)]),
    # Ratios and times are no weights.
    ("(16:9)", [("16:9", 1.1)]),
    ("(at 10:30)", [("at 10:30", 1.1)]),
    ("(route 66:1.2)", [("route 66", 1.2)]),
    ("(a:b)", [("a:b", 1.1)]),
    ("(a:1.2.3)", [("a:1.2.3", 1.1)]),
]  # fmt: skip


@pytest.mark.parametrize(("text", "pieces"), PIECES, ids=[text for text, _ in PIECES])
def test_a_prompt_is_split_by_weight(text: str, pieces: list[tuple[str, float]]) -> None:
    found = parse(text).pieces
    assert [piece.text for piece in found] == [piece for piece, _ in pieces]
    assert [piece.weight for piece in found] == pytest.approx([weight for _, weight in pieces])


@pytest.mark.parametrize(
    ("text", "explicit"),
    [("(a:1.2)", True), ("((a):1.2)", True), ("(a)", False), ("[a]", False), ("(16:9)", False), (r"\(a:1.2)", False)],
)
def test_only_a_weight_that_is_a_number_is_explicit(text: str, explicit: bool) -> None:
    assert parse(text).explicit is explicit


@pytest.mark.parametrize(
    ("text", "weight"), [("(sea:11)", "11"), ("(sea:-1)", "-1"), ("(" * 25 + "sea" + ")" * 25, "10.8")]
)
def test_a_weight_out_of_bounds_is_refused_with_the_bounds(text: str, weight: str) -> None:
    with pytest.raises(RequestError, match=f"The weight of 'sea' is {weight}.*weights go from 0 to 10"):
        parse(text).checked()


@pytest.fixture
def no_garbage_collection() -> Iterator[None]:
    """Collecting what a whole test run has made takes longer than what a test here times."""
    gc.disable()
    yield
    gc.enable()


@pytest.mark.usefixtures("no_garbage_collection")
@pytest.mark.parametrize("unit", ["(", ")", "(((a)", ":1", "(a:1", "\\", ": ", "[(", "9:9)", "()"])
def test_reading_takes_time_proportional_to_the_length(unit: str) -> None:
    def seconds(length: int) -> float:
        text = unit * (length // len(unit))
        began = time.thread_time()
        parse(text)
        return time.thread_time() - began

    seconds(20_000)
    # 8 if it is proportional, 64 if it grows with the square.
    assert min(seconds(160_000) for _ in range(3)) < 32 * min(seconds(20_000) for _ in range(3))


def test_weights_multiply_the_tokens_and_the_mean_comes_back() -> None:
    embeddings = np.random.default_rng(0).normal(0.2, 1, (1, 4, 8)).astype(np.float32)
    weights = np.array([1, 1.5, 0, 1], np.float32)
    found = weighted(embeddings, weights)
    scaled = embeddings * weights[None, :, None]
    assert found == pytest.approx(scaled * embeddings.mean() / scaled.mean(), rel=1e-5)
    assert found.mean() == pytest.approx(embeddings.mean(), rel=1e-5)


def test_a_mean_of_next_to_nothing_is_left_alone() -> None:
    embeddings = np.random.default_rng(0).standard_normal((1, 4, 8)).astype(np.float32)
    embeddings -= embeddings.mean()
    weights = np.array([1, 1.5, 0, 1], np.float32)
    assert np.array_equal(weighted(embeddings, weights), embeddings * weights[None, :, None])


def test_without_weights_nothing_is_touched() -> None:
    embeddings = np.ones((1, 4, 8), np.float32)
    assert weighted(embeddings, np.ones(4, np.float32)) is embeddings
