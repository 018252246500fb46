"""The noise schedule, and what a scheduler class makes of the checkpoint's configuration."""

from .configuration import KINDS, Settings, notes_on, own_settings, settings_of
from .noise_schedule import CLEAN, Level, NoiseSchedule, Prediction, Time

__all__ = [
    "CLEAN",
    "KINDS",
    "Level",
    "NoiseSchedule",
    "Prediction",
    "Settings",
    "Time",
    "notes_on",
    "own_settings",
    "settings_of",
]
