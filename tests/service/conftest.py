"""The fixtures of this folder; without the extra `serve` its modules are skipped, and the reason is said."""

from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest

NEEDED = ("fastapi", "fastapi_offline", "uvicorn", "sqlalchemy", "prometheus_client", "httpx2")
MISSING = [name for name in NEEDED if find_spec(name) is None]

if not MISSING:
    from .running import body, plain, serve

    __all__ = ["body", "plain", "serve"]


class Skipped(pytest.Module):
    """A module that cannot be imported here."""

    def collect(self) -> Iterator[pytest.Item | pytest.Collector]:
        pytest.skip(f"not installed: {', '.join(MISSING)}; the service's tests need the extra `test`")


def pytest_pycollect_makemodule(module_path: Path, parent: pytest.Collector) -> pytest.Module | None:
    return Skipped.from_parent(parent, path=module_path) if MISSING else None
