"""What the dispatcher does with painters elsewhere, which may be lost; no Ray is needed for it."""

import asyncio
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from outpaint_engine.errors import BackendUnavailable, EngineError, EngineSetError, RequestError
from outpaint_engine.images import encode
from outpaint_engine.service.app import create_app
from outpaint_engine.service.cluster.painter import ClusterPainter
from outpaint_engine.service.cluster.plan import Plan, Replicas
from outpaint_engine.service.cluster.said import Made, Refused, Said
from outpaint_engine.service.configuration import Configuration
from outpaint_engine.service.engine_files import engines_here
from outpaint_engine.service.painters import LocalPainters, PainterLost, Painting, RunFailed, Step
from outpaint_engine.service.painting import Painted, Painter
from outpaint_engine.service.queue.accounts import Accounts
from outpaint_engine.service.queue.files import Files
from outpaint_engine.service.queue.orders import Order
from outpaint_engine.service.queue.store import Store
from outpaint_engine.service.queue.tables import Job
from outpaint_engine.service.routes.caller import Service
from outpaint_engine.shared import SharedPipeline

from ..conftest import toy_pipeline
from .running import Gate, until
from .small import SMALL

FIELDS = {"width": 64, "height": 64, "num_inference_steps": 3, "strength": 1.0, "seed": 1}


class Elsewhere:
    """Painters that do as `script` says for each painting: steps, then an error, or the picture."""

    elsewhere = True

    def __init__(self, *script: Exception | None) -> None:
        self.script, self.cancels = list(script), 0
        self.free, self.paintings = threading.Event(), 0
        self.free.set()

    def places(self) -> int:
        return 1

    def warm_up(self, side: int) -> None:
        pass

    def paint(self, picture: bytes, fields: Mapping[str, Any], suffix: str) -> Painting:
        self.paintings += 1
        return _Painting(self, self.script.pop(0) if self.script else None)


class _Painting:
    def __init__(self, painters: Elsewhere, error: Exception | None) -> None:
        self._painters, self._error, self._ended = painters, error, threading.Event()
        self.painted: Painted | None = None

    def __iter__(self) -> Iterator[Step]:
        yield Step(1, 3)
        while not self._painters.free.wait(0.01):
            if self._ended.is_set():
                return
        if self._error:
            raise self._error
        self.painted = Painted(b"a picture", b"{}", 1.0, {})

    def preview(self) -> bytes | None:
        return None

    def cancel(self) -> None:
        self._painters.cancels += 1
        self._ended.set()

    def close(self) -> None:
        pass


@contextmanager
def service_over(painters: Elsewhere, folder: Path) -> Iterator[Service]:
    configuration = Configuration(**SMALL | {"workers": 1, "max_attempts": 2})
    with closing(Store(f"sqlite:///{folder}/store.db")) as store:
        Accounts(store).create_key("ann", 10_000_000)
        service: Service = create_app(configuration, store, Files(folder), painters).state.service
        service.workers.start()
        try:
            yield service
        finally:
            service.workers.stop()
            service.decoders.close()


def ended(service: Service, identity: str) -> Job:
    def look() -> Job | None:
        job = service.jobs.find("ann", identity)
        return job if job is not None and job.ended else None

    found: Job = until(look)
    return found


def submit(service: Service) -> str:
    identity = service.jobs.submit(Order(b"picture", dict(FIELDS), False), "ann", awaited=False).job.id
    service.workers.submitted()
    return identity


def test_a_job_whose_painter_is_lost_is_handed_to_another(tmp_path: Path) -> None:
    with service_over(Elsewhere(PainterLost("gone")), tmp_path) as service:
        job = ended(service, submit(service))
    assert (job.state, job.attempt) == ("COMPLETED", 2)


def test_a_job_that_loses_every_painter_is_given_up(tmp_path: Path) -> None:
    painters = Elsewhere(*[PainterLost("gone")] * 9)
    with service_over(painters, tmp_path) as service:
        job = ended(service, submit(service))
    assert (job.state, job.reason, painters.paintings) == ("FAILED", "internal", 2)
    assert job.error == "The run was tried 2 times and did not end. Nothing was charged."


@pytest.mark.parametrize(
    ("error", "reason"), [(RunFailed("Internal error 1."), "internal"), (RequestError("a refusal"), "input")]
)
def test_what_a_painter_says_of_a_run_is_the_answer(tmp_path: Path, error: Exception, reason: str) -> None:
    with service_over(Elsewhere(error), tmp_path) as service:
        job = ended(service, submit(service))
    assert (job.state, job.reason, job.error) == ("FAILED", reason, str(error))


def test_a_cancel_is_told_to_the_painter_at_once(tmp_path: Path) -> None:
    painters = Elsewhere()
    painters.free.clear()
    with service_over(painters, tmp_path) as service:
        identity = submit(service)
        until(lambda: painters.paintings)
        service.jobs.cancel("ann", identity, "cancelled", "cancelled")
        until(lambda: painters.cancels)
        assert service.jobs.counts() == {"FAILED": 1}


def test_a_server_that_stops_gives_back_what_is_painted_elsewhere(tmp_path: Path) -> None:
    painters = Elsewhere()
    painters.free.clear()
    with service_over(painters, tmp_path) as service:
        submit(service)
        until(lambda: painters.paintings)
    with closing(Store(f"sqlite:///{tmp_path}/store.db")) as store, store.reading() as session:
        job = session.query(Job).one()
    assert (job.state, job.attempt) == ("QUEUED", 0)


def plan_over(gate: Gate, **changes: Any) -> Plan:
    configuration = Configuration(**SMALL | {"workers": 2} | changes)
    return Plan(lambda: SharedPipeline(toy_pipeline(unet=gate), 2), configuration, "", "")


def a_picture() -> bytes:
    from PIL import Image

    return encode(Image.fromarray(np.full((32, 32, 3), 90, np.uint8)), ".png")


async def all_said(painter: ClusterPainter, **fields: Any) -> list[Said]:
    return [said async for said in painter.paint("run", a_picture(), FIELDS | fields, ".png")]


def test_a_painter_of_a_cluster_paints_what_the_local_one_does() -> None:
    painter, here = ClusterPainter(plan_over(Gate())), SharedPipeline(toy_pipeline())
    *steps, painted = asyncio.run(all_said(painter))
    painting = LocalPainters(Painter(here), 1).paint(a_picture(), FIELDS, ".png")
    assert all(isinstance(step, Made) for step in steps) and steps
    assert len(list(painting)) == 3 and painting.painted is not None
    assert isinstance(painted, Painted) and painted.picture == painting.painted.picture


def test_a_painter_of_a_cluster_says_why_it_refuses() -> None:
    painter = ClusterPainter(plan_over(Gate()))
    assert asyncio.run(all_said(painter, prompt="<lora:none:1>"))[-1][0] == "input"


def test_a_painter_whose_engine_hangs_fails_the_run_and_is_not_healthy() -> None:
    gate = Gate()
    painter = ClusterPainter(plan_over(gate, lease_seconds=0.2))
    painter.check_health()
    gate.close()
    said = asyncio.run(all_said(painter))[-1]
    assert said == Refused("internal", "The engine did not answer within 0.2 seconds. Nothing was charged.")
    with pytest.raises(EngineError, match="did not answer"):
        painter.check_health()
    gate.open()


@pytest.mark.parametrize("way", ["by whoever asked", "by a server that is new"])
def test_a_run_ends_with_its_step_when_it_is_ended(way: str) -> None:
    gate = Gate()
    painter = ClusterPainter(plan_over(gate))

    async def begin_and_leave() -> None:
        steps = painter.paint("old-1", a_picture(), FIELDS | {"num_inference_steps": 50}, ".png")
        await anext(steps)
        if way == "by whoever asked":
            await steps.aclose()
        else:
            await painter.end_others("new")
            assert [said async for said in steps if not isinstance(said, Made)] == []

    gate.open(3)
    asyncio.run(begin_and_leave())
    run = gate.calls
    gate.open()
    time.sleep(0.2)
    assert gate.calls <= run + 1


@pytest.mark.parametrize(("text", "found"), [("4", Replicas(4, 4)), ("1:8", Replicas(1, 8))])
def test_how_many_painters_is_a_number_or_a_range(text: str, found: Replicas) -> None:
    assert Replicas.read(text) == found


@pytest.mark.parametrize("text", ["", "0", "3:2", "a", "1:2:3", "-1"])
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(RequestError, match="fewest and the most"):
        Replicas.read(text)


def test_a_store_that_is_shared_is_not_for_a_cluster() -> None:
    with pytest.raises(RequestError, match="shared_store"):
        plan_over(Gate(), shared_store=True)


def test_an_engine_set_is_fetched_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("fsspec", reason="fsspec is not installed: the extra `test`")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (tmp_path / "set/unet").mkdir(parents=True)
    (tmp_path / "set/unet/model.onnx").write_bytes(b"weights")
    url = f"file://{tmp_path}/set"
    here = Path(engines_here(url))
    (tmp_path / "set/unet/model.onnx").unlink()
    assert (here / "unet/model.onnx").read_bytes() == b"weights" and engines_here(url) == str(here)
    assert engines_here("demo") == "demo"


def test_an_engine_set_that_is_not_there_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("fsspec", reason="fsspec is not installed: the extra `test`")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    with pytest.raises(EngineSetError, match="no engine set at"):
        engines_here(f"file://{tmp_path}/none")
    with pytest.raises((EngineSetError, BackendUnavailable), match="nosuch"):
        engines_here("nosuch://bucket/set")
