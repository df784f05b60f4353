"""The programs of a real control plane, built once from pinned Go modules (tools/go.mod, tools/go.sum).

``python -m tests.real.binaries`` builds them and prints where they are: about 6 minutes on 2 cores, then nothing.
"""

import functools
import hashlib
import os
import subprocess
import time
from pathlib import Path

from tests.real import cache

TOOLS = Path(__file__).parent / "tools"
PACKAGES = {
    "etcd": "go.etcd.io/etcd/server/v3",
    "kube-apiserver": "k8s.io/kubernetes/cmd/kube-apiserver",
    "kube-controller-manager": "k8s.io/kubernetes/cmd/kube-controller-manager",
    "kubectl": "k8s.io/kubernetes/cmd/kubectl",
}


@functools.cache
def program(name: str) -> Path:
    """Return the path of a program of ``PACKAGES``: from ``KUBEBUILDER_ASSETS`` if it is there, else built or cached.

    Raises:
        FileNotFoundError: it must be built and there is no Go.
        subprocess.CalledProcessError: the build failed; Go has said why on stderr.
    """
    return _asset(name) or cache.obtain(cache.directory() / "go" / _key() / name, lambda target: _build(name, target))


def needs_go() -> bool:
    """Return whether some program does not come from ``KUBEBUILDER_ASSETS``."""
    return any(_asset(name) is None for name in PACKAGES)


def _asset(name: str) -> Path | None:
    assets = os.environ.get("KUBEBUILDER_ASSETS")
    path = Path(assets, name) if assets else None
    return path if path and os.access(path, os.X_OK) else None


def _build(name: str, target: Path) -> None:
    cache.say(f"building {name} from Go modules, once for this machine; the first one takes minutes")
    start = time.monotonic()
    command = [
        "go",
        "build",
        "-mod=readonly",
        "-buildvcs=false",
        "-trimpath",
        f"-ldflags={_ldflags()}",
        "-o",
        str(target),
        PACKAGES[name],
    ]
    subprocess.run(command, cwd=TOOLS, env=os.environ | {"CGO_ENABLED": "0"}, check=True)
    cache.say(f"built {name} in {time.monotonic() - start:.0f} s")


def _key() -> str:
    """Hash what the binaries are made of. ``go env`` runs in tools/, where go.mod may select another toolchain."""
    go = subprocess.run(["go", "env", "GOVERSION", "GOOS", "GOARCH"], cwd=TOOLS, check=True, capture_output=True)
    parts = [(TOOLS / "go.mod").read_bytes(), (TOOLS / "go.sum").read_bytes(), _ldflags().encode(), go.stdout]
    return hashlib.sha256(b"\0".join(parts)).hexdigest()[:16]


def _ldflags() -> str:
    """Stamp the version, which a build from modules lacks: else /version says v0.0.0-master."""
    version = next(line.split()[1] for line in (TOOLS / "go.mod").read_text().splitlines() if _is_kubernetes(line))
    major, minor = version.removeprefix("v").split(".")[:2]
    values = {"gitVersion": version, "gitMajor": major, "gitMinor": minor, "gitTreeState": "clean"}
    packages = ("k8s.io/component-base/version", "k8s.io/client-go/pkg/version")
    return " ".join(["-s", "-w", *(f"-X {p}.{key}={value}" for p in packages for key, value in values.items())])


def _is_kubernetes(line: str) -> bool:
    return line.split()[:1] == ["k8s.io/kubernetes"]


if __name__ == "__main__":
    for each in PACKAGES:
        print(program(each))
