"""What `/metrics` shows, in Prometheus' text format. Labels have few values: no id, no account, no text."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

__all__ = ["Metrics"]

SECONDS = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 15, 30, 60, 120, 300)


class Metrics:
    """One registry an application, so that several can live in one process."""

    def __init__(self) -> None:
        registry = self._registry = CollectorRegistry()
        self.answers = Counter(
            "outpaint_http_answers_total", "Answers by route and status.", ["route", "status"], registry=registry
        )
        self.duration = Histogram(
            "outpaint_http_duration_seconds",
            "From the first byte to the answer.",
            ["route"],
            registry=registry,
            buckets=SECONDS,
        )
        self.refused = Counter("outpaint_refused_total", "Refusals by reason.", ["reason"], registry=registry)
        self.jobs = Gauge("outpaint_jobs", "Jobs in the store by state.", ["state"], registry=registry)
        self.ended = Counter("outpaint_jobs_ended_total", "Jobs this process ended.", ["outcome"], registry=registry)
        self.queue_wait = Histogram(
            "outpaint_queue_wait_seconds", "From accepted to begun.", registry=registry, buckets=SECONDS
        )
        self.inference = Histogram(
            "outpaint_inference_seconds", "Stages of a run.", ["stage"], registry=registry, buckets=SECONDS
        )
        self.steps = Counter("outpaint_steps_total", "Calls of the UNet.", registry=registry)

    def text(self, states: dict[str, int]) -> bytes:
        """The page, with the current number of jobs in each state."""
        for state in ("QUEUED", "PROCESSING", "COMPLETED", "FAILED"):
            self.jobs.labels(state).set(states.get(state, 0))
        return generate_latest(self._registry)
