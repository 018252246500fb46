"""Limits that the toy model meets in milliseconds."""

SMALL = {"canvas_sides": (64, 128), "canvas_default": 64, "steps": (2, 100), "steps_default": 3}
