"""TensorRT and TensorRT-RTX: plans that `outpaint-export tensorrt` built from a set's ONNX files.

Both libraries speak one Python API, so one engine class and one backend serve them; what differs is in `FLAVOURS`.
A plan is native code. It is never downloaded, and only loaded when its SHA-256 is the manifest's. Buffers and streams
go through cuda-python. Libraries are imported on use; nothing here knows diffusion.
"""

import hashlib
import importlib
from dataclasses import dataclass
from types import ModuleType
from typing import Any

from ..engine_set import MANIFEST, Artifact, EngineSet, regular_file
from ..errors import EngineSetError
from .base import Backend, Engine, Loading, Probe
from .cuda_runtime import compute_capability, gpu_name
from .tensorrt_engine import LoadedPlan, TensorRTEngine

__all__ = ["FLAVOURS", "Flavour", "TensorRTBackend", "collected_messages"]


@dataclass(frozen=True)
class Flavour:
    """What differs between the two libraries.

    `name` is the backend's, the extra's, and the format of its plans in a manifest; `module` is what Python imports;
    `option` is its name on `outpaint-export tensorrt --flavour`. Plans of one that is `portable` are built without a
    GPU, for several kinds of GPU, and are finished by the library on the GPU that runs them.
    """

    name: str
    module: str
    option: str
    portable: bool


FLAVOURS = (
    Flavour("tensorrt", "tensorrt", "full", portable=False),
    Flavour("tensorrt-rtx", "tensorrt_rtx_bindings", "rtx", portable=True),
)


class TensorRTBackend(Backend):
    """One of the two libraries, on the first GPU that CUDA shows to this process."""

    device = "cuda"
    precisions = ("auto", "fp16")

    def __init__(self, flavour: Flavour) -> None:
        self.name = self.format = flavour.name
        self._flavour = flavour

    def _look(self) -> Probe:
        remedy = f'pip install "outpaint_engine[{self.name}]"'
        try:
            library = importlib.import_module(self._flavour.module)
            from cuda.bindings import runtime as cuda
        except ModuleNotFoundError as error:
            return Probe(False, reason=f"{error.name} is not installed", remedy=remedy)
        except Exception as error:  # a broken wheel may raise anything, and a probe never does
            return Probe(False, reason=f"{self._flavour.module} does not import: {error}", remedy=remedy)
        version = f"{self.name} {library.__version__}"
        try:
            status, count = cuda.cudaGetDeviceCount()
            reason = cuda.cudaGetErrorString(status)[1].decode() if int(status) else "CUDA shows none"
            if int(status) or not count:
                wanted = "install NVIDIA's driver, or use another device"
                return Probe(False, version, reason=f"no NVIDIA GPU can be used: {reason}", remedy=wanted)
            return Probe(True, version, f"{self.device} ({gpu_name()}, {compute_capability()})")
        except Exception as error:  # cuda-python raises where it cannot load the CUDA runtime
            return Probe(False, version, reason=f"CUDA does not start: {error}", remedy="reinstall NVIDIA's driver")

    def _open(self, loading: Loading) -> Engine:
        engine_set = loading.engine_set
        library = importlib.import_module(self._flavour.module)
        artifact = self._artifact(engine_set, loading.part)
        self.check_origin(engine_set, artifact, library.__version__, compute_capability())
        plan = self._read(engine_set, artifact)
        logger = collected_messages(library)
        runtime = library.Runtime(logger)
        engine = runtime.deserialize_cuda_engine(plan)
        if engine is None:
            raise EngineSetError(
                f"{engine_set.folder / artifact.file} cannot be loaded by {self.probe().version}: {logger.last_error}. "
                + self._rebuild(engine_set, artifact)
            )
        loaded = LoadedPlan(library, logger, runtime, engine)
        records = loading.options.cuda_graph is not False
        return TensorRTEngine(loaded, f"{loading.part} on {self.name}", artifact, records)

    def check_origin(self, engine_set: EngineSet, artifact: Artifact, version: str, capability: str) -> None:
        """Compare what a plan was built for and from with this machine and this set.

        `capability` is the GPU's, such as "sm89". Plans of a portable flavour that name no targets run on what the
        library's default covers, and the library itself refuses others.

        Raises:
            EngineSetError: they differ; the message names the command that builds the plan again.
        """
        built = artifact.built_for
        targets = built.get("targets", [])
        wrong = ""
        if built.get("version") != version:
            wrong = f"was built with {self.name} {built.get('version')}, and {version} is installed"
        elif targets and capability not in targets:
            wrong = f"was built for {', '.join(targets)}, and this GPU is {capability}"
        elif built.get("source") != dict(engine_set.artifact(artifact.part).files):
            wrong = "was built from other ONNX files than this set has now"
        if wrong:
            raise EngineSetError(
                f"{engine_set.folder / artifact.file} {wrong}. {self._rebuild(engine_set, artifact, capability)}"
            )

    def _read(self, engine_set: EngineSet, artifact: Artifact) -> bytes:
        """The bytes of a plan, which are the manifest's by their SHA-256: what is checked is what is then loaded."""
        path = engine_set.folder / artifact.file
        if not path.exists():
            raise EngineSetError(f"{path} is missing. {self._rebuild(engine_set, artifact)}")
        content = regular_file(engine_set.folder, artifact.file).read_bytes()
        if hashlib.sha256(content).hexdigest() != artifact.files[artifact.file]:
            raise EngineSetError(
                f"{path} is not the plan that was built here: its SHA-256 differs from {MANIFEST}. A plan is native "
                f"code, so it is not loaded. {self._rebuild(engine_set, artifact)}"
            )
        return content

    def _artifact(self, engine_set: EngineSet, part: str) -> Artifact:
        try:
            return engine_set.artifact(part, self.format)
        except EngineSetError as error:
            command = f"outpaint-export tensorrt {engine_set.folder} --flavour {self._flavour.option}"
            raise EngineSetError(f"{error} Build its plans: `{command}`.") from error

    def _rebuild(self, engine_set: EngineSet, artifact: Artifact, capability: str = "") -> str:
        options = artifact.built_for.get("options", f"--flavour {self._flavour.option}")
        target = f" with `--target {capability}`" if capability and artifact.built_for.get("targets") else ""
        return f"Build it again: `outpaint-export tensorrt {engine_set.folder} {options}`{target}."


def collected_messages(library: ModuleType) -> Any:
    """A logger for `library` that prints nothing; `last_error` and `layers` hold what is of use later."""
    base: Any = library.ILogger

    class Messages(base):  # type: ignore[misc] # a class of a module that is only known at run time
        def __init__(self) -> None:
            base.__init__(self)
            self.last_error, self.layers = "no reason given", ""

        def log(self, severity: Any, message: str) -> None:
            if severity in (base.ERROR, base.INTERNAL_ERROR):
                self.last_error = message.strip().rstrip(".")
            elif message.startswith("Layers:"):
                self.layers = message

    return Messages()
