"""What is read from the operating system's list of processors."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from outpaint_engine import machine

CASES = [
    ("model name\t: Xeon\nflags\t\t: fma avx512f amx_bf16", "Xeon", True, False),
    ("model name\t: EPYC\nflags\t\t: fma avx2", "EPYC", False, True),
    ("model name\t: EPYC\nflags\t\t: fma avx512_bf16", "EPYC", True, False),
    # OpenVINO does not say what it does with ARM's.
    ("Features\t: asimd bf16", "some processor", False, False),
]


@pytest.fixture(autouse=True)
def unread() -> Iterator[None]:
    machine._cpuinfo.cache_clear()
    yield
    machine._cpuinfo.cache_clear()


@pytest.mark.parametrize(("text", "name", "has", "lacks"), CASES)
def test_the_name_and_whether_it_computes_in_bfloat16_are_read_of_the_first(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, text: str, name: str, has: bool, lacks: bool
) -> None:
    (tmp_path / "cpuinfo").write_text(f"processor\t: 0\n{text}\n\nprocessor\t: 1\nmodel name\t: other\n")
    monkeypatch.setattr(machine, "CPUINFO", tmp_path / "cpuinfo")
    monkeypatch.setattr(machine.platform, "processor", lambda: "some processor")
    assert (machine.cpu_name(), machine.has_bf16(), machine.lacks_bf16()) == (name, has, lacks)


def test_a_system_that_lists_nothing_is_not_known_to_lack_anything(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(machine, "CPUINFO", tmp_path / "none")
    assert not machine.cpu_flags() and not machine.lacks_bf16() and not machine.has_bf16()


def test_only_what_is_installed_has_a_version() -> None:
    assert set(machine.versions(("numpy", "no-such-distribution"))) == {"numpy"}
