"""What a master says becomes a snapshot, ratios, and numbers of a status."""

import itertools
import json
import random
from dataclasses import replace
from typing import Any

import pytest

from controllers.master_http import split_address
from controllers.master_snapshot import (
    HitRatios,
    MasterSnapshot,
    NotAlluxioError,
    Reads,
    Reason,
    cache_status,
    hit_ratios,
    parse_info,
    parse_metrics,
    worth_showing,
)
from tests.master_kit import GIB, USUAL, metrics

NO_COUNT: list[Any] = [None, True, "7", "NaN", float("nan"), float("inf"), -1, 2**63, 10**400, 1e300, [], {}]


@pytest.mark.parametrize("value", NO_COUNT, ids=[repr(value)[:12] for value in NO_COUNT])
@pytest.mark.parametrize("name", [*USUAL, "local", "remote", "ufs"])
def test_a_value_that_is_no_count_is_a_gap_and_no_crash(name: str, value: Any) -> None:
    whole = {**USUAL, "local": 1, "remote": 1, "ufs": 1}
    found = parse_metrics(metrics(**{**whole, name: value}), "m:1", 0.0)
    expected = parse_metrics(metrics(**{key: item for key, item in whole.items() if key != name}), "m:1", 0.0)
    assert found == expected


def test_reads_on_the_own_node_are_added_up_as_alluxio_does_and_throughput_is_read() -> None:
    counts = {"Local": 1, "Domain": 10, "Direct": 100, "Remote": 7, "UfsAll": 3}
    rates = {"Local": 2, "Remote": 5, "Ufs": 4}
    body = {
        "counters": {f"Cluster.BytesRead{name}": {"count": value} for name, value in counts.items()},
        "gauges": {f"Cluster.BytesRead{name}Throughput": {"value": value} for name, value in rates.items()},
    }
    found = parse_metrics(json.dumps(body).encode(), "m:1", 0.0)
    assert (found.reads, found.throughput) == (Reads(111, 7, 3), Reads(2, 5, 4))


def test_any_json_gives_a_snapshot_or_is_refused_and_never_nan() -> None:
    """A thousand random trees of JSON, some of them almost right."""
    rand = random.Random(7)
    names = [
        "gauges",
        "counters",
        "value",
        "count",
        "Cluster.CapacityUsed",
        "Cluster.CapacityTotal",
        "Master.StartTime",
    ]

    def tree(depth: int) -> Any:
        if depth and rand.random() < 0.7:
            return {rand.choice(names): tree(depth - 1) for _ in range(4)}
        return rand.choice([*NO_COUNT, 1, 5.5])

    understood = 0
    for _ in range(1000):
        body = json.dumps(tree(3)).encode()
        try:
            found = parse_metrics(body, "m:1", 0.0)
        except NotAlluxioError:
            continue
        understood += 1
        assert "nan" not in repr(cache_status(found, 3)).lower()
    assert understood > 10


@pytest.mark.parametrize("version", [None, 3, "<b>", "2.9 6", "", "x" * 41, "2.9\n6", "2.9.6é"])
def test_a_version_that_is_none_reads_as_unknown(version: Any) -> None:
    assert parse_info(json.dumps({"version": version, "startTimeMs": 5}).encode()) == ("", 5)


@pytest.mark.parametrize(
    "text", ["", "host", "host:", ":1", "host:x", "host:70000", "::1:19998", "[::1]", "a:b:c", "h:１"]
)
def test_what_is_not_host_and_port_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        split_address(text)


def test_host_and_port_are_split() -> None:
    assert [split_address("h.ns:19998"), split_address("[::1]:1")] == [("h.ns", 19998), ("::1", 1)]


# -- ratios and the status --------------------------------------------------------------------------------------------


def test_the_measured_reads_of_a_real_alluxio_give_its_own_hit_rate() -> None:
    """2.9.6, one worker, 22,034,497 bytes read twice: Cluster.CacheHitRate said 0.4985."""
    ratios = hit_ratios(Reads(22034497, 21903451, 22034497))
    assert ratios is not None
    assert (round(ratios.total, 4), round(ratios.local, 4), ratios.remote) == (0.4985, 0.4985, 0.0)


def test_ratios_are_shares_that_add_up_for_any_reads() -> None:
    for local, remote, ufs in itertools.product([0, 1, 7, 10**18], repeat=3):
        ratios = hit_ratios(Reads(local, remote, ufs))
        if local + remote == 0:
            assert ratios is None
            continue
        assert ratios is not None
        assert all(0 <= share <= 1 for share in ratios)
        assert ratios.local + ratios.remote == pytest.approx(ratios.total)


def test_reads_since_a_base_count_alone_and_a_base_from_before_a_restart_gives_none() -> None:
    assert hit_ratios(Reads(150, 100, 100), Reads(50, 100, 100)) == HitRatios(1.0, 1.0, 0.0)
    assert hit_ratios(Reads(5, 5, 5), Reads(50, 5, 5)) is None


def snapshot(**changes: Any) -> MasterSnapshot:
    usual = MasterSnapshot(
        True, Reason.REACHABLE, "", 0.0, capacity_bytes=4 * GIB, used_bytes=GIB, workers=2, lost_workers=1
    )
    return replace(usual, **changes)


def test_the_status_has_the_numbers_and_the_map_has_the_words_of_fluid() -> None:
    shown = cache_status(
        snapshot(hit_ratios=HitRatios(0.75, 0.5, 0.25), throughput=Reads(60, 40, 10), polled_at=60.0), 3 * GIB
    )
    assert shown is not None
    status, states = shown
    assert (status.capacity_bytes, status.used_bytes, status.workers, status.lost_workers) == (4 * GIB, GIB, 2, 1)
    assert (status.cached_percentage, status.update_time) == ("33.3", "1970-01-01T00:01:00Z")
    assert status.hit_ratios == {"total": "75.0", "local": "50.0", "remote": "25.0"}
    assert states == {
        "cached": "1.00GiB",
        "cacheCapacity": "4.00GiB",
        "cachedPercentage": "33.3%",
        "cacheHitRatio": "75.0%",
        "localHitRatio": "50.0%",
        "remoteHitRatio": "25.0%",
        "cacheThroughputRatio": "90.0%",
        "localThroughputRatio": "60.0%",
        "remoteThroughputRatio": "30.0%",
    }


@pytest.mark.parametrize(("file_bytes", "shown"), [(None, ""), (0, ""), (1, "100.0"), (2 * GIB, "50.0")])
def test_the_percentage_is_known_for_a_counted_size_only_and_ends_at_100(file_bytes: int | None, shown: str) -> None:
    found = cache_status(snapshot(), file_bytes)
    assert found is not None
    assert found[0].cached_percentage == shown
    assert found[1].get("cachedPercentage", "") == (f"{shown}%" if shown else "")


@pytest.mark.parametrize(
    ("change", "worth"),
    [
        ({}, False),
        ({"polled_at": 9.0, "total_paths": 9}, False),
        ({"used_bytes": GIB + GIB // 26}, False),
        ({"used_bytes": GIB + GIB // 24}, True),
        ({"used_bytes": GIB - GIB // 24}, True),
        ({"used_bytes": None}, True),
        ({"hit_ratios": HitRatios(0.509, 0.509, 0.0)}, False),
        ({"hit_ratios": HitRatios(0.511, 0.511, 0.0)}, True),
        ({"hit_ratios": None}, True),
        ({"workers": 3}, True),
        ({"lost_workers": 2}, True),
        ({"capacity_bytes": 5 * GIB}, True),
        ({"reachable": False}, True),
        ({"reason": Reason.WEB_PORT_UNREACHABLE}, True),
        ({"version": "2.9.5"}, True),
        ({"start_time_ms": 7}, True),
    ],
    ids=str,
)
def test_only_a_change_beyond_its_threshold_is_worth_a_reconcile(change: dict[str, Any], worth: bool) -> None:
    old = snapshot(hit_ratios=HitRatios(0.5, 0.5, 0.0))
    assert worth_showing(old, replace(old, **change)) is worth
