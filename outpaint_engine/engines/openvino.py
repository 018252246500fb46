"""OpenVINO on the CPU, driven directly: the same ONNX files, compiled for each shape when they are loaded.

Compiling a full-size UNet takes about as long as reading back a compiled one, so nothing is kept on disk. The library
is imported on use; nothing here knows of diffusion.
"""

import ctypes
import importlib
import sys
import threading
import warnings
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np

from ..engine_set import Artifact, EngineSet
from ..errors import BackendUnavailable, EngineError, EngineSetError
from ..machine import has_bf16, lacks_bf16, usable_cores
from ..tensors import Array, Shapes, TensorSpec
from .base import Backend, Engine, EngineOptions, Loading, Probe, check_feeds
from .fixed_shapes import KEPT_ENGINES, FixedShapesEngine

__all__ = ["OpenVinoBackend"]

TELEMETRY = "openvino_telemetry"
REMEDY = 'pip install "outpaint_engine[openvino]"'
HINTS = {"fp32": "f32", "bf16": "bf16"}
"""OpenVINO's names of the precisions that its CPU device computes in; it takes f16 for bf16."""
NAMES = {hint: precision for precision, hint in HINTS.items()}
HEAVY = frozenset({"Convolution", "FullyConnected", "MatMul"})
"""Layers that stand for what a compiled graph computes in; light ones may differ."""
MAPS = Path("/proc/self/maps")
DONTNEED = 4
"""MADV_DONTNEED: pages of a mapping that is only read are dropped, and come back from the page cache when touched."""
LEAST_WEIGHTS = 2**28
"""Bytes of UNet weights from which "auto" takes OpenVINO: compiling a smaller one costs more than a picture gains."""


class OpenVinoEngine(Engine):
    """A compiled graph with one request, for one call at a time; threads wait for each other.

    `artifact` states names and axes, as the graph does not keep the names of its free axes; without a manifest they
    are read from `compiled`.
    """

    def __init__(self, compiled: Any, name: str, backend: Backend, artifact: Artifact) -> None:
        self._name, self._lock = name, threading.Lock()
        self.backend, self.device, self.precision = backend.name, backend.device, computed_in(compiled)
        self.inputs = _specs(artifact.inputs, compiled.inputs)
        self.outputs = _specs(artifact.outputs, compiled.outputs)
        self._request = compiled.create_infer_request()

    def run(self, feeds: Mapping[str, Array], wanted: Collection[str] | None = None) -> dict[str, Array]:
        """Run the graph, reading the feeds where they lie; element types must be the graph's."""
        with self._lock:
            if self._request is None:
                raise EngineError(f"{self._name} was closed.")
            check_feeds(self._name, self.inputs, feeds)
            try:
                values = self._request.infer(dict(feeds), share_inputs=True, share_outputs=True)
                return {name: np.array(values[name]) for name in (self.outputs if wanted is None else wanted)}
            except Exception as error:
                shapes = ", ".join(f"{name} {value.dtype}{list(value.shape)}" for name, value in feeds.items())
                raise EngineError(f"{self._name} failed on {shapes}: {error}") from error

    def close(self) -> None:
        """Drop the compiled graph."""
        with self._lock:
            self._request = None


class OpenVinoBackend(Backend):
    """OpenVINO's CPU device."""

    name, device, format, precisions = "openvino", "cpu", "onnx", ("auto", *HINTS)
    changes_weights = True

    def _look(self) -> Probe:
        try:
            library = _library()
            devices = _core().available_devices
        except ModuleNotFoundError as error:
            return Probe(False, "", "", f"{error.name} is not installed", REMEDY, worth_installing=has_bf16())
        except Exception as error:  # a broken wheel may raise anything, and a probe never does
            return Probe(False, "", "", f"openvino does not load: {error}", REMEDY)
        version = f"openvino {library.__version__.partition('-')[0]}"
        if "CPU" not in devices:
            return Probe(False, version, "", "openvino offers no CPU device here", "ort-cpu")
        return Probe(True, version, self.device)

    def suits(self, engine_set: EngineSet, options: EngineOptions) -> bool:
        """Where a picture gains more than compiling costs."""
        return super().suits(engine_set, options) and worth_compiling(engine_set, options)

    def own_bytes(self, loading: Loading, sizes: Mapping[str, int]) -> int:
        """See `Backend.own_bytes`: each shape that is kept is compiled with weights of its own."""
        return KEPT_ENGINES * sum(sizes.values())

    def _open(self, loading: Loading) -> Engine:
        capabilities = _core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
        settings = cpu_settings(chosen_precision(loading.options, capabilities, self.name), loading.options)
        name = f"{loading.part} on {self.name}"
        return FixedShapesEngine(name, partial(self._compile, loading, name, settings), loading.shapes)

    def _compile(self, loading: Loading, name: str, settings: Mapping[str, str], shapes: Shapes | None) -> Engine:
        artifact, path = loading.artifact(self)
        try:
            model = _core().read_model(path)
            if loading.changed:
                _change(model, loading)
            if shapes is not None:
                model.reshape({name: list(shape) for name, shape in shapes})
            compiled = _core().compile_model(model, "CPU", dict(settings))
        except EngineSetError:
            raise
        except Exception as error:
            version = self.probe().version
            raise EngineSetError(f"{path} is not a graph that {version} can load: {error}") from error
        # The weights were copied into the layouts of the kernels.
        del model
        release_mapped({path.resolve().parent})
        engine = OpenVinoEngine(compiled, name, self, artifact)
        asked = NAMES[settings["INFERENCE_PRECISION_HINT"]]
        if engine.precision != asked:
            what = f"{name} was asked to compute in {asked} and computes in {engine.precision}."
            warnings.warn(what, stacklevel=4)
        return engine


def _change(model: Any, loading: Loading) -> None:
    """Put changed weights in the place of a read graph's constants, which keep the names that the file has for them."""
    from openvino import op

    constants = {each.get_friendly_name(): each for each in model.get_ops() if each.get_type_name() == "Constant"}
    for name, array in loading.changed_in(constants).items():
        constants[name].output(0).replace(op.Constant(array, shared_memory=True).output(0))


def worth_compiling(engine_set: EngineSet, options: EngineOptions) -> bool:
    """Whether "auto" takes OpenVINO: for large sets, in bfloat16."""
    return options.precision != "fp32" and not lacks_bf16() and engine_set.size_of("unet") >= LEAST_WEIGHTS


def chosen_precision(options: EngineOptions, capabilities: Collection[str], backend: str) -> str:
    """What is asked for, "fp32" or "bf16"; with "auto" bf16 where the CPU device's `capabilities` have it.

    Raises:
        BackendUnavailable: bf16 was asked for, and this processor has no instructions for it.
    """
    capable = "BF16" in capabilities
    if options.precision == "bf16" and not capable:
        raise BackendUnavailable(
            f"{backend} cannot compute in bf16 on this processor, which has neither AMX nor AVX512-BF16. "
            "Use --precision fp32, or auto."
        )
    if options.precision == "auto":
        return "bf16" if capable else "fp32"
    return options.precision


def cpu_settings(precision: str, options: EngineOptions) -> dict[str, str]:
    """OpenVINO's settings of its CPU device, for the latency of one call."""
    return {
        "INFERENCE_PRECISION_HINT": HINTS[precision],
        "INFERENCE_NUM_THREADS": str(options.threads or usable_cores()),
        "NUM_STREAMS": "1",
        # Pinned, the threads of several processes share the same cores, and others stay idle.
        "ENABLE_CPU_PINNING": "NO",
    }


def computed_in(compiled: Any) -> str:
    """What most of a compiled graph's heavy layers compute in; "unknown" if it has none."""
    layers = [layer.get_rt_info() for layer in compiled.get_runtime_model().get_ops()]
    heavy = Counter(str(layer["runtimePrecision"].value) for layer in layers if layer["layerType"].value in HEAVY)
    return NAMES.get(heavy.most_common(1)[0][0], "unknown") if heavy else "unknown"


def _specs(stated: Sequence[Mapping[str, Any]], ports: Sequence[Any]) -> dict[str, TensorSpec]:
    """Of a manifest's entries, else of a graph's ports, whose free axes have no names."""
    found = [TensorSpec.stated(entry) for entry in stated] or [
        TensorSpec(
            port.any_name,
            port.element_type.to_dtype(),
            tuple(axis.get_length() if axis.is_static else f"axis {at}" for at, axis in enumerate(port.partial_shape)),
        )
        for port in ports
    ]
    return {spec.name: spec for spec in found}


@cache
def _core() -> Any:
    """OpenVINO's entry, which finds its devices; one a process."""
    return _library().Core()


def _library() -> Any:
    """OpenVINO's package, imported as if `openvino_telemetry` were missing: else it reports its import to Intel.

    A program that has imported either before keeps what it chose.
    """
    hidden = "openvino" not in sys.modules and TELEMETRY not in sys.modules
    if hidden:
        sys.modules[TELEMETRY] = None  # type: ignore[assignment]  # how Python notes a module that cannot be imported
    try:
        return importlib.import_module("openvino")
    finally:
        if hidden:
            del sys.modules[TELEMETRY]


def release_mapped(folders: Collection[Path]) -> int:
    """Drop the resident pages of files in `folders` that are mapped to be read; how many bytes of mappings that were.

    A full-size UNet in bfloat16 keeps 3.4 GB of float32 weights resident otherwise. Does nothing but on Linux.
    """
    if sys.platform != "linux" or not MAPS.exists():
        return 0
    advise = ctypes.CDLL(None).madvise
    released = 0
    for line in MAPS.read_text().splitlines():
        addresses, rights, *_, path = line.split(maxsplit=5)
        # Where pages can be written to, dropping them would lose what was written.
        if rights.startswith("r-") and Path(path).parent in folders:
            start, end = (int(address, 16) for address in addresses.split("-"))
            if advise(ctypes.c_void_p(start), ctypes.c_size_t(end - start), DONTNEED) == 0:
                released += end - start
    return released
