"""The refresh: make a master's tree equal to its storage's, without losing what a failing storage does not show.

A comparison forgets what the storage does not list; only names in Alluxio are lost by that, no data. What 2.9.6 was
seen to do where the storage fails (v2: a sync task; v1: a listing with sync interval 0):

* s3: v2 fails, or stands still with 0 batches; v1 of one level answers the error. Nothing is removed.
* oss, and by their source cos and obs: v2 of a directory whose first page fails SUCCEEDS with 0 objects and removes
  the whole tree, and so does v1; a later page that fails, or any of a bucket's root, fails v2 and removes nothing.
* local: a dangling link or a name that is not UTF-8 fails v2, and v1 leaves its directory as it was. A directory that
  the master may not read is "empty" to both: what it knew there is removed.
* v2 fails for ever where a directory with children became a file; v1 of one level mends that.
* A forced listing of one level (ALWAYS) never removes, and counts what the storage showed (MetadataSyncPrefetchPaths).

So where failures are hidden, the root is probed by a forced listing before each comparison: one that shows nothing of a
directory with children forbids it. What passes, and removes more than it may, is compared again after a pause: a good
listing brings everything back. What is still missing then needs a person's word. Not caught: fewer entries than the
limit, below an unreadable directory of a local storage, or on oss where the storage fails between probe and task for
longer than the pauses; the count that follows names the former, the next refresh brings both back.
"""

import logging
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import grpc

from controllers.api.result import Changes, Exit, Totals
from controllers.api.spelling import encode
from fluidctl.load import alluxio_pb2 as pb
from fluidctl.load import requests
from fluidctl.load.channel import Client, Gone, why
from fluidctl.load.errors import StepError
from fluidctl.load.ledger import Balance, Entry, Ledger, balance, seen
from fluidctl.load.load import LIST, SYNC, Loaded, Loader
from fluidctl.load.methods import GET_METRICS, GET_STATUS
from fluidctl.load.sync import Sync, Task
from fluidctl.load.verify import Rule, failures
from fluidctl.load.watch import Watch

log = logging.getLogger(__name__)
TRIALS = 3
PAUSE_SECONDS = 10.0
_SHOWN = "Master.MetadataSyncPrefetchPaths"
_HIDDEN = "Its driver does not tell failures from empty directories: if all was removed on purpose, delete the Dataset."
_MEANT = "If it was meant so, raise spec.load.maxRemovedFraction and ask for a refresh again."


@dataclass(frozen=True)
class Plan:
    """What is refreshed: of the tree at ``path`` everything, or only ``directories``.

    ``known``: entries of the last count, of which a share of ``fraction`` may be missing. ``since_ms`` names the run.
    ``hides``: some storage below may answer a failure with nothing.
    """

    path: bytes
    directories: Sequence[bytes] = ()
    since_ms: int = 0
    known: int = 0
    fraction: float = 1.0
    hides: bool = False

    @property
    def roots(self) -> Sequence[bytes]:
        """Return the tops of what is compared."""
        return self.directories or [self.path]

    @property
    def limit(self) -> float:
        """Return how many entries may be missing: with a fraction of 1, a person's word, all that there ever were."""
        return self.fraction * max(self.known, 1) if self.fraction < 1 else math.inf


class Resumed(Sync):
    """Runs no task that this run has run before; keeps an account of the others."""

    def __init__(self, *settings: Any) -> None:
        super().__init__(*settings)
        self.taken: dict[tuple[bytes, bool], Entry] = {}
        self.ended: list[Entry] = []

    def note(self, ended: Iterable[pb.SyncMetadataTask]) -> None:
        """Keep it."""
        self.ended.extend(filter(None, map(Entry.of, ended)))

    def run(self, paths: Iterable[bytes], *, shallow: bool = False) -> list[Task]:
        """Run what was not run before."""
        wanted = [(path, not shallow) for path in paths]
        old = [self.taken[key] for key in wanted if key in self.taken]
        tasks = [Task(entry.path, 0, 0, 0.0, 0.0, running=False, ok=True, objects=entry.objects) for entry in old]
        return tasks + super().run([key[0] for key in wanted if key not in self.taken], shallow=shallow)


class Refresh:
    """One attempt. ``loader`` walks with comparison; ``left`` counts what the master has, without any storage."""

    def __init__(
        self, client: Client, watch: Watch, rule: Rule, plan: Plan, loader: Loader, left: Callable[[], Totals]
    ) -> None:
        self._client, self._watch, self._rule, self._plan = client, watch, rule, plan
        self._loader, self._left = loader, left
        self._loaded = Loaded(LIST)
        self._changes = Changes()
        self._probed = 0  # entries that a probe has added
        self._entries: dict[int, Entry] = {}  # tasks of this run that have ended, and its marks
        # A master that was restarted since the run began has forgotten what it changed before.
        self._exact = not 0 < plan.since_ms < client.master.start_time_ms

    @property
    def _probes(self) -> bool:
        """Whether a failure may look like a removal; of what can be read, one that removes all may be meant so."""
        return self._plan.hides or (self._rule.unreadable_is_empty and self._plan.fraction < 1)

    def run(self) -> Loaded:
        """Compare until nothing is suspicious; raise StepError SUSPICIOUS_REFRESH or UNSUPPORTED_MASTER."""
        by_tasks = self._rule.load != "listing" and self._client.has_sync()
        if self._plan.hides and not by_tasks:
            raise StepError(
                Exit.UNSUPPORTED_MASTER,
                "A refresh needs asynchronous metadata sync here (Alluxio 2.9.4 and later, one kind of storage): this "
                "storage may answer an error with nothing, and an older master would forget files that are there.",
            )
        self._watch.total = self._plan.known
        ledger = Ledger(self._client, self._plan.path, self._plan.since_ms) if by_tasks else None
        self._note(ledger.begin() if ledger else ())
        if self._probes and len(self._entries) > 1:
            self._exact = False  # what an earlier attempt's probe has added is not known
        doubt = ""
        for trial in range(TRIALS):
            if trial:
                log.warning("%s Comparing again.", doubt)
                self._watch.tick(PAUSE_SECONDS)
                self._note([ledger.mark()] if ledger else ())
            self._watch.message = "comparing with the storage; files counts directories too"
            self._loaded = Loaded(SYNC if by_tasks else LIST)
            doubt = self._probe() or self._compare(by_tasks, again=trial > 0)
            if not doubt:
                break
        if ledger:
            ledger.end()
        if not doubt:
            return self._loaded
        raise StepError(Exit.SUSPICIOUS_REFRESH, doubt)

    def _probe(self) -> str:
        """Say of which root the storage shows nothing; what cannot be listed at all is noted as failed."""
        hides = self._plan.hides
        for root in self._plan.roots if self._probes else ():
            try:
                if self._shows_nothing(root):
                    return (
                        f"The storage shows nothing in {encode(root)}, of which the master knows entries. Nothing was "
                        f"removed. Repair the storage or the master's access to it. {_HIDDEN if hides else _MEANT}"
                    )
            except grpc.RpcError as error:
                self._fail({root: why(error)})
        return ""

    def _shows_nothing(self, root: bytes) -> bool:
        """Whether a forced listing, which removes nothing, brings nothing of a directory that has children."""
        known = self._children(root, requests.NEVER)
        if not known:
            return False
        before = self._metric(_SHOWN)
        listed = self._children(root, requests.ALWAYS) or known
        self._probed += max(0, listed - known)
        return before is not None and before == self._metric(_SHOWN)

    def _children(self, path: bytes, load: pb.LoadMetadataType) -> int:
        """Return how many entries are directly below; 0 if the master does not know the path."""
        request = requests.list_status(path, load)
        try:
            return self._client.apart(lambda session: sum(1 for _ in self._client.list(session, request)))
        except Gone:
            return 0

    def _metric(self, name: str) -> float | None:
        metrics = self._client.call(GET_METRICS, pb.GetMetricsRequest()).metrics
        return metrics[name].doubleValue if name in metrics else None

    def _compare(self, by_tasks: bool, *, again: bool) -> str:
        """Compare once, and say what is suspicious."""
        if self._loaded.failed:
            return ""
        try:
            fresh = self._by_tasks(again) if by_tasks else self._by_listings()
        except Gone:
            fresh = []
        if self._client.changed or self._loaded.failed:
            return ""
        if self._exact:
            self._loaded.changes = self._changes
        if not self._plan.directories and self._gone():
            return f"{encode(self._plan.path)} is gone from the storage. Put it back, or delete the Dataset."
        missing = self._missing(fresh)
        if missing <= self._plan.limit:
            return ""
        return (
            f"{missing} of {self._plan.known} known files and directories below {encode(self._plan.path)} are missing "
            f"from the storage, more than {self._plan.fraction:.0%}. If it fails, repair it: a refresh brings back "
            f"what it shows again. {_MEANT}"
        )

    def _gone(self) -> bool:
        try:
            self._client.call(GET_STATUS, requests.get_status(self._plan.path, requests.NEVER))
        except Gone:
            return True
        return False

    def _missing(self, fresh: Sequence[Entry]) -> int:
        """Return how many known entries are away; counted one by one only where the tasks leave it open."""
        known, removed = self._plan.known, self._changes.removed
        if removed > self._plan.limit or known - seen(fresh) <= self._plan.limit:
            return removed
        self._watch.message = "counting what is left"
        left = self._left()
        return max(removed, known - left.files - left.directories)

    def _by_listings(self) -> list[Entry]:
        """Let the master compare the trees by recursive requests; where it counts a failure, walk to see which."""
        self._exact, before = False, self._client.metrics()
        for root in self._plan.roots:
            self._loaded.add(self._loader.list_all(root, sync=True))
        if failures(self._client.metrics().since(before)):
            self._loaded.add(self._loader.walk(self._plan.roots, requests.ONCE))
        return []

    def _by_tasks(self, again: bool) -> list[Entry]:
        """Compare by tasks what no task of this run has compared yet; return those that count."""
        plan, before = self._plan, dict(self._entries)
        suspicious = again or balance(before.values(), plan.limit).changes.removed > plan.limit
        fit = [] if suspicious or plan.directories else before.values()
        sync = self._loader.tasks(Resumed)
        sync.taken = {(entry.path, entry.deep): entry for entry in fit if entry.succeeded and entry.objects}
        split = self._rule.load == "shards" and not plan.directories and (plan.path, True) not in sync.taken
        tasks = self._loader.split(sync, plan.path) if split else sync.run(plan.roots)
        self._mend(sync, tasks)
        self._note(sync.ended)
        self._take(balance(self._entries.values(), plan.limit))
        if self._rule.load == "single" and not plan.directories:
            self._loaded.objects = tasks[0].objects
        return [*sync.taken.values(), *sync.ended]

    def _mend(self, sync: Sync, tasks: Sequence[Task]) -> None:
        """Walk, with comparison, where a task failed; where a walk is told of no failure, a task has the last word."""
        left = {task.path: task.reason for task in tasks if not (task.ok or task.nothing)}
        self._loaded.whole = not left
        if not left or self._client.changed:
            return
        log.warning("not compared by tasks: %r", left)
        if self._plan.hides:
            self._fail(left)
            return
        self._exact = False
        self._loaded.add(self._loader.walk(left, requests.ONCE))
        if not self._rule.reports and not self._loaded.failed:
            again = sync.run(left)
            self._fail({task.path: task.reason for task in again if not (task.ok or task.nothing)})

    def _note(self, entries: Iterable[Entry]) -> None:
        self._entries |= {entry.id: entry for entry in entries if not entry.running}
        self._entries = dict(sorted(self._entries.items()))

    def _take(self, found: Balance) -> None:
        """Note what changed: one by one only if nothing came back, which may hide what was really added or removed."""
        changes = found.changes
        self._changes = Changes(changes.added + self._probed, changes.removed, changes.changed)
        self._exact = self._exact and not found.restored

    def _fail(self, failed: Mapping[bytes, str]) -> None:
        self._loaded.failed |= failed
        self._loaded.failed_count += len(failed)
