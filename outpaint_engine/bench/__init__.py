"""How fast an engine set is here: the iterator that users call, timed by stage and by step."""

from .measure import measure, measure_pipeline
from .record import BenchOptions, Measurement

__all__ = ["BenchOptions", "Measurement", "measure", "measure_pipeline"]
