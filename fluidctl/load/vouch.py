"""A positive proof that a tree was read whole: flat listings that succeeded, over all of it.

One listing of the whole tree is enough. Where it fails, the directories below are listed one by one, as deep as need
be: so what fails has a name, and a failure that only the long listing meets is no failure.

Drivers that hide errors (oss) answer a failed first page with "nothing", also inside of a task that succeeds, and then
forget what they knew below. A marker object proves nothing: it is found by its name, where the listing is refused. So
there an empty directory is believed only as a part of a longer listing, and the count has to meet ``objects``.
"""

from dataclasses import dataclass, field
from itertools import islice

from fluidctl.load import requests
from fluidctl.load.channel import Client
from fluidctl.load.shape import FEW
from fluidctl.load.sync import QUIET_SECONDS, Sync, Task
from fluidctl.load.verify import Rule
from fluidctl.load.watch import Watch

_UNFIT = "InvalidPathException"  # a key does not fit into a tree: "a" and "a/b", of which a level shows one
_EMPTY = "it is empty, or its storage failed: its driver says the same"
NAMED = 20  # directories that fail, before the search for more of them ends


@dataclass
class Vouched:
    """``objects``: what the listings read, the tree's own root among them. ``failed``: directories, and why."""

    objects: int = 0
    failed: dict[bytes, str] = field(default_factory=dict)


class Voucher:
    """Reads trees of one kind of storage."""

    def __init__(self, client: Client, watch: Watch, rule: Rule, in_flight: int) -> None:
        self._client = client
        self._watch = watch
        self._in_flight = in_flight
        self._hides = rule.proof == "objects"
        half = watch.no_progress_seconds / 2
        self._patience = min(QUIET_SECONDS, half) if rule.streams else half

    def read(self, path: bytes) -> Vouched:
        """Read the tree at ``path``."""
        read, waiting = Vouched(), [path]
        while waiting and len(read.failed) < NAMED:
            tasks = self._run(waiting)
            waiting = []
            for task in tasks:
                if task.ok and self._hides and task.objects < 2 and task.path != path:
                    read.failed[task.path] = _EMPTY
                elif task.ok:
                    read.objects += task.objects
                else:
                    waiting += self._level(task, read)
        read.failed |= dict.fromkeys(waiting, "not looked at any more: too much fails beside it")
        return read

    def _level(self, task: Task, read: Vouched) -> list[bytes]:
        """Read one level of a tree whose listing failed, and return its folders; or say that this level fails."""
        if _UNFIT in task.reason:
            read.failed[task.path] = task.reason
            return []
        level = self._run([task.path], shallow=True)[0]
        if level.ok and self._hides and level.objects < 2:
            level.ok, level.reason = False, _EMPTY
        folders = self._folders(task.path) if level.ok else []
        if not level.ok or len(folders) > FEW:
            read.failed[task.path] = level.reason or task.reason
            return []
        read.objects += level.objects - len(folders)  # which count themselves
        return folders

    def _run(self, paths: list[bytes], *, shallow: bool = False) -> list[Task]:
        return Sync(self._client, self._watch, self._in_flight, self._patience).run(paths, shallow=shallow)

    def _folders(self, path: bytes) -> list[bytes]:
        request = requests.list_status(path)
        return self._client.apart(
            lambda session: list(
                islice((info.path for info in self._client.list(session, request) if info.folder), FEW + 1)
            )
        )
