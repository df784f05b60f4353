"""The count of a namespace, and the proof that it is complete: see verify.py for the rules."""

import logging
from dataclasses import dataclass, field

from controllers.api.result import Totals
from fluidctl.load import alluxio_pb2 as pb
from fluidctl.load import requests
from fluidctl.load.channel import Client
from fluidctl.load.empties import Changed, Empties
from fluidctl.load.evidence import Evidence
from fluidctl.load.load import WalkFrom
from fluidctl.load.verify import Metrics, Rule, Storage, failures
from fluidctl.load.vouch import Voucher
from fluidctl.load.walk import Outcome
from fluidctl.load.watch import Watch

log = logging.getLogger(__name__)
PASSES = 3  # a pass after the first one costs memory speed


@dataclass
class Counted:
    """A count. ``doubt`` says why it is not proved; ``failed`` are directories known to be incomplete, and why."""

    totals: Totals
    loaded: int = 0  # files that the count loaded itself
    doubt: str = ""
    failed: dict[bytes, str] = field(default_factory=dict)
    failed_count: int = 0
    denied: int = 0


class Count:
    """Counts one dataset on a master that does not change meanwhile; the caller looks after that.

    ``in_flight``: sync tasks at once, where some are needed for a proof.
    """

    def __init__(self, client: Client, watch: Watch, storage: Storage, walk: WalkFrom, in_flight: int) -> None:
        self._client = client
        self._watch = watch
        self._storage = storage
        self._walk = walk
        self._in_flight = in_flight
        self._empties = Empties(client, watch, walk, in_flight)

    def run(self, path: bytes, evidence: Evidence | None) -> Counted:
        """Count until a pass finds nothing new, and say what is incomplete or in doubt."""
        rule = self._storage.rule_for(path)
        if (rule.reports or rule.proof == "objects") and self._client.has_sync():
            return self._vouched(path, rule, evidence)
        begin = start = self._client.metrics()
        before, doubted = self._failed_before(evidence, start), False
        for last in (False,) * (PASSES - 1) + (True,):
            outcome, counted = self._pass(path, begin, requests.ALWAYS if doubted else requests.ONCE)
            now = self._client.metrics()
            counted.doubt = failures(before.plus(now.since(start)))
            if counted.failed_count:
                return counted
            if counted.doubt and not last:  # maybe somebody else's: repeat every listing, and count failures from here
                log.info("the master counted %s: listing everything again", counted.doubt)
                start, before, doubted = now, Metrics(), True
                continue
            self._watch.message = "proving that nothing is missing"
            try:
                self._prove(rule, outcome, counted)
            except Changed:
                log.info("the namespace changed: counting again")
            else:
                return counted
        counted.doubt = "the namespace changed as often as it was counted"
        return counted

    def _vouched(self, path: bytes, rule: Rule, evidence: Evidence | None) -> Counted:
        """Count what flat listings have read whole: those of the load, else our own.

        Nothing here depends on counters that other clients move.
        """
        begin = self._client.metrics()
        whole, objects = (evidence.whole, evidence.objects) if evidence else (False, 0)
        for last in (False,) * (PASSES - 1) + (True,):
            _, counted = self._pass(path, begin, requests.ONCE)
            met = rule.proof != "objects" or objects == counted.totals.files + counted.totals.directories + 1
            if counted.failed_count:
                return counted
            if whole and met:
                if rule.proof == "objects" and objects < 2:
                    counted.doubt = "nothing is in it, and this storage answers errors with nothing"
                return counted
            if last:
                break
            self._watch.message = "reading it again as a whole, as a proof"
            read = Voucher(self._client, self._watch, rule, self._in_flight).read(path)
            if read.failed:
                counted.failed, counted.failed_count = read.failed, len(read.failed)
                return counted
            whole, objects = True, read.objects
        counted.doubt = f"the storage listed {objects} entries, the master knows others, {PASSES} times"
        return counted

    def _pass(self, path: bytes, begin: Metrics, load: pb.LoadMetadataType) -> tuple[Outcome, Counted]:
        """Walk once over everything; the first listing is ONCE or, to list every directory again, ALWAYS."""
        self._watch.show(Totals())
        self._watch.message = "counting"
        outcome = self._walk([path], load, everywhere=load == requests.ALWAYS)
        loaded = self._loaded(self._client.metrics().since(begin), outcome.totals)
        counted = Counted(outcome.totals, loaded, "", outcome.failed, outcome.failed_count, outcome.denied)
        return outcome, counted

    def _failed_before(self, evidence: Evidence | None, start: Metrics) -> Metrics:
        """Return how far the failure counters moved from the load's begin to ours.

        Nothing where the load's tasks vouch for it one by one: the counters are everybody's. After a restart they began
        at 0, and what happened between the load's end and the restart was not the load's.
        """
        if evidence is None or evidence.whole:
            return Metrics()
        same_life = evidence.start_time_ms == self._client.master.start_time_ms
        return (start if same_life else evidence.end).since(evidence.base)

    def _loaded(self, moved: Metrics, totals: Totals) -> int:
        """Return how many files the count loaded: none if no listing reached the storage, whoever made files."""
        return min(moved.files_created, totals.files) if moved.prefetch_ops else 0

    def _prove(self, rule: Rule, outcome: Outcome, counted: Counted) -> None:
        """Fill in doubts and failed directories; raise Changed where the count is out of date already."""
        if not rule.proof:
            counted.doubt = counted.doubt or "nothing tells errors of this kind of storage from empty directories"
        for names in outcome.empty.pieces():
            self._ask(names, counted)
        if rule.unreadable_is_empty and len(outcome.empty) and not counted.failed:
            counted.failed, doubt = self._empties.unreadable(outcome.empty)
            counted.doubt = counted.doubt or doubt
        counted.failed_count = len(counted.failed)

    def _ask(self, names: list[bytes], counted: Counted) -> None:
        """Ask again for directories that showed nothing, as the driver under each of them needs."""
        hiding = {name for name in names if self._storage.rule_at(name).proof == "objects"}
        counted.failed |= self._empties.restless([name for name in names if name not in hiding])
        if hiding and self._client.has_sync():
            counted.failed |= self._empties.unlisted(sorted(hiding))
        if hiding - counted.failed.keys():
            counted.doubt = f"{len(hiding)} directories are empty, and this storage answers errors with nothing"
