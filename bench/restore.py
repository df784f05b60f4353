"""Measure a Dataset that is restored from a backup against one that is loaded: from apply to Ready, as a user sees it.

``make bench-restore`` writes docs/benchmarks/restore.md, in some minutes; the machine should do nothing else. All is
real but the storage, the object store of the tests: s3 with 50 ms for each request.
"""

import argparse
import signal
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench import machine
from bench.rig import Failed
from controllers.kube.resources import DATABACKUPS, DATASETS
from tests.objectstore.trees import tree
from tests.real.managed import NESTED, Managed
from tests.world import Obj, condition

OUTPUT = Path(__file__).parent.parent / "docs" / "benchmarks" / "restore.md"
LATENCY = 0.05
SIZES = {"one": "tree=1000x190", "two": "tree=100x100"}
LIMIT = 600.0
#: The reasons of the condition Ready while a Dataset gets there, in the words of the report.
_PARTS = {
    "Staging": "backup verified, laid beside the journal",
    "MasterStarting": "pods and JVM of the master, with its restore",
    "Mounting": "storages mounted",
    "Loading": "metadata loaded",
    "Counting": "counted and proved",
}
_REST = "all else (claims, volume, the controller)"


@dataclass(frozen=True)
class Run:
    """One way to Ready: seconds in all and by part, requests to the storage."""

    seconds: float
    parts: dict[str, float]
    lists: int
    heads: int


def measure(stage: Managed, name: str, files: dict[str, int], **spec: Obj) -> Run:
    """Make a Dataset and watch it until it is Ready; raise Failed where a path or a length differs."""
    stage.store.reset_counts()
    begin = time.monotonic()
    stage.make(name, heap="2g", **spec)
    moments = list(_moments(stage, name, begin))
    counts = stage.store.counts
    if stage.listing(name) != files:
        raise Failed(f"{name} does not hold what the storage holds")
    parts = dict.fromkeys([*_PARTS.values(), _REST], 0.0)
    for (reason, at), (_, until) in zip(moments, moments[1:], strict=False):
        parts[_PARTS.get(reason, _REST)] += until - at
    return Run(moments[-1][1], parts, counts.lists, counts.heads)


def _moments(stage: Managed, name: str, begin: float) -> list[tuple[str, float]]:
    """Return each reason of the condition Ready with the seconds after which it was first seen, "Ready" at the end."""
    moments = [("", 0.0)]
    while moments[-1][0] != "Ready":
        last = moments[-1][0]
        found = stage.seen(DATASETS, name, _another(last), LIMIT)
        if found["status"]["phase"] == "Failed":
            raise Failed(f"{name}: {condition(found, 'Ready')}")
        moments.append((condition(found, "Ready")["reason"], time.monotonic() - begin))
    return moments


def _another(reason: str) -> Callable[[Obj], bool]:
    return lambda found: condition(found, "Ready").get("reason", reason) != reason


def backed_up(stage: Managed, name: str, dataset: str) -> Obj:
    """Back a Dataset up and return the status of the backup."""
    stage.backup(name, dataset, "backups")
    found = stage.seen(DATABACKUPS, name, lambda o: o.get("status", {}).get("phase") in ("Complete", "Failed"), LIMIT)
    status: Obj = found["status"]
    if status["phase"] != "Complete":
        raise Failed(status["message"])
    return status


def report(files: int, loads: Sequence[Run], restores: Sequence[Run], backups: Sequence[Obj], notes: str) -> str:
    """Return the figures as Markdown."""
    median = {way: statistics.median(run.seconds for run in runs) for way, runs in (("l", loads), ("r", restores))}
    rows = [_row(part, [[run.parts[part] for run in runs] for runs in (loads, restores)]) for part in loads[0].parts]
    rows += [_row("**from apply to Ready**", [[run.seconds for run in runs] for runs in (loads, restores)])]
    rows += [_row("LISTs", [[run.lists for run in runs] for runs in (loads, restores)])]
    rows += [_row("HEADs", [[run.heads for run in runs] for runs in (loads, restores)])]
    return _TEXT.format(
        machine=machine.describe(),
        notes=notes,
        files=files,
        runs=len(loads),
        ratio=f"{median['l'] / median['r']:.1f}",
        rows="\n".join(rows),
        entries=backups[0]["entryCount"],
        size=f"{backups[0]['sizeBytes'] / 1e6:.1f}",
        took=", ".join(each["duration"] for each in backups),
    )


def _row(name: str, ways: Sequence[Sequence[float]]) -> str:
    cells = [", ".join(f"{x:.1f} s" if isinstance(x, float) else str(x) for x in values) for values in ways]
    return f"| {name} | {' | '.join(cells)} |"


_TEXT = """# A restore against a load

{machine}
Written by `make bench-restore`: a real API server, a real Alluxio 2.9.6 in pods, the controller as in a cluster, over
the object store of the tests (s3, 50 ms a request); all on one machine, images present. {files:,} files in two buckets,
one of them mounted in a folder of the other; {runs} times a Dataset is loaded, backed up and
deleted, and restored under another name. Every path and every length was compared with the storage's, each time.
{notes}
| seconds, run by run | loaded | restored |
|---|---|---|
{rows}

The restore is {ratio} times as fast, and the storage sees none of it but a look at each mount. The backup has
{entries:,} entries in {size} MB and took {took}.

Why a new master takes so long for a mount that asks the storage next to nothing (measured apart on a bare 2.9.6, Java
17): with the first one its JVM loads the S3 client, 2,349 classes in 1.4 s of processor time and no request; that is
1.5 s on an idle machine and up to 5 s where worker, Job and others want the same two cores. The second mount takes
0.2 s. A restored master has done it before it serves.
"""


def main() -> None:
    """Run, and write the report."""
    parser = argparse.ArgumentParser(prog="python -m bench.restore", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--runs", type=int, default=2)
    parser.add_argument("--output", type=Path, default=OUTPUT)
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    places = {"one": "/", "two": f"{NESTED}/"}
    files = {f"{places[name]}{key}": size for name, spec in SIZES.items() for key, size in tree(spec)[1]}
    loads, restores, backups = list[Run](), list[Run](), list[Obj]()
    before = machine.busy_share()
    with tempfile.TemporaryDirectory(prefix="fluidctl-bench-") as work, Managed(Path(work), LATENCY) as stage:
        for bucket, spec in SIZES.items():
            stage.store.fill(bucket, tree(spec)[1])
        stage.start_controller()
        stage.claim("backups")
        for number in range(options.runs):
            loads.append(measure(stage, f"loaded-{number}", files))
            backups.append(backed_up(stage, f"backup-{number}", f"loaded-{number}"))
            stage.remove(f"loaded-{number}")
            location = {"backupName": f"backup-{number}"}
            restores.append(measure(stage, f"restored-{number}", files, dataRestoreLocation=location))
            stage.remove(f"restored-{number}")
    notes = machine.warning(before, [])
    options.output.write_text(report(len(files), loads, restores, backups, f"\n{notes}\n" if notes else ""))


if __name__ == "__main__":
    main()
