"""Drives TensorRT's builder: a typed ONNX file and shape profiles in, a serialised plan out.

Nothing is asked of the timing cache for TensorRT-RTX: it has no effect there, and using it makes the library look for
a GPU, where building needs none.
"""

import signal
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

import onnx_ir as ir

from outpaint_engine.engines import Profile, collected_messages

from ..errors import ConversionError

__all__ = ["BuildOptions", "Fusion", "build_plan"]

FUSED_HEADS = range(16, 257)
"""Sizes of an attention head that the library has fused kernels for (tried with TensorRT-RTX 1.7.1)."""
FEWEST_HEADS = 2
"""A single head is taken for matrix products where shapes are fixed, and comes out unfused (tried as well)."""
FUSED_LAYER = "Name: _gemm_mha"
"""How the builder's list of layers calls fused attention."""


@dataclass(frozen=True)
class BuildOptions:
    """`targets` are compute capabilities such as "sm89", none for the library's default.

    `timing_cache` is read and written where given. `report` is called with the share that is done, in [0, 1].
    """

    targets: tuple[str, ...] = ()
    timing_cache: Path | None = None
    report: Callable[[float], None] = field(default=lambda share: None)


@dataclass(frozen=True)
class Fusion:
    """What became of attention: operators in the graph, how many of them must be fused, fused layers listed.

    The library lists the layers of every profile, so a plan of n profiles has n times as many; None where it lists
    nothing.
    """

    operators: int
    required: int
    layers: int | None


def build_plan(
    library: ModuleType, graph: Path, profiles: Sequence[Profile], plan: Path, options: BuildOptions
) -> Fusion:
    """Build the typed ONNX file `graph` for `profiles` and write it to `plan`.

    Raises:
        ConversionError: the library cannot parse or build it, with the library's reason; or attention is not fused
            that must be.
    """
    logger = collected_messages(library)
    try:
        builder: Any = library.Builder(logger)
    except TypeError as error:
        # pybind's answer to a null builder, which is what the library makes where it finds no GPU and needs one.
        raise ConversionError(f"{library.__name__} cannot build here: {logger.last_error}.") from error
    # Networks are strongly typed in any case from TensorRT 11 on; TensorRT 10 has to be told.
    network = builder.create_network(1 << int(library.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    attention = _parse(library, network, logger, graph)
    config = builder.create_builder_config()
    config.profiling_verbosity = library.ProfilingVerbosity.DETAILED
    _set_targets(library, config, options.targets)
    _add_profiles(builder, config, profiles)
    if options.timing_cache:
        _set_timing_cache(config, options.timing_cache)
    with _interrupts_deferred() as interrupted:
        config.progress_monitor = _monitor(library, options.report, interrupted)
        built = builder.build_serialized_network(network, config)
    if built is None:
        raise ConversionError(f"{library.__name__} {library.__version__} cannot build {graph}: {logger.last_error}.")
    plan.write_bytes(built)
    if options.timing_cache:
        options.timing_cache.write_bytes(config.get_timing_cache().serialize())
    return _fusion(attention, logger.layers, len(profiles))


def _parse(library: ModuleType, network: Any, logger: Any, graph: Path) -> Counter[bool]:
    """Fill `network`; count the attention operators by whether they must be fused.

    TensorRT refuses to build an attention that no fused kernel fits, unless told that it may be taken apart. It is
    told so only where no kernel can fit: the VAE's single head of 512.
    """
    model = ir.load(graph)
    attention: Counter[bool] = Counter()
    for node in model.graph:
        if node.op_type == "Softmax":
            raise ConversionError(
                f"The graph of the {graph.parent.name} spells attention out instead of using the operator Attention, "
                "so it would not be fused. Export the checkpoint with `outpaint-export onnx`, opset 23."
            )
        if node.op_type == "Attention":
            heads, size = _heads(node)
            must = heads >= FEWEST_HEADS and size in FUSED_HEADS
            attention[must] += 1
            # The parser's own attribute (onnx-tensorrt, builtin_op_importers.cpp).
            node.attributes["TRT_decomposable"] = ir.AttrInt64("TRT_decomposable", int(not must))
    parser = library.OnnxParser(network, logger)
    if not parser.parse(ir.to_proto(model).SerializeToString(), str(graph)):
        reasons = "; ".join(str(parser.get_error(index).desc()) for index in range(parser.num_errors))
        raise ConversionError(f"{library.__name__} {library.__version__} cannot read {graph}: {reasons}.")
    return attention


def _heads(node: ir.Node) -> tuple[int, int]:
    """How many heads an attention has, and their size; 0 where the graph does not say."""
    query = node.inputs[0]
    shape = query.shape if query is not None and query.shape is not None else (0, 0, 0, 0)
    heads, size = shape[1], shape[-1]
    return (heads if isinstance(heads, int) else 0), (size if isinstance(size, int) else 0)


def _set_targets(library: ModuleType, config: Any, targets: Sequence[str]) -> None:
    if not targets:
        return
    known = library.ComputeCapability.__members__
    config.num_compute_capabilities = len(targets)
    for index, target in enumerate(targets):
        if target.upper() not in known or not config.set_compute_capability(known[target.upper()], index):
            names = ", ".join(name.lower() for name in known if name.startswith("SM"))
            raise ConversionError(
                f"{library.__name__} {library.__version__} does not build for {target}; it has {names}."
            )


def _add_profiles(builder: Any, config: Any, profiles: Sequence[Profile]) -> None:
    for shapes in profiles:
        profile = builder.create_optimization_profile()
        for name, bounds in shapes.items():
            profile.set_shape(name, *bounds)
        config.add_optimization_profile(profile)


def _set_timing_cache(config: Any, file: Path) -> None:
    cache = config.create_timing_cache(file.read_bytes() if file.exists() else b"")
    # A cache of another GPU or version is refused, and the timings are taken again.
    config.set_timing_cache(cache, ignore_mismatch=False)


def _fusion(attention: Counter[bool], listed: str, profiles: int) -> Fusion:
    layers = sum(line.startswith(FUSED_LAYER) for line in listed.splitlines()) if listed else None
    if layers is not None and layers < attention[True] * profiles:
        raise ConversionError(
            f"Only {layers} of {attention[True] * profiles} attention layers came out fused ({attention[True]} "
            f"operators, {profiles} profiles). Report this with the checkpoint's name and the library's version."
        )
    return Fusion(attention.total(), attention[True], layers)


def _monitor(library: ModuleType, report: Callable[[float], None], interrupted: threading.Event) -> Any:
    """A progress monitor that reports the share of the outermost phase that is done, and stops when `interrupted`."""
    base: Any = library.IProgressMonitor

    class Monitor(base):  # type: ignore[misc] # a class of a module that is only known at run time
        def __init__(self) -> None:
            base.__init__(self)
            self._outermost, self._steps = "", 1

        def phase_start(self, phase_name: str, parent_phase: str | None, num_steps: int) -> None:
            if parent_phase is None:
                self._outermost, self._steps = phase_name, num_steps

        def step_complete(self, phase_name: str, step: int) -> bool:
            if phase_name == self._outermost:
                report((step + 1) / self._steps)
            return not interrupted.is_set()

        def phase_finish(self, phase_name: str) -> None:
            pass

    return Monitor()


@contextmanager
def _interrupts_deferred() -> Iterator[threading.Event]:
    """Let Ctrl-C set an event, and raise `KeyboardInterrupt` at the end: the library's callbacks must not raise."""
    interrupted = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield interrupted
        return
    before = signal.signal(signal.SIGINT, lambda *_: interrupted.set())
    try:
        yield interrupted
    finally:
        signal.signal(signal.SIGINT, before)
    if interrupted.is_set():
        raise KeyboardInterrupt
