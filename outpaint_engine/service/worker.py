"""Threads that run jobs on one loaded model: claim, run step by step, publish. They know nothing of HTTP."""

import dataclasses
import json
import threading
import time

from sqlalchemy.exc import SQLAlchemyError

from ..errors import ImageError, OutputError, RequestError
from ..images import encode
from ..request import OutpaintRequest
from ..run import OutpaintResult, Progress
from ..shared import SharedPipeline
from .bell import Bell
from .configuration import Configuration
from .failures import record_failure
from .metrics import Metrics
from .queue.files import Files
from .queue.leases import Claim, Leases
from .queue.tables import Reason

__all__ = ["Workers"]

IDLE_SECONDS = 0.5
PRUNE_SECONDS = 60.0
PREVIEW_SIDE = 256


class Workers:
    """`configuration.workers` threads that share a model, and one that deletes what is old."""

    def __init__(
        self, model: SharedPipeline, leases: Leases, files: Files, configuration: Configuration, metrics: Metrics
    ) -> None:
        self._model, self._leases, self._files = model, leases, files
        self._configuration, self._metrics = configuration, metrics
        self.bell = Bell()
        self._wake, self._stopping, self._warming = threading.Semaphore(0), threading.Event(), threading.Lock()
        self._threads: list[threading.Thread] = []
        self.warm = False
        self.last_run_fine = True

    def start(self) -> None:
        """Begin; the engines are warmed before a thread takes a job."""
        count = self._configuration.workers
        self._threads = [threading.Thread(target=self._work, name=f"worker-{index}") for index in range(count)]
        self._threads.append(threading.Thread(target=self._prune, name="prune"))
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """End after the current step of each run; unfinished jobs go back to the queue."""
        self._stopping.set()
        for _ in self._threads:
            self._wake.release()
        for thread in self._threads:
            thread.join()

    @property
    def alive(self) -> bool:
        """Whether every thread runs."""
        return bool(self._threads) and all(thread.is_alive() for thread in self._threads)

    def submitted(self) -> None:
        """A job is waiting: an idle thread should look."""
        self._wake.release()

    def _work(self) -> None:
        while not self._stopping.is_set():
            try:
                with self._warming:
                    if not self.warm:
                        self._warm_up()
                claim = self._leases.claim()
                if claim is not None:
                    self._run(claim)
                elif not self._wake.acquire(timeout=IDLE_SECONDS) and not self.last_run_fine:
                    # Nobody sends requests to a server that is not ready: it must find out by itself.
                    self._warm_up()
            except Exception as error:
                # The store or the disk failed. The lease of the job, if one was held, ends by itself.
                record_failure(error, "work")
                self._stopping.wait(1)

    def _warm_up(self) -> None:
        try:
            self._model.warm_up(self._configuration.canvas_sides[0])
        except Exception:
            self.last_run_fine = False
            raise
        self.warm = self.last_run_fine = True

    def _run(self, claim: Claim) -> None:
        """Run one job to one of its ends; errors of the store and the disk are the caller's."""
        job = claim.job
        self._metrics.queue_wait.observe(max(0.0, (job.started or 0) - job.created))
        try:
            outcome = self._paint(claim)
            self.last_run_fine = self.last_run_fine or outcome == "completed"
        except (RequestError, ImageError) as error:
            outcome = self._failed(claim, "input", str(error))
        except (SQLAlchemyError, OSError, OutputError):
            raise
        except Exception as error:
            self.last_run_fine = False
            outcome = self._failed(claim, "internal", f"Internal error {record_failure(error, 'a run')}.")
        self._metrics.ended.labels(outcome).inc()
        self.bell.ring(job.id)

    def _failed(self, claim: Claim, reason: Reason, sentence: str) -> str:
        return "failed" if self._leases.fail(claim, reason, sentence) else "lost"

    def _paint(self, claim: Claim) -> str:
        began, kept = time.perf_counter(), claim
        request = OutpaintRequest(image=self._files.picture(claim.job.id), **json.loads(claim.job.fields))
        with self._model.steps(request) as run:
            for progress in run:
                self._metrics.steps.inc()
                beaten, preview_asked = self._leases.beat(kept, progress.step, progress.steps)
                if beaten is None:
                    return "lost"
                kept = beaten
                if self._stopping.is_set():
                    self._leases.give_back(kept)
                    return "given back"
                if preview_asked:
                    self._leases.show(kept, _thumbnail(progress))
        result = run.result
        jpeg = encode(result.images[0], ".jpg")
        for stage, seconds in result.timings.stages.items():
            self._metrics.inference.labels(stage).observe(seconds)
        self._metrics.inference.labels("unet").observe(sum(result.timings.steps))
        published = self._leases.publish(kept, jpeg, _report(result), time.perf_counter() - began)
        return "completed" if published else "lost"

    def _prune(self) -> None:
        while not self._stopping.is_set():
            try:
                self._leases.prune()
            except Exception as error:
                record_failure(error, "pruning")
            self._stopping.wait(PRUNE_SECONDS)


def _thumbnail(progress: Progress) -> bytes:
    picture = progress.preview()
    picture.thumbnail((PREVIEW_SIDE, PREVIEW_SIDE))
    return encode(picture, ".jpg")


def _report(result: OutpaintResult) -> bytes:
    """What was measured on the picture, and what a person should know of it, as JSON."""
    facts = {
        "quality": dataclasses.asdict(result.quality[0]),
        "notes": list(result.notes),
        "seed": result.seed,
        "timings": result.timings.stages | {"steps": result.timings.steps},
        "backend": result.backend,
        "device": result.device,
        "precision": result.precision,
        "engine_set": result.engine_set,
    }
    return json.dumps(facts).encode()
