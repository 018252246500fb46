"""Benchmarks of the HTTP service."""
