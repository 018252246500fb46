"""What is read from the operating system's list of processors."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from outpaint_engine.engines import processor

CASES = [
    ("vendor_id\t: GenuineIntel\nflags\t\t: fma avx512f amx_bf16", True, False),
    ("vendor_id\t: GenuineIntel\nflags\t\t: fma avx2", True, True),
    ("vendor_id\t: AuthenticAMD\nflags\t\t: fma avx512_bf16", False, False),
    ("Features\t: asimd bf16", False, False),
]


@pytest.fixture(autouse=True)
def unread() -> Iterator[None]:
    processor._cpuinfo.cache_clear()
    yield
    processor._cpuinfo.cache_clear()


@pytest.mark.parametrize(("text", "intel", "lacks"), CASES)
def test_the_maker_and_the_lack_of_bfloat16_are_read(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, text: str, intel: bool, lacks: bool
) -> None:
    (tmp_path / "cpuinfo").write_text(f"processor\t: 0\n{text}\n\nprocessor\t: 1\nvendor_id\t: other\n")
    monkeypatch.setattr(processor, "CPUINFO", tmp_path / "cpuinfo")
    monkeypatch.setattr(processor.platform, "processor", lambda: "")
    assert (processor.is_intel(), processor.lacks_bf16()) == (intel, lacks)
    assert processor.has_bf16() is ("_bf16" in text)


def test_windows_names_the_maker_in_the_processors_name(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(processor, "CPUINFO", tmp_path / "none")
    monkeypatch.setattr(processor.platform, "processor", lambda: "Intel64 Family 6 Model 143 Stepping 8, GenuineIntel")
    assert processor.is_intel() and not processor.lacks_bf16() and not processor.has_bf16()
