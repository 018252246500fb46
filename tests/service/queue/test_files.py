"""Files are kept whole or not at all, in a folder and in an object store alike."""

import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from fsspec.implementations.memory import MemoryFileSystem

from outpaint_engine.errors import BackendUnavailable, OutputError
from outpaint_engine.service.queue import places
from outpaint_engine.service.queue.files import Files
from outpaint_engine.service.queue.jobs import Jobs
from outpaint_engine.service.queue.leases import Leases

from ..running import Running
from .test_leases import Bench

JOB = "a1" * 16


@pytest.fixture(params=["folder", "file", "memory"])
def where(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """A folder, and URLs of the same and of an object store."""
    memory = "memory://bucket/kept"
    yield {"folder": f"{tmp_path}/kept", "file": f"file://{tmp_path}/kept", "memory": memory}[request.param]
    MemoryFileSystem.store.clear()


def test_what_is_kept_is_read_until_it_is_dropped(where: str) -> None:
    files = Files(where)
    files.keep("name-1", ".png", b"first", b"{}")
    files.keep("name-1", ".png", b"picture", b'{"safety": [{"flagged": true}]}')
    files.keep_picture(JOB, b"sent")
    again = Files(where)
    assert (again.read("name-1", ".png"), again.picture(JOB), again.flagged("name-1")) == (b"picture", b"sent", True)
    for _ in range(2):
        files.drop("name-1")
        files.drop_picture(JOB)
    assert again.read("name-1", ".png") is None
    with pytest.raises(OutputError, match="is gone"):
        again.picture(JOB)


def test_a_crash_leaves_files_that_are_swept_when_they_are_old(
    where: str, tmp_path: Path, body: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = Bench(tmp_path, body)
    files, configuration = Files(where), bench.configuration
    jobs, leases = (made(bench.store, files, configuration) for made in (Jobs, Leases))
    done, waits = (jobs.submit(bench.order, "ann", awaited=False).job for _ in range(2))
    claim = leases.claim()
    assert claim is not None and leases.publish(claim, b"jpeg", b"{}", 1.0)
    files.keep(f"{JOB}-1", ".jpg", b"orphan", b"{}")
    files.keep_picture(JOB, b"orphan")

    def swept() -> None:
        for _ in range(places.SHARDS if where.startswith("memory") else 1):
            leases.sweep()

    swept()
    assert files.read(f"{JOB}-1", ".jpg") == files.picture(JOB) == b"orphan"
    tomorrow = time.time() + 86_400
    monkeypatch.setattr(time, "time", lambda: tomorrow)
    swept()
    assert files.read(f"{JOB}-1", ".jpg") is files.read(f"{JOB}-1", ".json") is None
    assert files.read(f"{done.id}-1", ".jpg") == b"jpeg" and files.picture(waits.id)
    with pytest.raises(OutputError):
        files.picture(JOB)
    bench.store.close()


def test_a_sweep_lists_a_part_of_an_object_store_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "time", lambda: 10.0**11)
    place, names = places.opened("memory://bucket", "results"), [f"{number:02x}-1.jpg" for number in range(256)]
    for name in names:
        place.keep(name, b"")
    assert [list(place.old(0)) for _ in names] == [[name] for name in names]
    MemoryFileSystem.store.clear()


def test_an_object_store_that_fails_is_an_error_of_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    class KeyError_(Exception):
        pass

    def fails(*_: Any, **__: Any) -> None:
        raise KeyError_("no credentials")

    files = Files("memory://bucket")
    for call in ("pipe_file", "cat_file", "rm_file"):
        monkeypatch.setattr(MemoryFileSystem, call, fails)
    uses: list[Callable[[], object]] = [files.probe, lambda: files.read("name", ".jpg"), lambda: files.drop("name")]
    for use in uses:
        with pytest.raises(OutputError, match="no credentials"):
            use()
    with pytest.raises(OutputError, match="no credentials"):
        Files("memory://bucket")


def test_a_url_that_nothing_opens_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(OutputError, match="nowhere://"):
        Files("nowhere://bucket")
    monkeypatch.setitem(sys.modules, "s3fs", None)
    with pytest.raises(BackendUnavailable, match=r"outpaint_engine\[s3\]"):
        Files("s3://bucket/folder")


def test_a_request_is_answered_from_an_object_store_by_a_signed_link(
    serve: Callable[..., Running], body: dict[str, Any]
) -> None:
    running = serve(kept="memory://bucket")
    done = running.ended(running.submit(body))
    answer = running.client.get(done["output"], headers={"x-api-key": ""})
    assert answer.content.startswith(b"\xff\xd8\xff")
    assert not [name for name in MemoryFileSystem.store if "/pictures/" in name and not name.endswith(".probe")]
    assert not running.results.exists()
    MemoryFileSystem.store.clear()
