"""The two steps as a whole: from a command to a result, or to a StepError."""

from collections.abc import Callable, Iterable
from typing import TypeVar

from controllers.api.command import StepCommand
from controllers.api.result import Changes, Exit, Result, Totals
from controllers.api.spelling import encode
from fluidctl.load import alluxio_pb2 as pb
from fluidctl.load import dataset, requests
from fluidctl.load.channel import Client, Gone
from fluidctl.load.count import Count, Counted
from fluidctl.load.errors import StepError
from fluidctl.load.evidence import Evidence
from fluidctl.load.frontier import Spill
from fluidctl.load.load import Loaded, Loader, WalkFrom
from fluidctl.load.methods import GET_STATUS
from fluidctl.load.refresh import Plan, Refresh
from fluidctl.load.verify import Storage
from fluidctl.load.walk import Outcome, Walk
from fluidctl.load.watch import Watch

LIVES = 3  # a step begins again where the master was restarted; more often, the next attempt does
SHOWN = 20  # directories that a result names
T = TypeVar("T")


class Step:
    """What both steps share: the dataset, its master, and the ways to load and to list it."""

    def __init__(self, command: StepCommand, client: Client, watch: Watch, spill: Spill) -> None:
        self._command = command
        self._client = client
        self._watch = watch
        self._spill = spill
        self._path = dataset.parse_path(command.path)

    def load(self) -> Result:
        """Make the master know the dataset, or compare what it knows with the storage."""
        storage = self._storage()
        directories = [dataset.parse_path(name) for name in self._command.directories]
        if self._path in directories:  # to walk all of it is the dearest way to load it
            directories = []

        def once() -> tuple[Loaded, Evidence]:
            base = self._client.metrics()
            loaded = self._loaded(storage, directories)
            self._refuse(loaded.failed, loaded.failed_count, loaded.denied)
            now, master = self._client.metrics(), self._client.master
            life, paths = (
                (master.cluster_id, master.start_time_ms),
                self._command.known_paths or self._watch.totals.files,
            )
            return loaded, Evidence(*life, base, now, loaded.method, loaded.objects, loaded.whole, paths)

        loaded, evidence = self._in_one_life(once)
        notes = f" {len(loaded.notes)} parts were walked instead: {loaded.notes[0]}" if loaded.notes else ""
        return Result(
            step="load",
            reason="Refreshed" if self._command.refresh else "Loaded",
            message=f"The master knows {encode(self._path)}{_told(loaded.changes)}.{notes[:500]}",
            master=self._client.master,
            method=loaded.method,
            seconds=round(self._watch.seconds, 1),
            evidence=evidence.to_json(),
            changes=loaded.changes,
        )

    def size(self) -> Result:
        """Count the dataset, and prove that it is complete where that can be proved."""
        if self._command.known_cluster:
            return self._same_cluster()
        if self._command.expected is not None:
            return self._restored(self._command.expected)
        evidence = self._evidence()
        self._watch.total = evidence.paths if evidence else 0
        storage = dataset.check(self._client, self._path, self._command.mounts)
        counter = Count(self._client, self._watch, storage, self._walker(), self._command.parallelism)
        counted = self._in_one_life(lambda: counter.run(self._path, evidence))
        self._refuse(counted.failed, counted.failed_count, counted.denied)
        return Result(
            step="size",
            reason="CountedUnproved" if counted.doubt else "Counted",
            message=self._sentence(counted),
            totals=counted.totals,
            master=self._client.master,
            method=evidence.method if evidence else "",
            proved=not counted.doubt,
            loaded_by_size=counted.loaded,
            seconds=round(self._watch.seconds, 1),
        )

    def _same_cluster(self) -> Result:
        """Say that a restarted master is still the one it was: nothing needs to be counted."""
        master = self._client.master
        if master.cluster_id != self._command.known_cluster:
            raise StepError(
                Exit.MASTER_CHANGED,
                "The master lost its metadata since it was counted: formatted, or not the same cluster.",
            )
        return Result("size", "SameCluster", "The master has kept its metadata.", master=master)

    def _restored(self, expected: Totals) -> Result:
        """Count what a restored master holds, without a request to the storage, and hold it against the manifest.

        A master that was killed while it restored comes back with a part, and says OK to everything.
        """
        self._watch.total = expected.files
        dataset.mounted(self._client, self._command.mounts)
        try:
            self._client.call(GET_STATUS, requests.get_status(self._path, requests.NEVER))
            outcome = self._in_one_life(self._known)
        except Gone as error:
            raise _mismatch(Totals(), expected) from error
        self._refuse(outcome.failed, outcome.failed_count, outcome.denied)
        if outcome.totals != expected:
            raise _mismatch(outcome.totals, expected)
        return Result(
            step="size",
            reason="Restored",
            message=f"The master holds what the backup promises: {_counts(expected)}.",
            totals=outcome.totals,
            master=self._client.master,
            proved=True,
            seconds=round(self._watch.seconds, 1),
        )

    def _known(self) -> Outcome:
        self._watch.show(Totals())
        self._watch.message = "counting what was restored"
        return self._walker()([self._path], requests.NEVER, everywhere=True)

    def _sentence(self, counted: Counted) -> str:
        if counted.doubt:
            return f"Counted, but completeness is not proved: {counted.doubt}."
        return "Counted, and proved to be complete."

    def _storage(self) -> Storage:
        """Check the dataset; that a refresh finds it gone is for the refresh to judge."""
        try:
            return dataset.check(self._client, self._path, self._command.mounts)
        except StepError as error:
            if error.code not in (Exit.PATH_NOT_FOUND, Exit.INCOMPLETE) or not self._command.refresh:
                raise
            return dataset.mounted(self._client, self._command.mounts)

    def _loaded(self, storage: Storage, directories: list[bytes]) -> Loaded:
        """Load, or refresh, everything or these directories alone."""
        command, rule = self._command, storage.rule_for(self._path)
        loader = Loader(self._client, self._watch, rule, self._walker(sync=command.refresh), command.parallelism)
        if not command.refresh:
            return loader.load_again(directories) if directories else loader.load(self._path)
        share, hides = command.max_removed_fraction, storage.hides(self._path)
        plan = Plan(self._path, directories, command.since_ms, command.known_paths, share, hides)
        count = self._walker()
        return Refresh(
            self._client,
            self._watch,
            rule,
            plan,
            loader,
            lambda: count([self._path], requests.NEVER, everywhere=True).totals,
        ).run()

    def _walker(self, *, sync: bool = False) -> WalkFrom:
        def walk(roots: Iterable[bytes], load: pb.LoadMetadataType, everywhere: bool = False) -> Outcome:
            flight = self._command.parallelism
            return Walk(self._client, self._watch, self._spill, flight, load, everywhere, sync, self._path).run(roots)

        return walk

    def _in_one_life(self, work: Callable[[], T]) -> T:
        """Do it again where the master was restarted meanwhile: what it knows is kept, its counters are not."""
        for _ in range(LIVES):
            result = work()
            if not self._client.changed:
                return result
            self._client.accept_change()
        raise StepError(Exit.MASTER_CHANGED, f"The master was restarted or failed over {LIVES} times during the step.")

    def _refuse(self, failed: dict[bytes, str], count: int, denied: int) -> None:
        """Raise INCOMPLETE, naming the directories; PERMISSION_DENIED where the dataset itself may not be listed."""
        if not count:
            return
        if denied and self._path in failed:
            raise dataset.denied(self._path, failed[self._path])
        names = sorted(failed)[:SHOWN]
        first = f"{encode(names[0])}: {failed[names[0]]}"
        raise StepError(
            Exit.INCOMPLETE,
            f"{count} {'directory is' if count == 1 else 'directories are'} incomplete; {first}",
            tuple(encode(name) for name in names),
            count,
        )

    def _evidence(self) -> Evidence | None:
        """Return what the load said, if it is about this master; raise MASTER_CHANGED where its tree is lost.

        A restart since is no loss: the journal keeps the tree, which shows in the same cluster id and in a TotalPaths
        that is not below what it was. The counters of failures began anew; those of the load are in the evidence.
        """
        if not self._command.evidence:
            return None
        try:
            evidence = Evidence.from_json(self._command.evidence)
        except ValueError as error:
            raise StepError(Exit.USAGE, f"--evidence cannot be read: {error}") from error
        master = self._client.master
        lost = evidence.cluster_id != master.cluster_id
        if evidence.start_time_ms != master.start_time_ms:
            lost = lost or self._client.metrics().total_paths < evidence.end.total_paths
        if lost:
            raise StepError(
                Exit.MASTER_CHANGED,
                "The master lost its metadata since the load: formatted, or not the same cluster.",
            )
        return evidence


def _mismatch(found: Totals, expected: Totals) -> StepError:
    return StepError(
        Exit.RESTORE_MISMATCH,
        f"The master holds {_counts(found)}; the backup promises {_counts(expected)}. It is restored anew.",
    )


def _counts(totals: Totals) -> str:
    return f"{totals.files:,} files, {totals.directories:,} directories, {totals.bytes:,} bytes"


def _told(changes: Changes | None) -> str:
    return f": {changes.added} added, {changes.removed} removed, {changes.changed} changed" if changes else ""
