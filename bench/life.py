"""Measure the life of one Dataset on the real stack: where the time goes, what the API server is written, who is large.

``make bench-life ARGS='--files 100000 --runs 5'`` writes docs/benchmarks/life.md; the machine should do nothing else.
Each run has a stack of its own: a fresh control plane, a freshly formatted Alluxio (its JVM is cold), a controller that
has never seen a Dataset. The times are those at which the watches of this process were told, by one clock. Writes are
those of the API server's own audit log, by the service account of the controller.
"""

import argparse
import json
import random
import statistics
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench.machine import describe, memory, read
from controllers.jobs import STEP
from controllers.kube.client import Cluster
from controllers.kube.reflector import Reflector
from controllers.kube.resources import DATASETS, JOBS, PODS
from controllers.kube.store import Change, Store
from fluidctl.demo import NAME, make_tree, manifest
from tests.real.stack import SERVICE_ACCOUNT, SYSTEM_NAMESPACE, Stack
from tests.world import condition
from workqueue import SystemClock

STEPS = ("load", "size")
#: Each part of the whole is the sum of these spans between two marks; together they are all of it.
PARTS = {
    "controller": [("created", "load released"), ("load complete", "size released"), ("size complete", "ready")],
    "Kubernetes starts the Jobs": [("load released", "load running"), ("size released", "size running")],
    "load": [("load running", "load ended")],
    "size": [("size running", "size ended")],
    "Kubernetes ends the Jobs": [("load ended", "load complete"), ("size ended", "size complete")],
}
LONGEST_SECONDS = 3600.0
_OUTPUT = Path(__file__).parent.parent / "docs" / "benchmarks" / "life.md"


class Marks:
    """When what was seen first, in seconds of one clock."""

    def __init__(self, cluster: Cluster) -> None:
        self.seen: dict[str, float] = {}
        self.ready = threading.Event()
        self._stop = threading.Event()
        for resource in (DATASETS, JOBS, PODS):
            watch = Reflector(cluster, resource, Store(), self._see, clock=SystemClock(), rng=random.Random(1))
            threading.Thread(target=watch.run, args=(self._stop,), daemon=True).start()

    def close(self) -> None:
        """Stop watching."""
        self._stop.set()

    def _see(self, change: Change) -> None:
        now = time.monotonic()
        for name in marks(change.obj):
            self.seen.setdefault(name, now)
        if "ready" in self.seen:
            self.ready.set()


def marks(obj: dict[str, Any]) -> Iterator[str]:
    """Yield the marks that an object has reached."""
    status, step = obj.get("status", {}), obj["metadata"].get("labels", {}).get(STEP)
    if obj.get("kind") == "Dataset":
        yield "created"
        if condition(obj, "Ready").get("status") == "True":
            yield "ready"
    elif obj.get("kind") == "Job" and step:
        if not obj["spec"].get("suspend"):
            yield f"{step} released"
        if status.get("succeeded"):
            yield f"{step} complete"
    elif obj.get("kind") == "Pod" and step:
        phase = status.get("phase")
        yield from {"Running": [f"{step} running"], "Succeeded": [f"{step} ended"]}.get(phase, [])


@dataclass
class Life:
    """What one run measured: seconds, bytes of memory, writes by verb and resource."""

    seconds: dict[str, float] = field(default_factory=dict)
    memory: dict[str, int] = field(default_factory=dict)
    writes: Counter[str] = field(default_factory=Counter)


def live(files: int) -> Life:
    """Let one Dataset of so many files become Ready, then delete it; return what was measured."""
    with tempfile.TemporaryDirectory(prefix="fluidctl-bench-") as scratch:
        work = Path(scratch)
        data = make_tree(work / "data", files)
        with Stack(data, work) as stack:
            cluster = Cluster.connect(str(stack.control_plane.kubeconfig), pool_size=8, user_agent="bench")
            with closing(cluster), closing(Marks(cluster)) as seen, closing(Memory()) as looked:
                controller = stack.start_controller()
                controller.wait_ready(lambda: "leading" in controller.log.read_text(), 60)
                measured = Life()
                _apply(stack, files, seen)
                measured.seconds = _split(seen.seen)
                measured.memory = {f"Job, {step} (peak)": looked.peaks[step] for step in STEPS}
                measured.memory["controller (when Ready)"] = memory(controller.pid, "VmRSS")
                stack.control_plane.kubectl("delete", "dataset", NAME, "--timeout=60s", seconds=70)
                measured.memory["controller (peak)"] = memory(controller.pid, "VmHWM")
                measured.writes = writes(stack.control_plane.audit())
                return measured


def _apply(stack: Stack, files: int, seen: Marks) -> None:
    body = {"apiVersion": DATASETS.api_version, "kind": DATASETS.kind}
    body |= manifest(stack.storage, [stack.alluxio.rpc_address], stack.alluxio.web_port)
    stack.control_plane.kubectl("apply", "--filename=-", stdin=json.dumps(body))
    if not seen.ready.wait(LONGEST_SECONDS):
        raise SystemExit(f"not Ready: {stack.control_plane.kubectl('describe', 'dataset', NAME)}")
    counted = stack.control_plane.kubectl("get", "dataset", NAME, "--output=jsonpath={.status.fileCount}")
    assert int(counted) == files, counted


def _split(seen: dict[str, float]) -> dict[str, float]:
    parts = {part: sum(seen[end] - seen[begin] for begin, end in spans) for part, spans in PARTS.items()}
    return {"apply to Ready": seen["ready"] - seen["created"], **parts}


def writes(entries: Iterable[dict[str, Any]]) -> Counter[str]:
    """Return how often the controller wrote what, by verb and resource; renewals of its Lease are not the Dataset's."""
    found: Counter[str] = Counter()
    for entry in entries:
        ref = entry.get("objectRef", {})
        if entry["user"]["username"] != f"system:serviceaccount:{SYSTEM_NAMESPACE}:{SERVICE_ACCOUNT}":
            continue
        if ref.get("resource") != "leases":
            what = "/".join(filter(None, (ref.get("resource"), ref.get("subresource"))))
            code = entry["responseStatus"]["code"]
            found[f"{entry['verb']} {what}" + (f" (answered {code})" if code >= 400 else "")] += 1
    return found


class Memory:
    """Looks every 50 ms at the processes of Jobs, which are children of this one, and keeps their peaks in bytes."""

    def __init__(self) -> None:
        self.peaks = dict.fromkeys(STEPS, 0)
        self._stop = threading.Event()
        threading.Thread(target=self._look, daemon=True).start()

    def close(self) -> None:
        """Stop looking."""
        self._stop.set()

    def _look(self) -> None:
        while not self._stop.wait(0.05):
            for pid in (pid for task in Path("/proc/self/task").iterdir() for pid in _children(task)):
                words = read(Path(f"/proc/{pid}/cmdline")).split("\0")
                if "fluidctl" in words and (step := words[words.index("fluidctl") + 1]) in STEPS:
                    self.peaks[step] = max(self.peaks[step], memory(pid, "VmHWM"))


def _children(task: Path) -> list[int]:
    return [int(word) for word in read(task / "children").split()]


def report(files: int, lives: list[Life]) -> str:
    """Return the figures as Markdown."""
    total = _middle(life.seconds["apply to Ready"] for life in lives)
    rows = ["| | median | least | most | share |", "|---|---|---|---|---|"]
    for part in lives[0].seconds:
        numbers = [life.seconds[part] for life in lives]
        share = f"{100 * _middle(numbers) / total:.0f} %"
        rows.append(f"| {part} | {_middle(numbers):.2f} s | {min(numbers):.2f} s | {max(numbers):.2f} s | {share} |")
    sizes = ["| | median | most |", "|---|---|---|"]
    for name in lives[0].memory:
        numbers = [life.memory[name] / 2**20 for life in lives]
        sizes.append(f"| {name} | {_middle(numbers):.0f} MiB | {max(numbers):.0f} MiB |")
    calls = ["| | median |", "|---|---|"]
    names = sorted({name for life in lives for name in life.writes})
    calls += [f"| {name} | {_middle(life.writes[name] for life in lives):.0f} |" for name in names]
    calls.append(f"| all | {_middle(life.writes.total() for life in lives):.0f} |")
    return _TEXT.format(
        files=files,
        runs=len(lives),
        machine=describe(),
        times="\n".join(rows),
        sizes="\n".join(sizes),
        calls="\n".join(calls),
    )


_TEXT = """# The life of one Dataset

{files:,} files (100 in a directory, local storage), {runs} runs, medians. {machine}
Written by `make bench-life`: a real Kubernetes control plane and a real Alluxio 2.9.6, both started for the run and on
the same machine; pods are processes, so pulling and starting a container is not in it.

## From apply to Ready

{times}

A part's share is of the medians, so they need not add up to 100 %. "Kubernetes starts the Jobs" is from the release of
a Job to its running process, "Kubernetes ends the Jobs" from the end of the process to the completed Job: its
controller collects changes for a second. Load and size contain the start of Python.

## Writes to the API server

By the controller, from creation to deletion, without its Lease, from the audit log of the API server.

{calls}

## Memory

{sizes}
"""


def _middle(numbers: Iterable[float]) -> float:
    return statistics.median(numbers)


def main() -> None:
    """Run, and write the report."""
    parser = argparse.ArgumentParser(prog="python -m bench.life", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--files", type=int, default=100_000)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--output", type=Path, default=_OUTPUT)
    options = parser.parse_args()
    text = report(options.files, [live(options.files) for _ in range(options.runs)])
    options.output.parent.mkdir(parents=True, exist_ok=True)
    options.output.write_text(text)


if __name__ == "__main__":
    main()
