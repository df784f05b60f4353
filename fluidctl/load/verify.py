"""Whether a namespace is complete: pure rules over numbers that somebody else fetched.

A master answers "OK, empty" where its storage failed, in ways that depend on the storage's driver. So a count is proved
only by what would have moved if a listing had failed. What was seen on a real 2.9.6, by driver:

* every driver: counters of failed paths and failed prefetches; a failed directory of a one-level listing;
* s3: a one-level listing of a directory fails when the storage fails;
* local, hdfs: one bad entry (a dangling link, a name that is not UTF-8) empties its directory, status OK, no failure
  counted; but every further ONCE lists the storage again, and that is counted;
* oss, cos, obs: a refused or failed request is answered "OK, empty", and the next ONCE believes it for good. Only one
  flat listing of the whole tree that succeeded, and whose objects the count meets, is a proof.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Self

from fluidctl.load.names import covers

GAUGE_SECONDS = 2.5  # TotalPaths and AbsentCacheSize lag behind by up to 2 s


@dataclass(frozen=True)
class Metrics:
    """The master's counters that matter. All are global: other clients move them too."""

    total_paths: int = 0
    absent: int = 0
    paths_fail: int = 0
    prefetch_fail: int = 0
    prefetch_ops: int = 0
    files_created: int = 0

    @classmethod
    def of(cls, values: Mapping[str, float]) -> Self:
        """Read them from GetMetrics; a counter that never moved, or that an old master lacks, reads as 0."""
        return cls(*(int(values.get(f"Master.{name}", 0)) for name in _NAMES))

    def since(self, base: Self) -> Self:
        """Return the movement since ``base``."""
        return type(self)(*(getattr(self, f.name) - getattr(base, f.name) for f in fields(self)))

    def plus(self, other: Self) -> Self:
        """Return the sum of two movements."""
        return type(self)(*(getattr(self, f.name) + getattr(other, f.name) for f in fields(self)))

    def to_list(self) -> list[int]:
        """Return the plain form, in the order of the fields."""
        return list(asdict(self).values())


_NAMES = (
    "TotalPaths",
    "AbsentCacheSize",
    "MetadataSyncPathsFail",
    "MetadataSyncPrefetchFail",
    "MetadataSyncPrefetchOpsCount",
    "FilesCreated",
)


@dataclass(frozen=True)
class Rule:
    """How one driver is loaded and what proves a count.

    ``load``: "shards" (a sync task for each top folder), "single" (one for the whole tree), "listing" (a recursive
    request). ``proof``: "relist" (listing an empty directory again must not reach the storage), "objects" (the objects
    of one flat listing must be what was counted), "" (nothing proves it).
    ``streams``: the first batch of a flat listing arrives with its first page, not with its last.
    ``unreadable_is_empty``: a directory that the master may not read is answered as empty, at once and for good.
    ``reports``: a listing of one level fails where the storage fails.
    """

    load: str
    proof: str
    streams: bool = False
    unreadable_is_empty: bool = False
    reports: bool = False

    @property
    def hides(self) -> bool:
        """Whether a failure of the storage may be answered with nothing, so that a comparison would remove entries."""
        return self.proof != "relist"


RULES = {
    "s3": Rule("shards", "relist", streams=True, reports=True),
    "local": Rule("shards", "relist", unreadable_is_empty=True),
    "hdfs": Rule("listing", "relist"),
    "oss": Rule("single", "objects"),
    "cos": Rule("single", "objects"),
    "obs": Rule("single", "objects"),
}
UNKNOWN = Rule("listing", "")


class Storage:
    """What lies under a tree: from the mount points of a master and their drivers."""

    def __init__(self, mounts: Mapping[bytes, str]) -> None:
        self._rules = {point: RULES.get(driver, UNKNOWN) for point, driver in mounts.items()}

    def rule_at(self, path: bytes) -> Rule:
        """Return the rule of the deepest mount that holds ``path``."""
        point = max((point for point in self._rules if covers(point, path)), key=len, default=None)
        return UNKNOWN if point is None else self._rules[point]

    def hides(self, path: bytes) -> bool:
        """Whether any storage under the tree at ``path`` hides its failures."""
        return any(rule.hides for rule in self._rules_of(path))

    def rule_for(self, path: bytes) -> Rule:
        """Return the rule for the whole tree at ``path``; over several kinds of storage, the one that claims least."""
        rules = self._rules_of(path)
        if len(rules) == 1:
            return rules.pop()
        return Rule(
            load="shards" if all(rule.load == "shards" for rule in rules) else "listing",
            proof="relist" if all(rule.proof for rule in rules) else "",
            unreadable_is_empty=any(rule.unreadable_is_empty for rule in rules),
            reports=all(rule.reports for rule in rules),
        )

    def _rules_of(self, path: bytes) -> set[Rule]:
        return {self.rule_at(path)} | {rule for point, rule in self._rules.items() if covers(path, point)}


def failures(moved: Metrics) -> str:
    """Say which failures the master counted, or return ""."""
    shown = (("paths", moved.paths_fail), ("listings", moved.prefetch_fail))
    return " and ".join(f"{count} failed {what}" for what, count in shown if count > 0)


def restless(names: Sequence[bytes], listings: Callable[[Sequence[bytes]], int], trials: int = 3) -> list[bytes]:
    """Return the directories whose next listing reaches the storage every time.

    ``listings`` lists these directories again and returns by how much the master's count of storage listings moved. A
    directory that hides entries adds to it at every listing; other clients add to it now and then. So one quiet trial
    clears a whole group, and a group that is never quiet is halved.
    """
    if not names or any(listings(names) <= 0 for _ in range(trials)):
        return []
    if len(names) == 1:
        return list(names)
    half = len(names) // 2
    return restless(names[:half], listings, trials) + restless(names[half:], listings, trials)


_STATS = {
    "batches": re.compile(rb"# of batches=(\d+)"),
    "objects": re.compile(rb"# of objects loaded from UFS=(\d+)"),
}


def task_stats(text: bytes) -> dict[str, int]:
    """Read the numbers of a sync task's taskStatString: "batches" and "objects"; 0 where they are missing."""
    found = {name: pattern.search(text) for name, pattern in _STATS.items()}
    return {name: int(match.group(1)) if match else 0 for name, match in found.items()}
