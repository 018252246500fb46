"""What ort-cuda does around its sessions, without a GPU."""

from outpaint_engine.engine_set import EngineSet
from outpaint_engine.engines import Engine, EngineOptions
from outpaint_engine.engines.cuda import CudaEngine
from outpaint_engine.engines.onnx import OnnxBackend
from outpaint_engine.engines.session import open_session, settings


class BoundOnCpu(OnnxBackend):
    """The buffers of ort-cuda, and the way it runs recorded graphs, on the CPU provider: for want of a GPU."""

    def __init__(self, name: str, *, graph: bool) -> None:
        super().__init__(name, "cpu", "CPUExecutionProvider", "cpu", ("auto", "fp32"))
        self._graph = graph

    def load(self, engine_set: EngineSet, part: str, options: EngineOptions) -> Engine:
        self.require(options)
        path = engine_set.folder / engine_set.artifact(part).file
        session = open_session(path, settings(options), ["CPUExecutionProvider"])
        return CudaEngine(session, part, self, "fp32", graph=self._graph, place="cpu")
