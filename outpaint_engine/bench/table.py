"""A measurement as a table for people."""

from collections.abc import Iterator

from .record import Environment, Measurement, Spread

__all__ = ["WORDS", "described", "machine", "table"]

WORDS = {
    "prepare": "plan and tokens",
    "text_encoder": "text encoder",
    "infill": "fill",
    "vae_encoder": "VAE encode",
    "unet": "UNet, all steps",
    "vae_decoder": "VAE decode",
    "paste_back": "colour match, paste",
    "quality": "quality report",
    "rest": "rest",
}
"""What people read for each stage of `measure.STAGES`."""


def described(found: Measurement) -> str:
    """What was run, in one line."""
    ran, options = found.ran, found.options
    name = f"{ran.source} ({ran.engine_set[:8]})" if ran.engine_set else ran.source
    facts = [
        name + (" [synthetic: random weights]" if ran.synthetic else ""),
        f"{ran.backend or ran.device} {ran.precision}",
        f"{ran.width}x{ran.height}",
        f"{options.steps} steps of {options.scheduler}",
        f"guidance {options.guidance_scale:g}",
    ]
    return ", ".join(facts + [f"{options.batch} pictures a call"] * (options.batch > 1))


def machine(environment: Environment) -> str:
    """CPU, cores and cards, in one line."""
    cpu = environment.cpu or environment.system
    cores = f"{environment.cores} core{'s' * (environment.cores > 1)}"
    return ", ".join([cpu, cores, *(gpu.name for gpu in environment.gpus)])


def table(found: Measurement) -> Iterator[str]:
    """The lines of the table: a picture by stage, a step inside and outside the engine, fresh starts, memory."""
    yield described(found)
    yield machine(found.environment)
    yield ""
    yield _head(f"{len(found.picture.values)} pictures")
    for stage, spread in found.stages.items():
        yield _row(WORDS[stage], spread, f"{spread.p50 / found.picture.p50:.1%}")
    yield _row("picture", found.picture)
    outside = 1 - sum(spread.p50 for spread in found.engines.values()) / found.picture.p50
    yield f"{'  outside all engines':24}{'':33}{outside:8.1%}"
    yield ""
    yield _head(f"{len(found.steps.seconds.values)} UNet steps")
    yield _row("one step", found.steps.seconds)
    yield _row("  in the engine", found.steps.engine)
    yield _row("  outside", found.steps.outside, f"{found.steps.outside_share:.2%}")
    yield ""
    if starts := found.starts:
        yield f"{f'{len(starts.peak_rss)} fresh processes':24}{'p50':>11}{'first':>11}"
        for words, spread in (("ready", starts.ready), ("first picture", starts.first_picture)):
            yield f"{words:24}{_seconds(spread.p50):>11}{_seconds(spread.values[0]):>11}"
        yield f"{'peak memory':24}{_gigabytes(max(starts.peak_rss)):>11}"
        if starts.peak_device:
            yield f"{'peak on the device':24}{_gigabytes(max(starts.peak_device)):>11}"
    yield f"{'peak memory, measuring':24}{_gigabytes(found.peak_rss):>11}"


def _head(words: str) -> str:
    return f"{words:24}{'p50':>11}{'p90':>11}{'p99':>11}{'share':>8}"


def _row(words: str, spread: Spread, share: str = "") -> str:
    columns = "".join(f"{_seconds(value):>11}" for value in (spread.p50, spread.p90, spread.p99))
    return f"{words:24}{columns}{share:>8}".rstrip()


def _seconds(value: float) -> str:
    return f"{value:.2f} s" if value >= 10 else f"{value * 1000:.{0 if value >= 1 else 1 if value >= 0.01 else 3}f} ms"


def _gigabytes(value: int) -> str:
    return f"{value / 1e9:.2f} GB"
