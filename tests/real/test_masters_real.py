"""What controllers.masters shows of a real master with a real worker is what Alluxio's own command line says of it."""

import re
import time
from pathlib import Path

import pytest

from controllers.master_http import DirectTransport
from controllers.master_snapshot import ClusterAddress, MasterSnapshot, Reason, cache_status, hit_ratios
from controllers.masters import look
from tests.real.alluxio import Alluxio
from tests.real.process import free_ports

FILE_BYTES = 3_000_001
_UNITS = ("B", "KB", "MB", "GB")


@pytest.fixture(scope="module")
def read_twice(alluxio: Alluxio, alluxio_storage: Path) -> Alluxio:
    """Return the cluster after one file was read twice: from the storage into the cache, then from the cache."""
    directory = alluxio_storage / "masters"
    directory.mkdir()
    (directory / "file").write_bytes(b"x" * FILE_BYTES)
    for _ in range(2):
        assert len(alluxio.cli("fs", "cat", "/masters/file")) == FILE_BYTES
    # The worker tells the master what was read by its heartbeats, one a second; how much of the second read counts as
    # sent varies. So wait until nothing moves any more.
    deadline, last, since = time.monotonic() + 100, None, time.monotonic()
    while last is None or last.ufs != FILE_BYTES or last.remote <= FILE_BYTES or time.monotonic() - since < 3:
        assert time.monotonic() < deadline, last
        if (reads := _look(alluxio).reads) != last:
            last, since = reads, time.monotonic()
        time.sleep(0.2)
    return alluxio


def test_numbers_equal_the_report(read_twice: Alluxio) -> None:
    """Capacity, used bytes, workers, paths, start and bytes read equal ``alluxio fsadmin report metrics``."""
    report = _metrics(read_twice)
    found = _look(read_twice)
    assert {
        "Cluster.CapacityTotal": _grouped(found.capacity_bytes),
        "Cluster.CapacityUsed": _grouped(found.used_bytes),
        "Cluster.Workers": _grouped(found.workers),
        "Cluster.LostWorkers": _grouped(found.lost_workers),
        "Master.TotalPaths": _grouped(found.total_paths),
        "Master.StartTime": _grouped(found.start_time_ms),
    }.items() <= report.items()
    assert found.reads is not None
    assert _sizes(found.reads) == [
        report[f"Cluster.BytesRead{name}"] for name in ("Local", "Remote", "UfsAll")
    ]  # the report rounds what was read
    ratios = hit_ratios(found.reads)
    assert ratios is not None
    assert ratios.total == pytest.approx(float(report["Cluster.CacheHitRate"]), abs=1e-4)


def test_status_equals_the_report(read_twice: Alluxio) -> None:
    """``status.cache`` holds what ``alluxio fsadmin report`` prints, and the version is found."""
    report = dict(re.findall(r"^ *([A-Z][A-Za-z ]+): (.*?) *$", read_twice.cli("fsadmin", "report"), re.M))
    found = _look(read_twice)
    assert (found.reason, found.reachable, found.version) == (Reason.REACHABLE, True, report["Version"])
    shown = cache_status(found, file_bytes=FILE_BYTES)
    assert shown is not None
    status, _ = shown
    assert _sizes((status.capacity_bytes, status.used_bytes)) == [report["Total Capacity"], report["Used Capacity"]]
    assert (status.workers, status.lost_workers) == (int(report["Live Workers"]), int(report["Lost Workers"]))
    assert status.used_bytes == FILE_BYTES
    assert status.cached_percentage == "100.0"


def test_kill_and_restart_are_seen(real_programs: None, tmp_path: Path) -> None:
    """Frozen, where the kernel accepts connections for it, and killed: Unreachable. Restarted: a later start time.

    Without its web port alone, it answers at the RPC port.
    """
    with Alluxio(tmp_path) as own:
        before = _look(own)
        without = ClusterAddress((own.rpc_address,), *free_ports(1))
        assert look(DirectTransport(), without, time.time()).reason is Reason.WEB_PORT_UNREACHABLE
        own.pause()
        assert _look(own).reason is Reason.UNREACHABLE
        own.kill()
        assert _look(own).reason is Reason.UNREACHABLE
        own.restart()
        after = _look(own)
    assert before.reachable
    assert after.reachable
    assert before.start_time_ms is not None
    assert after.start_time_ms is not None
    assert after.start_time_ms > before.start_time_ms


def _look(alluxio: Alluxio) -> MasterSnapshot:
    return look(DirectTransport(), ClusterAddress((alluxio.rpc_address,), alluxio.web_port), time.time())


def _metrics(alluxio: Alluxio) -> dict[str, str]:
    return dict(re.findall(r"^(\S+) .*Value: (.*)\)$", alluxio.cli("fsadmin", "report", "metrics"), re.M))


def _grouped(number: int | None) -> str:
    return f"{number:,}"


def _sizes(numbers: tuple[int, ...]) -> list[str]:
    """Return byte counts as Alluxio prints them (FormatUtils.getSizeFromBytes: the next unit from 5 times 1024)."""
    return [_size(number) for number in numbers]


def _size(number: float) -> str:
    unit = 0
    while number > 5 * 1024:
        number, unit = number / 1024, unit + 1
    return f"{number:.2f}{_UNITS[unit]}" if unit else f"{number:.0f}B"
