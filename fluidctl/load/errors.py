"""What ends a step in a way that we know: an exit code and one sentence that says what to do."""

from controllers.api.result import Exit


class StepError(Exception):
    """A known end of a step. ``failed`` names directories (spelled as in api.command), ``count`` is of all."""

    def __init__(self, code: Exit, message: str, failed: tuple[str, ...] = (), count: int = 0) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.failed = failed
        self.count = count or len(failed)


def unexpected() -> StepError:
    """Return the end of a step that nobody foresaw, once it is logged."""
    return StepError(Exit.INTERNAL, "An unexpected error: the log of this container has the traceback.")


class Halted(Exception):
    """The step is ending: a thread that was waiting or calling must go home. Says nothing about the reason."""
