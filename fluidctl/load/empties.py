"""What directories that answer with nothing hide, by asking for each of them again in the way its driver needs."""

from collections.abc import Sequence

from controllers.api.result import Totals
from controllers.api.spelling import encode
from fluidctl.load import alluxio_pb2 as pb
from fluidctl.load import requests
from fluidctl.load.channel import Client
from fluidctl.load.frontier import Names
from fluidctl.load.load import WalkFrom
from fluidctl.load.sync import Sync, Task
from fluidctl.load.verify import GAUGE_SECONDS, restless
from fluidctl.load.watch import Watch

_READABLE = 0o005  # by everyone


class Changed(Exception):
    """Something was found in a directory that had answered with nothing: what was counted is out of date."""


class Empties:
    """Asks again. ``walk`` lists one level at a time; every method raises Changed where it finds entries."""

    def __init__(self, client: Client, watch: Watch, walk: WalkFrom, in_flight: int) -> None:
        self._client = client
        self._watch = watch
        self._walk = walk
        self._in_flight = in_flight

    def restless(self, names: Sequence[bytes]) -> dict[bytes, str]:
        """Return those of which every listing reaches the storage again, also after a forced one, with the reason."""
        suspects = restless(names, self._listings)
        if suspects:
            self._list(suspects, requests.ALWAYS)
            suspects = restless(suspects, self._listings)
        return self._explained(suspects)

    def unlisted(self, names: Sequence[bytes]) -> dict[bytes, str]:
        """Return those that a flat listing does not show to exist: for drivers that answer errors with nothing."""
        return {task.path: f"its parent lists it, but {task.reason}" for task in self._sync(names) if not task.ok}

    def unreadable(self, names: Names) -> tuple[dict[bytes, str], str]:
        """Return those that the master may not read, or a doubt; for drivers that answer so with nothing, for good.

        A forced listing of one adds it to the master's cache of absent paths, unless it is there already: a cache that
        stays empty clears all of them, one that grows convicts, any other leaves those that not everyone may read.
        """
        base = self._client.metrics()
        for piece in names.pieces():
            self._list(piece, requests.ALWAYS)
        self._watch.tick(GAUGE_SECONDS)
        absent = self._client.metrics().absent
        if absent == 0:
            return {}, ""
        closed = [name for piece in names.pieces() for name in piece if not self._client.status(name).mode & _READABLE]
        if absent > base.absent and closed:
            return dict.fromkeys(closed, "the master may not read it"), ""
        if closed:
            return (
                {},
                f"{len(closed)} directories show nothing and are not for everyone to read, as {encode(closed[0])}",
            )
        return {}, ""

    def _listings(self, names: Sequence[bytes]) -> int:
        before = self._client.metrics()
        self._list(names, requests.ONCE)
        return self._client.metrics().since(before).prefetch_ops

    def _list(self, names: Sequence[bytes], load: pb.LoadMetadataType) -> None:
        outcome = self._walk(names, load)
        if outcome.totals != Totals() or outcome.failed_count or outcome.vanished:
            raise Changed

    def _explained(self, suspects: Sequence[bytes]) -> dict[bytes, str]:
        """Ask for the reason, which a sync knows and a listing hides."""
        reasons = dict.fromkeys(suspects, "every listing asks the storage again: an entry in it cannot be read")
        if self._client.has_sync():
            reasons |= {task.path: task.reason for task in self._sync(suspects) if task.reason}
        return reasons

    def _sync(self, names: Sequence[bytes]) -> list[Task]:
        patience = self._watch.no_progress_seconds / 2
        tasks = Sync(self._client, self._watch, self._in_flight, patience).run(names, shallow=True)
        if any(task.objects > 1 for task in tasks):
            raise Changed
        return tasks
