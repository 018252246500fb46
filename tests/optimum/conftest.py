"""The tests of this folder run in an environment of their own (extra `optimum`), and are left out of any other."""

import importlib.util

import pytest


def _found(name: str) -> bool:
    try:
        return importlib.util.find_spec(name) is not None
    except ModuleNotFoundError:
        return False


MISSING = [name for name in ("torch", "diffusers", "optimum.onnxruntime") if not _found(name)]
collect_ignore_glob = ["test_*.py"] if MISSING else []


def pytest_configure(config: pytest.Config) -> None:
    """Warnings are errors in our own code; in this environment they are old libraries' about new ones."""
    if not MISSING:
        config.addinivalue_line("filterwarnings", "default")


def pytest_report_header() -> str | None:
    return f"tests/optimum is left out: {', '.join(MISSING)} not installed (extra `optimum`)" if MISSING else None
