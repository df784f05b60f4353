"""The demo on the real thing: ``make demo-real``, or ``python -m tests.real.demo [--data DIRECTORY] [--once]``.

A real API server and controller-manager, a real Alluxio over the directory, a node that runs pods as processes, and the
controller as its own ServiceAccount with the rights of manifests/.
"""

import argparse
import shlex
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from controllers.kube.client import Cluster
from devcluster import ProcessNode
from fluidctl import demo
from fluidctl.exits import Code, Failure
from tests.real import binaries
from tests.real.alluxio import Alluxio
from tests.real.controlplane import ControlPlane

_MANIFESTS = Path(__file__).parent.parent.parent / "manifests"
#: What a cluster gets, but for the Deployment: the controller runs here.
INSTALLED = [_MANIFESTS / "crds", *(_MANIFESTS / "controller" / f"{name}.yaml" for name in ("namespace", "rbac"))]
INSTALLED += [_MANIFESTS / "controller" / f"rbac-{name}.yaml" for name in ("logs", "users")]
SYSTEM_NAMESPACE, SERVICE_ACCOUNT = "fluidctl-system", "fluidctl"
_TOKEN_SECONDS = 86_400


def controller_flags(control_plane: ControlPlane) -> list[str]:
    """Return the flags of a controller outside of this cluster, with the rights that it would have inside."""
    kubeconfig = control_plane.token_kubeconfig(SYSTEM_NAMESPACE, SERVICE_ACCOUNT, _TOKEN_SECONDS)
    return [f"--kubeconfig={kubeconfig}", f"--lease-namespace={SYSTEM_NAMESPACE}"]


@contextmanager
def node(control_plane: ControlPlane, directory: Path) -> Iterator[ProcessNode]:
    """Run a node that takes every pod of this cluster."""
    cluster = Cluster.connect(str(control_plane.kubeconfig), pool_size=16, user_agent="process-node")
    try:
        with ProcessNode(cluster, directory, log_port=0) as running:
            yield running
    finally:
        cluster.close()


@contextmanager
def real(source: Path, work: Path) -> Iterator[demo.Stage]:
    """Set up the real stage."""
    with (
        ControlPlane(INSTALLED) as control_plane,
        Alluxio(source, workers=1) as alluxio,
        node(control_plane, work / "pods"),
    ):
        flags, masters = controller_flags(control_plane), [alluxio.rpc_address]
        yield demo.Stage(control_plane.kubeconfig, flags, masters, alluxio.web_port, _more_to_try(alluxio))


def main() -> int:
    """Run the demo and return its exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.real.demo", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--data", default="", help="directory to serve; default: a tree that is made for it")
    parser.add_argument("--files", type=int, default=20_000, help="files in the tree that is made")
    parser.add_argument("--once", action="store_true", help="end when Ready; the last line is the Dataset as JSON")
    options = parser.parse_args()
    try:
        demo.run(options.data, options.files, options.once, real)
    except Failure as failure:
        print(f"demo-real: {failure}", file=sys.stderr)
        return failure.code
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
