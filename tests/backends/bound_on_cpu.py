"""What ort-cuda does around its sessions, without a GPU."""

from outpaint_engine.engines import Engine, Loading
from outpaint_engine.engines.cuda import CudaEngine
from outpaint_engine.engines.onnx import OnnxBackend, open_session, settings


class BoundOnCpu(OnnxBackend):
    """The buffers of ort-cuda, and the way it runs recorded graphs, on the CPU provider: for want of a GPU."""

    def __init__(self, name: str, *, graph: bool, kind: type[CudaEngine] = CudaEngine) -> None:
        super().__init__(name, "cpu", "CPUExecutionProvider", "cpu", ("auto", "fp32"))
        self._graph, self._kind = graph, kind

    def _open(self, loading: Loading) -> Engine:
        session = open_session(loading.artifact(self)[1], settings(loading.options), ["CPUExecutionProvider"])
        return self._kind(session, loading.part, self, "fp32", graph=self._graph)
