"""What one look at an Alluxio cluster found, and what a status says of it. Pure: values in, values out.

Sources: ``/metrics/json/`` of the master's web port (Dropwizard's JSON, names of Alluxio's MetricKey) for every number,
``/api/v1/master/info`` (wire class AlluxioMasterInfo) for the version. Where a value is missing, not a number or not
possible, it is None here and absent there: a gap never becomes a 0.
"""

import enum
import json
import re
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from controllers.api.dataset import printable_bytes
from controllers.api.dataset_status import CacheStatus
from controllers.api.model import INT64_MAX
from controllers.api.times import rfc3339

_FLUID = {"total": "cache", "local": "local", "remote": "remote"}


class Reason(enum.StrEnum):
    """Why a snapshot says what it says; it is the reason of the condition MasterReachable."""

    REACHABLE = "Reachable"
    UNREACHABLE = "Unreachable"  # no address answers
    WEB_PORT_UNREACHABLE = "WebPortUnreachable"  # the RPC port answers: a load can go on, the cache is unknown
    NOT_ALLUXIO = "NotAlluxio"  # something else answers at the web port
    UNSUPPORTED_VERSION = "UnsupportedVersion"
    UNKNOWN = "Unknown"  # from here it cannot be told


@dataclass(frozen=True)
class ClusterAddress:
    """One Alluxio cluster: all its masters as ``host:port`` of their RPC, and the port of their web servers.

    Order and case of the masters make no difference, so that datasets which list them differently share one poll.
    """

    masters: tuple[str, ...]
    web_port: int = 19999

    def __post_init__(self) -> None:
        object.__setattr__(self, "masters", tuple(sorted({master.lower() for master in self.masters})))


class Reads(NamedTuple):
    """Bytes read by clients: on their own node, over the network, and what of it came from the under storage."""

    local: int
    remote: int
    ufs: int


class HitRatios(NamedTuple):
    """Shares (0 to 1) of the bytes read that came from the cache; ``local`` and ``remote`` add up to ``total``."""

    total: float
    local: float
    remote: float


@dataclass(frozen=True)
class MasterSnapshot:
    """One look at a cluster. A number is None where the master did not say it, always so where it did not answer.

    ``reachable`` is None where it cannot be told. It is True with reason UnsupportedVersion too: a load Job then fails
    for good with the same reason. ``message`` is a sentence of ours; no body of an answer is ever in it.
    """

    reachable: bool | None
    reason: Reason
    message: str
    polled_at: float  # seconds since the epoch
    address: str = ""  # the leader, as it stands in ClusterAddress
    version: str = ""
    start_time_ms: int | None = None
    total_paths: int | None = None  # files and directories, the root too
    capacity_bytes: int | None = None
    used_bytes: int | None = None
    workers: int | None = None
    lost_workers: int | None = None
    reads: Reads | None = None  # since the master's start
    throughput: Reads | None = None  # bytes per minute
    hit_ratios: HitRatios | None = None


class NotAlluxioError(ValueError):
    """The body is not what an Alluxio master sends. The text is ours and quotes nothing of it."""


def parse_metrics(body: bytes, address: str, now: float) -> MasterSnapshot:
    """Read ``/metrics/json/`` of a master; raise NotAlluxioError where it is not one's."""
    data = _object(body)
    values = {name: entry.get("value") for name, entry in _entries(data.get("gauges"))}
    values |= {name: entry.get("count") for name, entry in _entries(data.get("counters"))}
    if not any(name.startswith(("Master.", "Cluster.")) for name in values):
        raise NotAlluxioError("it answers without the metrics of a master")
    number = {name: _count(value) for name, value in values.items()}
    return MasterSnapshot(
        reachable=True,
        reason=Reason.REACHABLE,
        message=f"the master {address} answers",
        polled_at=now,
        address=address,
        start_time_ms=number.get("Master.StartTime"),
        total_paths=number.get("Master.TotalPaths"),
        capacity_bytes=number.get("Cluster.CapacityTotal"),
        used_bytes=number.get("Cluster.CapacityUsed"),
        workers=number.get("Cluster.Workers"),
        lost_workers=number.get("Cluster.LostWorkers"),
        reads=_reads(number, ""),
        throughput=_reads(number, "Throughput"),
    )


def parse_info(body: bytes) -> tuple[str, int | None]:
    """Read version and start time (ms since the epoch) from ``/api/v1/master/info``; raise NotAlluxioError."""
    data = _object(body)
    version = data.get("version")
    plain = isinstance(version, str) and re.fullmatch(r"[\w.+-]{1,40}", version, re.ASCII)
    return str(version) if plain else "", _count(data.get("startTimeMs"))


def supported(version: str) -> bool:
    """Return whether our client can speak to this version: 2.5 and later of 2.x, and one that is not known."""
    major, _, rest = version.partition(".")
    minor = rest.split(".")[0].split("-")[0]
    return not version or (major == "2" and (not minor.isdecimal() or int(minor) >= 5))


def hit_ratios(reads: Reads | None, base: Reads | None = None) -> HitRatios | None:
    """Return the ratios of what was read since ``base`` (None: since the master's start), or None where nothing was.

    The total is Alluxio's own: 1 - ufs / (local + remote), as its gauge Cluster.CacheHitRate has it. Fluid divides by
    local + remote + ufs, which counts a byte from the under storage twice. Those come over the network, so they are
    taken off the remote reads first.
    """
    if reads is None:
        return None
    local, remote, ufs = (new - old for new, old in zip(reads, base or (0, 0, 0), strict=True))
    if min(local, remote, ufs) < 0 or local + remote <= 0:
        return None
    total = max(0.0, 1 - ufs / (local + remote))
    from_remote = max(0, remote - ufs) / (local + remote)
    return HitRatios(total, total - from_remote, from_remote)


def cache_status(snapshot: MasterSnapshot, file_bytes: int | None) -> tuple[CacheStatus, dict[str, str]] | None:
    """Return ``status.cache`` and Fluid's ``status.cacheStates``, or None where the snapshot does not know the cache.

    With None a consumer leaves what stands there: its ``updateTime`` says how old it is. ``file_bytes`` is the size of
    the dataset, None before it is counted. The used bytes are those of the whole Alluxio cluster, so the percentage is
    an upper bound where datasets share it or blocks have copies, and 100 is its limit.
    Keys and formats: Fluid's pkg/common CacheStateName; a key without a value is left out.
    """
    capacity, used, ratios = snapshot.capacity_bytes, snapshot.used_bytes, snapshot.hit_ratios
    if capacity is None or used is None:
        return None
    cached = _percent(used / file_bytes) if file_bytes else ""
    status = CacheStatus(
        capacity_bytes=capacity,
        used_bytes=used,
        cached_percentage=cached,
        hit_ratios={name: _percent(share) for name, share in _named(ratios)},
        workers=snapshot.workers or 0,
        lost_workers=snapshot.lost_workers or 0,
        update_time=rfc3339(snapshot.polled_at),
    )
    states = {"cached": printable_bytes(used), "cacheCapacity": printable_bytes(capacity)}
    states |= {"cachedPercentage": f"{cached}%"} if cached else {}
    for kind, shares in (("HitRatio", ratios), ("ThroughputRatio", hit_ratios(snapshot.throughput))):
        states |= {f"{_FLUID[name]}{kind}": f"{_percent(share)}%" for name, share in _named(shares)}
    return status, states


def worth_showing(old: MasterSnapshot | None, new: MasterSnapshot) -> bool:
    """Return whether what a status shows has moved so far that a reconcile is worth its while.

    At once: reachability, reason, leader, version, start time, workers, capacity. Used bytes: more than 1 % of the
    capacity. Hit ratio: one point.
    """
    if old is None or _identity(old) != _identity(new):
        return True
    if (old.used_bytes is None) != (new.used_bytes is None) or (old.hit_ratios is None) != (new.hit_ratios is None):
        return True
    used = abs((new.used_bytes or 0) - (old.used_bytes or 0)) > (new.capacity_bytes or 0) * 0.01
    return used or any(abs(a - b) >= 0.01 for a, b in zip(old.hit_ratios or (), new.hit_ratios or (), strict=True))


def shown_differs(old: MasterSnapshot, new: MasterSnapshot) -> bool:
    """Return whether a status would show any difference, however small."""
    return replace(old, polled_at=0, total_paths=0) != replace(new, polled_at=0, total_paths=0)


def _identity(snapshot: MasterSnapshot) -> tuple[object, ...]:
    return (
        *(snapshot.reachable, snapshot.reason, snapshot.address, snapshot.version, snapshot.start_time_ms),
        *(snapshot.workers, snapshot.lost_workers, snapshot.capacity_bytes),
    )


def _named(ratios: HitRatios | None) -> list[tuple[str, float]]:
    return list(ratios._asdict().items()) if ratios else []


def _percent(share: float) -> str:
    return f"{min(1.0, share) * 100:.1f}"


def _object(body: bytes) -> dict[str, Any]:
    try:
        data = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise NotAlluxioError("it answers, but not with JSON") from error
    if not isinstance(data, dict):
        raise NotAlluxioError("it answers, but not with a JSON object")
    return data


def _entries(group: object) -> list[tuple[str, dict[str, Any]]]:
    items = group.items() if isinstance(group, dict) else ()
    return [(name, entry) for name, entry in items if isinstance(entry, dict)]


def _count(value: object) -> int | None:
    """Return a number as a count that fits an int64, or None: a gauge that failed is null, -1 or NaN."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return int(value) if 0 <= value <= INT64_MAX else None  # NaN compares as False


def _reads(number: dict[str, int | None], suffix: str) -> Reads | None:
    """Add up what is read on the client's own node, in the manner of the gauge CacheHitRate; None without the base."""
    names = ("Local", "Domain", "Direct", "Remote", "Ufs" if suffix else "UfsAll")
    local, domain, direct, remote, ufs = (number.get(f"Cluster.BytesRead{name}{suffix}") for name in names)
    if local is None or remote is None or ufs is None:
        return None
    return Reads(local + (domain or 0) + (direct or 0), remote, ufs)
