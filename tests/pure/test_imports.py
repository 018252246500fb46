"""What an import costs and reaches. Each case runs in a fresh interpreter."""

import importlib.util
import pkgutil
import subprocess
import sys

import pytest

import outpaint_engine

HEAVY = (
    "torch",
    "transformers",
    "diffusers",
    "onnx",
    "onnxruntime",
    "PIL",
    "click",
    "tokenizers",
    "numpy",
    "fastapi",
    "sqlalchemy",
    "outpaint_export",
)
FORBIDDEN = ("torch", "transformers", "diffusers", "onnx", "outpaint_export")
NEEDS = {"outpaint_engine.service.cluster.": "ray", "outpaint_engine.service.": "fastapi"}
"""Modules that need an extra, by what it brings."""
MODULES = sorted(
    module.name
    for module in pkgutil.walk_packages(outpaint_engine.__path__, "outpaint_engine.")
    if module.name != "outpaint_engine.__main__"
    and all(importlib.util.find_spec(library) for start, library in NEEDS.items() if module.name.startswith(start))
)


def loaded_after(statement: str) -> set[str]:
    code = f"import sys; {statement}; print(*{{name.split('.')[0] for name in sys.modules}})"
    return set(subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout.split())


def test_importing_the_package_loads_nothing_heavy() -> None:
    assert not loaded_after("import outpaint_engine") & set(HEAVY)


def test_no_module_of_the_runtime_reaches_the_export_stage_or_torch() -> None:
    assert not loaded_after(f"import {', '.join(MODULES)}") & set(FORBIDDEN)


def test_engine_libraries_are_loaded_on_use_only() -> None:
    found = loaded_after("import outpaint_engine.pipeline, outpaint_engine.cli")
    assert not found & {"onnxruntime", "fastapi", "sqlalchemy"}


@pytest.mark.parametrize("name", outpaint_engine.__all__)
def test_every_public_name_exists(name: str) -> None:
    assert getattr(outpaint_engine, name)


def test_completion_shows_the_public_names() -> None:
    assert set(dir(outpaint_engine)) == set(outpaint_engine.__all__)


def test_another_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="has no attribute 'magic'"):
        _ = outpaint_engine.magic
