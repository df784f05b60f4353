"""The argv of a Job's container: built by the controller, read by ``fluidctl load`` and ``fluidctl size``.

Like ``result`` it is frozen (version 1): an option may be added with a default, none may change its meaning.

Directory names are text here and in ``result``: a byte that is not UTF-8, a control character and "%" itself are
written as "%XX", so that every name has exactly one spelling which survives JSON and a status.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass

from controllers.api.result import Totals

#: Where Kubernetes reads the termination message from; where the emptyDir for spilled directory names is mounted.
RESULT_PATH = "/dev/termination-log"
SPILL_PATH = "/var/spool/fluidctl"


@dataclass(frozen=True)
class Mount:
    """One mount that the master must have: Alluxio path and the URI in the under storage."""

    path: str
    uri: str


@dataclass(frozen=True)
class StepCommand:
    """Everything that one load or size step is told; nothing else reaches the container."""

    step: str  # "load" or "size"
    masters: tuple[str, ...]  # host:port
    path: str  # in Alluxio, starts with "/"
    mounts: tuple[Mount, ...] = ()
    parallelism: int = 16
    no_progress_seconds: int = 900
    directories: tuple[str, ...] = ()  # load only these (a retry of what failed); empty: all
    evidence: str = ""  # size: what the load's result said
    accept_unverified: bool = False
    refresh: bool = False  # load: compare with the storage; find what was added, removed and changed
    since_ms: int = 0  # load --refresh: when its run began; what was compared since then is not listed again
    known_paths: int = 0  # load --refresh: files and directories of the last count
    max_removed_fraction: float = 1.0  # load --refresh: of known_paths; what removes more is suspicious
    expected: Totals | None = None  # size: of a restored master, which must hold exactly this; the storage is not asked
    known_cluster: str = ""  # size: end at once, without a count, where the master's cluster id is this one
    result_path: str = RESULT_PATH
    spill_path: str = SPILL_PATH

    def argv(self) -> list[str]:
        """Return the arguments after ``fluidctl``."""
        args = [self.step, *_each("--master", self.masters), f"--path={self.path}"]
        args += _each("--mount", [json.dumps([mount.path, mount.uri]) for mount in self.mounts])
        args += [f"--parallelism={self.parallelism}", f"--no-progress-seconds={self.no_progress_seconds}"]
        args += _each("--directory", self.directories)
        args += [f"--evidence={self.evidence}"] if self.evidence else []
        args += ["--accept-unverified"] if self.accept_unverified else []
        if self.refresh:
            args += ["--refresh", f"--since-ms={self.since_ms}", f"--known-paths={self.known_paths}"]
            args += [f"--max-removed-fraction={self.max_removed_fraction}"]
        args += [f"--known-cluster={self.known_cluster}"] if self.known_cluster else []
        if self.expected is not None:
            args += [f"--expect-{name}={value}" for name, value in asdict(self.expected).items()]
        return [*args, f"--result-path={self.result_path}", f"--spill-path={self.spill_path}"]


def _each(option: str, values: Sequence[str]) -> list[str]:
    return [f"{option}={value}" for value in values]
