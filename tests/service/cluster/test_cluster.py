"""The service on a Ray cluster: what it answers, and what remains of it when parts of the cluster go."""

import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any

import httpx2
import pytest
from sqlalchemy import select

pytest.importorskip("ray.serve", reason="Ray is not installed: the extra `cluster`")

from outpaint_engine.service.queue.store import Store
from outpaint_engine.service.queue.tables import Job

from ..queue.test_crashes import all_ended, check_books
from ..running import Running as Local
from ..running import until
from .clusters import Running, running
from .load import Load
from .toys import calls

pytestmark = pytest.mark.filterwarnings("default")


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A head, two nodes, and a painter on each."""
    with running(tmp_path_factory.mktemp("cluster")) as started:
        yield started


@pytest.fixture
def picture_here(serve: Callable[..., Local], body: dict[str, Any]) -> bytes:
    """The answer of a server without a cluster."""
    return serve().post(body).content


def test_the_answer_is_the_local_one_byte_for_byte(cluster: Running, body: dict[str, Any], picture_here: bytes) -> None:
    with cluster.client() as client:
        answer = client.post("/v1/sd1.5-outpaint", json=body)
    assert answer.status_code == 200 and answer.content == picture_here


@pytest.mark.parametrize("change", [{"prompt": "<lora:unknown:1>"}, {"image": "AAAA"}, {"scale": 0.0}])
def test_a_refusal_is_the_local_one(
    cluster: Running, serve: Callable[..., Local], body: dict[str, Any], change: dict[str, Any]
) -> None:
    here = serve().post(body | change)
    with cluster.client() as client:
        there = client.post("/v1/sd1.5-outpaint", json=body | change)
    assert there.status_code == here.status_code >= 400
    assert there.json() == here.json()


def test_progress_and_a_preview_come_from_the_painter(cluster: Running, body: dict[str, Any]) -> None:
    with cluster.client() as client:
        identity = client.post("/v2/sd1.5-outpaint", json=body | {"num_inference_steps": 60}).json()["request_id"]

        def shown() -> dict[str, Any] | None:
            progress: dict[str, Any] = client.get(f"/v2/requests/{identity}/status?preview=true").json()["progress"]
            return progress if progress["step"] and progress.get("preview") else None

        assert until(shown, 20)["steps"] == 60
        client.delete(f"/v2/requests/{identity}")


@pytest.mark.parametrize("way", ["hangs up", "cancels"])
def test_a_run_ends_within_a_step_when_its_client(cluster: Running, body: dict[str, Any], way: str) -> None:
    slow, before = cluster.folder / "slow", len(calls(cluster.folder))
    slow.touch()
    long = body | {"num_inference_steps": 100}
    with cluster.client() as client:
        if way == "hangs up":
            with pytest.raises(httpx2.TimeoutException):
                client.post("/v1/sd1.5-outpaint", json=long, timeout=3)
        else:
            identity = client.post("/v2/sd1.5-outpaint", json=long).json()["request_id"]
            until(lambda: len(calls(cluster.folder)) > before, 20)
            client.delete(f"/v2/requests/{identity}")
    run = len(calls(cluster.folder))
    assert run > before
    time.sleep(2)
    # The one under way, and one that began before the word was there.
    assert len(calls(cluster.folder)) <= run + 2
    slow.unlink()


def test_nothing_is_lost_or_charged_twice_when_parts_of_the_cluster_go(cluster: Running, body: dict[str, Any]) -> None:
    with Load(cluster, body | {"num_inference_steps": 10}) as load:
        for befalls in (lambda: cluster.kill("Painter"), cluster.remove_node, lambda: cluster.kill("Api")):
            time.sleep(2)
            befalls()
        cluster.add_node()
        until(lambda: cluster.ready(painters=2), 60)
    with closing(Store(cluster.database)) as store:
        until(lambda: all_ended(store), 60)
        check_books(store, cluster.folder / "results")
        with store.reading() as session:
            jobs = session.scalars(select(Job)).all()
    ends = Counter((job.state, job.error) for job in jobs if job.id in set(load.accepted))
    assert ends == {("COMPLETED", None): len(load.accepted)} and len(load.accepted) > 10
    results = [cluster.folder / "results" / "results" / f"{job.result}.jpg" for job in jobs if job.id in load.accepted]
    assert len({file.read_bytes() for file in results}) == 1
