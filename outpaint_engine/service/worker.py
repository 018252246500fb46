"""Threads that see jobs through: claim, hand to a painter, publish. They know nothing of HTTP.

An account for which nothing runs does not wait for another's long run: between two of its steps the thread runs the
short job as a guest, and goes on. A thread whose step does not end is replaced, and its job fails. Both are for
painters in this process: those elsewhere have more places, and are watched where they are. A job whose painter is lost
is handed to another.
"""

import json
import threading
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field

from sqlalchemy.exc import SQLAlchemyError

from ..errors import ImageError, OutputError, RequestError, SafetyError
from .bell import Bell
from .configuration import Configuration
from .failures import record_failure
from .metrics import Metrics
from .painters import PainterLost, Painters, Painting, RunFailed
from .painting import Painted
from .queue.files import Files
from .queue.leases import Claim, Leases
from .queue.tables import Reason
from .upkeep import delete_what_is_old

__all__ = ["SPARE_PLACES", "Workers"]

IDLE_SECONDS = 0.25
"""How often one of the threads that wait looks into the store; each of them, so many times as seldom."""
LOST_SECONDS = 0.5
"""A painter that is gone is given so long to be known as such, before its job is handed on."""
GUEST_SECONDS = 0.1
"""How often a run looks whether a guest waits."""
MAX_ABANDONED = 2
"""Threads for each worker that may hang before no more are started: then only another process helps."""
SPARE_PLACES = 1 + MAX_ABANDONED
"""Runs for each worker that may stand still on the model, beside the one that goes on."""
HUNG = "The engine did not answer within {:g} seconds. Nothing was charged."


@dataclass(eq=False)
class Hand:
    """One thread; `since` is the monotonic time of its last sign of life in what it does now, None while it waits."""

    number: int
    claims: list[Claim] = field(default_factory=list)
    """What it runs: a job, and after it the guest for which that one stands still."""
    since: float | None = None
    replaced: bool = False
    thread: threading.Thread | None = None


class Workers:
    """`configuration.workers` threads, one that watches them, and one that deletes what is old.

    As many of them claim jobs as the painters have places.
    """

    def __init__(
        self, painters: Painters, leases: Leases, files: Files, configuration: Configuration, metrics: Metrics
    ) -> None:
        self._painters, self._leases, self._files = painters, leases, files
        self._configuration, self._metrics = configuration, metrics
        self.bell = Bell()
        self._wake, self._stopping, self._warming = threading.Semaphore(0), threading.Event(), threading.Lock()
        self._hands: list[Hand] = []
        self._paintings: dict[str, Painting] = {}
        self._keepers: list[threading.Thread] = []
        self.warm = False
        self.last_run_fine = True
        self.queue_readable = True

    def start(self) -> None:
        """Begin; the engines are warmed before a thread takes a job."""
        for number in range(self._configuration.workers):
            self._hire(number)
        self._keepers = [
            _started(self._watch),
            _started(lambda: delete_what_is_old(self._leases, self._stopping)),
        ]

    def stop(self) -> None:
        """End after the current step of each run; unfinished jobs go back to the queue. What hangs is left behind."""
        self._stopping.set()
        for _ in self._hands:
            self._wake.release()
        for painting in list(self._paintings.values()):
            painting.cancel()
        deadline = time.monotonic() + self._configuration.lease_seconds
        for thread in [*self._keepers, *(hand.thread for hand in self._hands if not hand.replaced)]:
            if thread is not None:
                thread.join(max(0.0, deadline - time.monotonic()))

    @property
    def alive(self) -> bool:
        """Whether every thread runs, and as many workers as there should be."""
        at_work = sum(_lives(hand.thread) for hand in self._hands if not hand.replaced)
        return at_work == self._configuration.workers and all(map(_lives, self._keepers))

    @property
    def engine_answers(self) -> bool:
        """Whether there is a painter, and no step takes longer than its limit."""
        return self._painters.places() > 0 and not any(self._hangs(hand) for hand in self._hands)

    def submitted(self) -> None:
        """A job is waiting: an idle thread should look."""
        self._wake.release()

    def cancelled(self, identity: str) -> None:
        """A job was cancelled: who paints it elsewhere should stop. Here the next step finds out."""
        painting = self._paintings.get(identity)
        if painting is not None:
            painting.cancel()

    def _hire(self, number: int) -> None:
        hand = Hand(number)
        self._hands.append(hand)
        hand.thread = _started(lambda: self._work(hand))

    def _work(self, hand: Hand) -> None:
        idle = IDLE_SECONDS * self._configuration.workers
        while not (self._stopping.is_set() or hand.replaced):
            if hand.number >= self._painters.places():
                self._stopping.wait(1)
                continue
            try:
                if not self.warm:
                    with self._warming:
                        self._warm_up()
                claim = self._leases.claim()
                self.queue_readable = True
                if claim is not None:
                    self._run(hand, claim)
                elif not self._wake.acquire(timeout=idle) and not self.last_run_fine:
                    # Nobody sends requests to a server that is not ready: it must find out by itself.
                    hand.since = time.monotonic()
                    self._warm_up()
            except Exception as error:
                # The store or the disk failed. The lease of the job, if one was held, ends by itself.
                self.queue_readable = not isinstance(error, SQLAlchemyError)
                record_failure(error, "work")
                self._stopping.wait(1)
            finally:
                hand.since = None

    def _warm_up(self) -> None:
        if self.warm and self.last_run_fine:
            return
        try:
            self._painters.warm_up(self._configuration.canvas_sides[0])
        except Exception:
            self.last_run_fine = False
            raise
        self.warm = self.last_run_fine = True

    def _run(self, hand: Hand, claim: Claim) -> None:
        """Run one job to one of its ends; errors of the store and the disk are the caller's."""
        job = claim.job
        if job.attempt == 1:
            self._metrics.queue_wait.observe(max(0.0, (job.started or 0) - job.created))
        hand.claims.append(claim)
        try:
            outcome = self._paint(hand, claim)
            self.last_run_fine = self.last_run_fine or outcome == "completed"
        except (RequestError, ImageError) as error:
            outcome = self._failed(claim, "input", str(error))
        except SafetyError as error:
            outcome = self._failed(claim, "safety", str(error))
        except PainterLost:
            outcome = self._handed_on(claim)
        except RunFailed as error:
            self.last_run_fine = False
            outcome = self._failed(claim, "internal", str(error))
        except (SQLAlchemyError, OSError, OutputError):
            raise
        except Exception as error:
            self.last_run_fine = False
            outcome = self._failed(claim, "internal", f"Internal error {record_failure(error, 'a run')}.")
        finally:
            hand.claims.pop()
        if outcome == "lost":
            outcome = self._leases.lost_to(claim)
        if not hand.replaced:
            self._metrics.ended.labels(outcome).inc()
        self.bell.ring(job.id)

    def _failed(self, claim: Claim, reason: Reason, sentence: str) -> str:
        return "failed" if self._leases.fail(claim, reason, sentence) else "lost"

    def _handed_on(self, claim: Claim) -> str:
        """Put a job whose painter is lost back into the queue; how often it was tried still counts."""
        self._stopping.wait(LOST_SECONDS)
        self._leases.give_back(claim, tried=True)
        self._wake.release()
        return "handed on"

    def _paint(self, hand: Hand, claim: Claim) -> str:
        is_guest, looked, identity = len(hand.claims) > 1, time.monotonic(), claim.job.id
        hand.since = looked
        picture, fields = self._files.picture(identity), json.loads(claim.job.fields)
        with closing(self._painters.paint(picture, fields, f".{claim.job.format}")) as painting:
            self._paintings[identity] = painting
            try:
                for made in painting:
                    hand.since = time.monotonic()
                    self._metrics.steps.inc(max(0, made.step - claim.step))
                    kept, preview_asked = self._leases.beat(claim, made.step, made.steps)
                    if kept is None:
                        return "lost"
                    claim = hand.claims[-1] = kept
                    if self._stopping.is_set():
                        return self._given_back(claim)
                    if preview_asked:
                        self._show(claim, painting)
                    self.bell.step(identity)
                    if is_guest:
                        self._keep_host(hand)
                    elif not self._painters.elsewhere and time.monotonic() > looked + GUEST_SECONDS:
                        looked = self._host(hand, claim)
            finally:
                self._paintings.pop(identity, None)
            if painting.painted is not None:
                return self._published(claim, painting.painted)
            return self._given_back(claim) if self._stopping.is_set() else "lost"

    def _show(self, claim: Claim, painting: Painting) -> None:
        # A picture that may be refused is not shown before.
        preview = painting.preview() if self._configuration.safety != "refuse" else None
        if preview is not None:
            self._leases.show(claim, preview)

    def _given_back(self, claim: Claim) -> str:
        self._leases.give_back(claim)
        return "given back"

    def _published(self, claim: Claim, painted: Painted) -> str:
        for stage, seconds in painted.stages.items():
            self._metrics.inference.labels(stage).observe(seconds)
        published = self._leases.publish(claim, painted.picture, painted.report, painted.seconds)
        return "completed" if published else "lost"

    def _host(self, hand: Hand, claim: Claim) -> float:
        """Run a guest if one has a better right to this thread; returns from when on to look for the next."""
        guest = self._leases.claim(host=claim)
        if guest is None:
            return time.monotonic()
        began = time.monotonic()
        self._run(hand, guest)
        hand.since = now = time.monotonic()
        # Whoever has but this one run gets as much time as its guest had.
        return now + (now - began) if self._leases.running_for(claim.job.owner) == 1 else now - GUEST_SECONDS

    def _keep_host(self, hand: Hand) -> None:
        """Keep the lease of the job that stands still; if it was lost, its own next step finds out."""
        host = hand.claims[0]
        kept, _ = self._leases.beat(host, host.step, host.steps)
        hand.claims[0] = kept or host

    def _hangs(self, hand: Hand) -> bool:
        since = None if self._painters.elsewhere else hand.since
        return not hand.replaced and since is not None and time.monotonic() - since > self._configuration.lease_seconds

    def _watch(self) -> None:
        while not self._stopping.wait(min(1.0, self._configuration.lease_seconds / 4)):
            for hand in list(self._hands):
                if self._hangs(hand):
                    try:
                        self._replace(hand)
                    except Exception as error:
                        record_failure(error, "replacing a worker that hangs")

    def _replace(self, hand: Hand) -> None:
        """Fail the job whose step does not end, and put another thread in the place of its own."""
        hand.replaced, self.last_run_fine = True, False
        self._hands = [other for other in self._hands if not other.replaced or _lives(other.thread)]
        abandoned = sum(other.replaced for other in self._hands)
        if abandoned <= MAX_ABANDONED * self._configuration.workers:
            self._hire(hand.number)
        claims = list(hand.claims)
        for host in claims[:-1]:
            self._leases.give_back(host)
        for hung in claims[-1:]:
            self._metrics.ended.labels("hung").inc()
            self._leases.fail(hung, "internal", HUNG.format(self._configuration.lease_seconds))
            self.bell.ring(hung.job.id)


def _started(target: Callable[[], None]) -> threading.Thread:
    # A daemon: a call of an engine that hangs must not keep the process from ending.
    thread = threading.Thread(target=target, daemon=True)
    thread.start()
    return thread


def _lives(thread: threading.Thread | None) -> bool:
    return thread is not None and thread.is_alive()
