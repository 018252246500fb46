"""A run whose pictures the engine set's safety checker looks at before anybody gets them."""

from collections.abc import Iterator
from dataclasses import replace

from ..errors import SafetyError
from ..safety import SafetyChecker
from .result import OutpaintRun, Progress

__all__ = ["CheckedRun"]


class CheckedRun(OutpaintRun):
    """`run`, with a report on each of its pictures in the result; `refuse` gives no result where one is flagged."""

    def __init__(self, run: OutpaintRun, checker: SafetyChecker, *, refuse: bool) -> None:
        super().__init__(run.plan)
        self._run, self._checker, self._refuse = run, checker, refuse
        self.notes = run.notes

    def __iter__(self) -> Iterator[Progress]:
        """Run; stop iterating to cancel.

        Raises:
            SafetyError: a picture was flagged, and such are to be refused.
        """
        yield from self._run
        found = self._run.result
        with found.timings.stage("safety_checker"):
            reports = tuple(self._checker.check(image) for image in found.images)
        flagged = [seed for seed, each in zip(found.seeds, reports, strict=True) if each.flagged]
        if flagged and self._refuse:
            raise SafetyError(
                f"The safety checker flagged {len(flagged)} of {len(reports)} pictures (seed "
                f"{', '.join(map(str, flagged))}), so none is given. Take another seed or prompt."
            )
        note = f"The safety checker flagged the picture of seed {', '.join(map(str, flagged))}."
        self._result = replace(found, safety=reports, notes=(*found.notes, *([note] if flagged else ())))
