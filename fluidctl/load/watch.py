"""The watch of a step: counts what moves, prints progress, ends a step that stands still or was told to stop."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from controllers.api.result import Exit, Progress, Totals
from fluidctl.load.errors import Halted, StepError

REPORT_SECONDS = 5.0
_WINDOW = 12  # reports that the shown rate looks back over


class Watch:
    """One for each step. ``tick`` is for the step's own thread; everything else may be called from any thread.

    ``terminate`` is what a signal handler calls: it only sets events. ``halt`` is set when the step ends for whatever
    reason; every wait of a worker thread is a wait for it.
    """

    def __init__(
        self, step: str, emit: Callable[[Progress], None], clock: Callable[[], float], no_progress_seconds: float
    ) -> None:
        self.step = step
        self.clock = clock
        self.halt = threading.Event()
        self.message = ""
        self.total = 0  # an estimate of all that will be counted; 0: none
        self.no_progress_seconds = no_progress_seconds
        self._emit = emit
        self._terminated = threading.Event()
        self._lock = threading.Lock()
        self._totals = Totals()
        self._start = self._moved = clock()
        self._excused = 0
        self._still = False
        self._reported: list[tuple[float, int]] = []

    @property
    def seconds(self) -> float:
        """Return the seconds since the step began."""
        return self.clock() - self._start

    @property
    def totals(self) -> Totals:
        """Return what was counted so far."""
        return self._totals

    def terminate(self) -> None:
        """Ask the step to end with what it has."""
        self._terminated.set()
        self.halt.set()

    def moved(self) -> None:
        """Say that something moved which is not counted."""
        self._moved = self.clock()

    def add(self, files: int = 0, directories: int = 0, bytes_: int = 0) -> None:
        """Add to the counts."""
        with self._lock:
            old = self._totals
            self._totals = Totals(old.files + files, old.directories + directories, old.bytes + bytes_)
            self._moved = self.clock()

    def show(self, totals: Totals) -> None:
        """Replace the counts by what somebody else counted; unchanged, it is no movement."""
        with self._lock:
            if totals != self._totals:
                self._totals, self._moved = totals, self.clock()

    def tick(self, wait: float = 0.0) -> None:
        """Wait up to ``wait`` seconds and report; raise StepError TERMINATED or NO_PROGRESS where it is time."""
        if wait > 0:
            self.halt.wait(wait)
        now = self.clock()
        if not self._reported or now - self._reported[-1][0] >= REPORT_SECONDS:
            self._report(now)
        if self._terminated.is_set() or self._stands_still():
            raise self.end()

    def end(self) -> StepError:
        """Return how a step ends that ends before its work: it stands still, or it was told to stop."""
        if self._still and not self._terminated.is_set():
            return StepError(
                Exit.NO_PROGRESS,
                f"Nothing moved for {self.no_progress_seconds:.0f} s. Look at the master's log and at its storage.",
            )
        return StepError(Exit.TERMINATED, "The step was told to stop; a new attempt goes on from what is loaded.")

    def over(self) -> bool:
        """Return whether the step ends; it does where it stands still. For whoever waits for an answer meanwhile."""
        if self._stands_still():
            self.halt.set()
        return self.halt.is_set()

    def pause(self, seconds: float) -> None:
        """Wait between two trials; raise Halted if the step ends meanwhile."""
        if self.halt.wait(seconds) or self.over():
            raise Halted

    @contextmanager
    def excused(self) -> Iterator[None]:
        """Do not count the time in here as standing still: it has a limit of its own, with an end of its own."""
        begin = self.clock()
        with self._lock:
            self._excused += 1
        try:
            yield
        finally:
            with self._lock:
                self._excused -= 1
                now = self.clock()
                self._moved = min(now, self._moved + now - begin)

    def _stands_still(self) -> bool:
        with self._lock:
            late = not self._excused and self.clock() - self._moved > self.no_progress_seconds
            self._still = self._still or late
            return self._still

    def _report(self, now: float) -> None:
        self._reported = [*self._reported[-_WINDOW:], (now, self._totals.files)]
        first_time, first_files = self._reported[0]
        rate = (self._totals.files - first_files) / (now - first_time) if now > first_time else 0.0
        shown = self._totals
        self._emit(
            Progress(
                step=self.step,
                files=shown.files,
                directories=shown.directories,
                bytes=shown.bytes,
                total=self.total,
                files_per_second=round(max(rate, 0.0), 1),
                message=self.message,
                seconds=round(now - self._start, 1),
            )
        )
