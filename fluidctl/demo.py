"""``fluidctl demo``: the whole flow on one machine, in processes that end with it.

The controller is the real one, a process of its own, which sees nothing but a kubeconfig. The stage it plays on is the
embedded cluster; tests/real has another. Everything is written below one temporary directory.
"""

import json
import os
import shlex
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

from controllers.kube.client import Cluster
from controllers.kube.resources import DATASETS
from fluidctl import follow
from fluidctl.exits import Code, Failure

NAMESPACE, NAME = "default", "demo"
ONCE_SECONDS = 900.0
#: Of the Alluxio double: as fast as it can, nobody would see the table move.
FILES_PER_SECOND = 2_500.0
_FILES_PER_DIRECTORY = 100
#: How often to look whether the controller still runs while its work is watched.
_LOOK_SECONDS = 2.0
_STOP_SECONDS = 10.0
_SIGNALS = (signal.SIGINT, signal.SIGTERM)


@dataclass(frozen=True)
class Stage:
    """Where a demo plays: a person's kubeconfig, flags that lead the controller there, and an Alluxio."""

    kubeconfig: Path
    controller_flags: list[str]
    masters: list[str]
    web_port: int
    more_to_try: str = ""


def run(data: str, files: int, once: bool, stage: Callable[[Path, Path], AbstractContextManager[Stage]]) -> None:
    """Run the demo until Ctrl-C, or with ``once`` until Ready; a Failure says why it did not get there.

    ``stage(directory to serve, directory to work in)`` sets up where it plays.
    """
    if data and not Path(data).is_dir():
        raise Failure(Code.USAGE, f"--data: {data} is not a directory")
    if files < 0:
        raise Failure(Code.USAGE, f"--files must be at least 0, not {files}")
    for name in _SIGNALS:
        signal.signal(name, _end)
    with tempfile.TemporaryDirectory(prefix="fluidctl-demo-") as temporary:
        work = Path(temporary)
        source = Path(data).absolute() if data else make_tree(work / "data", files)
        with stage(source, work) as place, _controller(place.controller_flags, work) as controller:
            _show(place, controller, source, work, once)


def _end(number: int, frame: FrameType | None) -> None:
    """End at the first signal and ignore the next ones: an impatient Ctrl-C must not leave processes behind."""
    for name in _SIGNALS:
        signal.signal(name, signal.SIG_IGN)
    raise KeyboardInterrupt


def make_tree(root: Path, files: int) -> Path:
    """Make a tree of so many files, a hundred in a directory, and return its root. They have sizes and take no space.

    Every directory links the files of the first one: ext4 takes seconds for thousands of inodes where as many have just
    been deleted, as they have before a second demo.
    """
    root.mkdir()
    first = directory = root / "part-000" / "class-00000"
    for index in range(files):
        number, file = divmod(index, _FILES_PER_DIRECTORY)
        if file == 0:
            directory = root / f"part-{number // 50:03}" / f"class-{number:05}"
            directory.mkdir(parents=True)
        name = f"{file:05}.jpg"
        if directory == first:
            (directory / name).touch()
            os.truncate(directory / name, (file + 1) * 7919)
        else:
            os.link(first / name, directory / name)
    return root


@contextmanager
def embedded(source: Path, work: Path) -> Iterator[Stage]:
    """Set up the embedded cluster with its Alluxio double."""
    from controllers.api.crd import KINDS, definition

    try:
        from devcluster import DevCluster
    except ImportError as error:  # it is never in the image of the controller
        raise Failure(Code.FAILED, f"the demo needs a checkout of the source with its tools: {error}") from error
    crds = [definition(kind) for kind in KINDS]
    with DevCluster(source, crds, work, files_per_second=FILES_PER_SECOND) as cluster:
        yield Stage(
            cluster.kubeconfig,
            [f"--kubeconfig={cluster.kubeconfig}", "--lease-namespace=default"],
            cluster.masters,
            cluster.web_port,
        )


@contextmanager
def _controller(where: list[str], work: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Start the controller, its log in ``work``, and stop it as Kubernetes would: SIGTERM, then SIGKILL."""
    flags = [*where, "--allow-local-ufs", "--log-format=text", "--progress-seconds=1"]
    flags += ["--metrics-bind=127.0.0.1:0", "--health-bind=127.0.0.1:0", "--cache-poll-seconds=5"]
    clean = {name: value for name, value in os.environ.items() if not name.startswith("FLUIDCTL_")}
    with (work / "controller.log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "fluidctl", "controller", *flags],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env=clean,
            process_group=0,  # Ctrl-C is for us: the controller must not go before the last status is shown
        )
        try:
            yield process
        finally:
            process.terminate()
            try:
                process.wait(_STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _show(place: Stage, controller: subprocess.Popen[bytes], source: Path, work: Path, once: bool) -> None:
    with follow.cluster(str(place.kubeconfig), "") as api:
        api.create(DATASETS, NAMESPACE, manifest(source, place.masters, place.web_port))
        try:
            _until_ready(api, controller, work, ONCE_SECONDS if once else float("inf"))
        finally:
            if once:
                last = follow.fetch(api, NAMESPACE, NAME)
                print(json.dumps({key: last.get(key, {}) for key in ("metadata", "spec", "status")}), flush=True)
    if once:
        return
    print(_next_steps(place, work), flush=True)
    try:
        controller.wait()
    except KeyboardInterrupt:
        return
    raise _ended(controller, work)


def manifest(source: Path, masters: list[str], web_port: int) -> dict[str, Any]:
    """Return the Dataset of the demo."""
    return {
        "metadata": {"name": NAME, "namespace": NAMESPACE},
        "spec": {
            "mounts": [{"mountPoint": f"local://{source}", "name": NAME, "path": "/"}],
            "alluxio": {"masters": masters, "webPort": web_port, "datasetPath": "/"},
        },
    }


def _until_ready(api: Cluster, controller: subprocess.Popen[bytes], work: Path, limit: float) -> None:
    end = time.monotonic() + limit
    with follow.Display(f"{NAMESPACE}/{NAME}", time.time, sys.stdout) as display:
        while True:
            deadline = min(time.monotonic() + _LOOK_SECONDS, end)
            found = follow.states(api, NAMESPACE, NAME, deadline, time.monotonic, time.sleep)
            try:
                follow.follow(found, "Ready", display)
                return
            except Failure as failure:
                if controller.poll() is not None:
                    raise _ended(controller, work) from failure
                if failure.code is not Code.TIMED_OUT or time.monotonic() >= end:
                    raise


def _ended(controller: subprocess.Popen[bytes], work: Path) -> Failure:
    lines = (work / "controller.log").read_text(encoding="utf-8", errors="replace").splitlines()
    said = lines[-1] if lines else "nothing"
    return Failure(Code.FAILED, f"the controller ended with code {controller.returncode}; its last words: {said}")


def _next_steps(place: Stage, work: Path) -> str:
    program = shlex.join([sys.executable, "-m", "fluidctl"])
    return f"""
Ready. Try in another terminal:

  export KUBECONFIG={shlex.quote(str(place.kubeconfig))}
  {program} get
  {program} get {NAME}{place.more_to_try}

Log of the controller: {work / "controller.log"}
Ctrl-C ends everything and removes {work}."""
