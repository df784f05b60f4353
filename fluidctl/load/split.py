"""A tree loaded by sync tasks: level by level, until there are folders for all tasks at once; then each folder."""

import logging
from itertools import islice

from fluidctl.load import requests, shape
from fluidctl.load.channel import Client, Gone
from fluidctl.load.sync import Sync, Task

log = logging.getLogger(__name__)


class Split:
    """Runs the tasks that pay (see shape), at most ``in_flight`` at once.

    The same storage is cut in the same way by every attempt, so that one joins what the one before left running.
    """

    def __init__(self, client: Client, sync: Sync, in_flight: int) -> None:
        self._client = client
        self._sync = sync
        self._in_flight = in_flight

    def run(self, path: bytes) -> list[Task]:
        """Load the tree at ``path``; return the tasks that cover it."""
        if self._in_flight == 1:
            return self._sync.run([path])
        covering, level = list[Task](), [path]
        for _ in range(shape.LEVELS):
            tasks = self._sync.run(level, shallow=True)
            covering += [task for task in tasks if not task.ok]
            parents = [task for task in tasks if task.ok]
            found = (folder for parent in parents for folder in self._folders(parent.path))
            level = list(islice(found, shape.MANY + 1))
            if not level or len(level) >= self._in_flight:
                break
            covering += parents
        return covering + self._below(parents, level)

    def _below(self, parents: list[Task], folders: list[bytes]) -> list[Task]:
        """Load what is below ``parents``, of which everything directly in them is loaded."""
        if len(folders) <= shape.FEW:
            return parents + self._sync.run(folders)
        probes = list[Task]()
        if len(folders) <= shape.MANY:
            probes = self._sync.run(shape.sample(folders))
            keys = sum(task.objects for task in probes) / len(probes)
            if shape.pays(len(folders), sum(parent.objects for parent in parents), keys, self._in_flight):
                probed = {task.path for task in probes}
                return parents + probes + self._sync.run([folder for folder in folders if folder not in probed])
        log.info("listing %d folders or more as one", len(folders))
        self._sync.supersede(parents + probes)
        return self._sync.run([parent.path for parent in parents])

    def _folders(self, path: bytes) -> list[bytes]:
        """Return the folders directly in a loaded directory, up to one too many; none where it is gone meanwhile."""
        request = requests.list_status(path)
        try:
            return self._client.apart(
                lambda session: list(
                    islice((info.path for info in self._client.list(session, request) if info.folder), shape.MANY + 1)
                )
            )
        except Gone:
            return []
