"""The demo on the real thing: ``make demo-real``, or ``python -m tests.real.demo [--data DIRECTORY] [--once]``.

A real API server and controller-manager, a real Alluxio over the directory, a node that runs pods as processes, and the
controller as its own ServiceAccount with the rights of manifests/.
"""

import argparse
import shlex
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from fluidctl import demo
from fluidctl.exits import Code, Failure
from tests.real import binaries, jars
from tests.real.alluxio import Alluxio
from tests.real.process import StartFailed
from tests.real.stack import Stack, missing_tools


@contextmanager
def real(source: Path, work: Path) -> Iterator[demo.Stage]:
    """Set up the real stage."""
    with Stack(source, work) as stack:
        yield demo.Stage(
            stack.control_plane.kubeconfig,
            stack.controller_flags(),
            [stack.alluxio.rpc_address],
            stack.alluxio.web_port,
            _more_to_try(stack.alluxio),
        )


def main() -> int:
    """Run the demo and return its exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.real.demo", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--data", default="", help="directory to serve; default: a tree that is made for it")
    parser.add_argument("--files", type=int, default=20_000, help="files in the tree that is made")
    parser.add_argument("--once", action="store_true", help="end when Ready; the last line is the Dataset as JSON")
    options = parser.parse_args()
    try:
        if missing := missing_tools():
            raise Failure(Code.FAILED, f"the real stack needs {', '.join(missing)} on the PATH")
        demo.run(options.data, options.files, options.once, real)
    except Failure as failure:
        print(f"demo-real: {failure}", file=sys.stderr)
        return failure.code
    except (StartFailed, subprocess.CalledProcessError, jars.LockMismatch) as error:
        print(f"demo-real: {error}", *getattr(error, "__notes__", ()), sep="\n", file=sys.stderr)
        return Code.FAILED
    except KeyboardInterrupt:
        return Code.INTERRUPTED
    return Code.OK


def _more_to_try(alluxio: Alluxio) -> str:
    kubectl = shlex.quote(str(binaries.program("kubectl")))
    lines = [
        f"{kubectl} get datasets",
        f"{kubectl} describe dataset {demo.NAME}",
        f"{kubectl} get jobs,pods,pv,pvc,events",
    ]
    return "".join(f"\n  {line}" for line in [*lines, f"{alluxio.executable} fs ls /"])


if __name__ == "__main__":
    sys.exit(main())
