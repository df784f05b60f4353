"""An object store with a gate before its listings: a load stands still where a test wants it, on any machine."""

import threading

from tests.objectstore import ObjectStore
from tests.objectstore.server import Answer, Request

_SECONDS = 120.0


class Gate(ObjectStore):
    """Open at first. While it is shut, listings wait; questions for one key pass."""

    def __init__(self, latency: float = 0.0) -> None:
        super().__init__(latency)
        self._changed = threading.Condition()
        self._free: int | None = None  # listings that still pass; None: all
        self._waiting = 0

    def __exit__(self, *error: object) -> None:
        self.open()
        super().__exit__(*error)

    def shut(self, after: int = 0) -> None:
        """Let so many more listings pass, and no others."""
        with self._changed:
            self._free = after

    def open(self) -> None:
        """Let all pass, those that wait too."""
        with self._changed:
            self._free = None
            self._changed.notify_all()

    def reached(self, listings: int = 1) -> None:
        """Return once so many listings wait."""
        with self._changed:
            assert self._changed.wait_for(lambda: self._waiting >= listings, _SECONDS), "nobody lists the storage"

    def answer(self, request: Request) -> Answer | None:
        """See ObjectStore."""
        if request.kind == "LIST":
            self._pass()
        return super().answer(request)

    def _pass(self) -> None:
        with self._changed:
            self._waiting += 1
            self._changed.notify_all()
            self._changed.wait_for(lambda: self._free is None or self._free > 0)
            self._waiting -= 1
            self._free = None if self._free is None else self._free - 1
