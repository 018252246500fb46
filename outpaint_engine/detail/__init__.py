"""Canvases larger than the model: composed at its size, enlarged, and refined in tiles level by level."""

from .large_run import LargeRun, asks_for_detail, large_buckets

__all__ = ["LargeRun", "asks_for_detail", "large_buckets"]
