"""OpenVINO on the CPU, as ONNX Runtime's plug-in `onnxruntime-ep-openvino`.

The plug-in takes whole graphs, compiles one for each shape (`fixed_shapes`), computes in bfloat16 where the processor
can, and keeps what it compiled (`model_cache`).
"""

import importlib
import importlib.util
import json
import shutil
import tempfile
import threading
import warnings
import weakref
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from ..engine_set import EngineSet, regular_file
from ..errors import EngineSetError
from ..tensors import Array
from .base import Backend, Engine, EngineOptions, Probe
from .fixed_shapes import FixedShapesEngine, Shapes, asked_shapes
from .mapped_files import release_mapped
from .model_cache import cache_folder
from .onnx import OnnxBackend, OnnxEngine
from .openvino import REMEDY, chosen_precision, cpu_settings, worth_compiling
from .openvino_plugin import (
    DISTRIBUTION,
    PLUGIN,
    PROVIDER,
    compiled_session,
    cpu_device,
    facts,
    kept_session,
    provider_options,
    versions,
)
from .processor import has_openvino_wheels, is_intel
from .session import (
    check_assignment,
    check_provider,
    recorded,
    settings,
)

__all__ = ["OrtOpenVinoBackend"]

LAYER_PRECISIONS = {"f32": "fp32", "bf16": "bf16", "f16": "fp16"}


class OrtOpenVinoEngine(OnnxEngine):
    """A session whose first run is profiled: what its layers really computed in is `precision` from then on."""

    def __init__(self, session: Any, part: str, backend: Backend, precision: str, profiles: Path) -> None:
        super().__init__(session, part, backend, precision)
        self._unread = threading.Lock()
        self._profiled = False
        weakref.finalize(self, shutil.rmtree, profiles, ignore_errors=True)

    def _run_session(
        self, session: Any, names: Sequence[str], feeds: Mapping[str, Array], run_options: Any
    ) -> Sequence[Array]:
        if self._profiled:
            return super()._run_session(session, names, feeds, run_options)
        with self._unread:
            values = super()._run_session(session, names, feeds, run_options)
            if not self._profiled:
                self._profiled = True
                self._read_precision(Path(session.end_profiling()))
        return values

    def _read_precision(self, profile: Path) -> None:
        asked, self.precision = self.precision, precision_of(json.loads(profile.read_text()))
        if self.precision != asked:
            warnings.warn(
                f"{self._name} was asked to compute in {asked} and computes in {self.precision}.", stacklevel=5
            )


class OrtOpenVinoBackend(OnnxBackend):
    """The plug-in's CPU device. It exists on Intel's processors only: the plug-in passes over others."""

    def __init__(self) -> None:
        super().__init__("ort-openvino", "cpu", PROVIDER, "cpu", ("auto", "fp32", "bf16"))

    def probe(self) -> Probe:
        """See `Backend.probe`."""
        runtime = self._probe_runtime()
        if not runtime.usable:
            return runtime
        if importlib.util.find_spec(PLUGIN) is None:
            there = has_openvino_wheels()
            reason = f"{DISTRIBUTION} is not installed" if there else f"{DISTRIBUTION} is not made for this system"
            return Probe(False, runtime.version, "", reason, self._remedy, worth_installing=there and is_intel())
        version = ", ".join(versions())
        try:
            device = cpu_device()
        except Exception as error:  # a library that does not fit may raise anything, and a probe never does
            return Probe(False, version, "", f"{DISTRIBUTION} does not load: {error}", self._remedy)
        if device is None:
            reason = f"{DISTRIBUTION} serves Intel's processors only, and offers none here"
            return Probe(False, version, "", reason, f"{REMEDY}, which brings openvino")
        return Probe(True, version, self.device)

    def suits(self, engine_set: EngineSet, options: EngineOptions) -> bool:
        """Where a picture gains more than compiling costs."""
        return super().suits(engine_set, options) and worth_compiling(engine_set, options)

    def load(self, engine_set: EngineSet, part: str, options: EngineOptions) -> Engine:
        """See `Backend.load`."""
        self.require(options)
        capabilities = cpu_device().ep_metadata.get("OPTIMIZATION_CAPABILITIES", "").split()
        precision = chosen_precision(options, capabilities, self.name)
        return FixedShapesEngine(
            f"{part} on {self.name}",
            partial(self._open, engine_set, part, precision, options),
            asked_shapes(engine_set, part, self.format, options),
        )

    def _open(
        self, engine_set: EngineSet, part: str, precision: str, options: EngineOptions, shapes: Shapes | None
    ) -> Engine:
        name, device = f"{part} on {self.name}", cpu_device()
        path = regular_file(engine_set.folder, engine_set.artifact(part, self.format).file)
        openvino_settings = cpu_settings(precision, options)
        depends_on = (*versions(), *facts(device), *openvino_settings.values())
        kept = cache_folder(engine_set, part, depends_on, shapes)
        profiles = Path(tempfile.mkdtemp(prefix="outpaint-"))

        def session_options(shapes: Shapes | None) -> Any:
            found = recorded(settings(options))
            found.enable_profiling, found.profile_file_prefix = True, str(profiles / part)
            found.add_provider_for_devices([device], provider_options(openvino_settings, shapes))
            return found

        try:
            session = kept_session(kept, session_options(None))
            if session is None:
                session = compiled_session(path, session_options(shapes), kept)
            release_mapped({path.resolve().parent, *([kept.resolve()] if kept else [])})
            check_provider(session, PROVIDER, name)
            check_assignment(session, name, [PROVIDER])
        except BaseException as error:
            shutil.rmtree(profiles, ignore_errors=True)
            # A graph that is not taken whole cannot be fixed to shapes: with free ones the nodes can be named.
            if isinstance(error, EngineSetError) and shapes is not None:
                self._open(engine_set, part, precision, options, None).close()
            raise
        return OrtOpenVinoEngine(session, part, self, precision, profiles)


def precision_of(events: Iterable[Mapping[str, Any]]) -> str:
    """What the layers of a profile computed in, by the time they took; "unknown" if none says.

    OpenVINO ends the name of a layer's kernel with its element type, as in brgconv_avx512_amx_bf16.
    """
    spent: dict[str, int] = {}
    for event in events:
        kind = str(event.get("args", {}).get("ov_exec_type", "")).rpartition("_")[2]
        if kind in LAYER_PRECISIONS:
            spent[LAYER_PRECISIONS[kind]] = spent.get(LAYER_PRECISIONS[kind], 0) + int(event["dur"])
    return max(spent, key=spent.__getitem__) if spent else "unknown"
