"""A process that dies at the n-th thing which it does to a file system, and does nothing after that."""

import os
from collections.abc import Callable
from typing import Any

import pytest

_WRITES = ("mkdir", "rename", "unlink", "rmdir", "fsync", "fchmod")


class Crash(BaseException):
    """The process is dead."""


def crash(patch: pytest.MonkeyPatch, work: Callable[[], object], at: int, *, after: bool) -> bool:
    """Run ``work`` until its ``at``-th write, which is still done if ``after``; return whether it got that far.

    What the dead process would do to clean up fails, as it would not happen.
    """
    done = 0

    def dying(name: str) -> Callable[..., Any]:
        real = getattr(os, name)

        def call(*args: Any, **kwargs: Any) -> Any:
            nonlocal done
            if name == "open" and not args[1] & os.O_CREAT:
                return real(*args, **kwargs)
            done += 1
            if done == at and after:
                real(*args, **kwargs)
            if done >= at:
                raise Crash
            return real(*args, **kwargs)

        return call

    with patch.context() as here:
        for name in (*_WRITES, "open"):
            here.setattr(os, name, dying(name))
        try:
            work()
        except Crash:
            return True
        return False
