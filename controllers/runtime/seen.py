"""Everything that a decision about one AlluxioRuntime may use: facts as frozen values, times included."""

from dataclasses import dataclass
from typing import Any

from controllers.api.alluxioruntime import AlluxioRuntimeSpec, AlluxioRuntimeStatus
from controllers.api.dataset import DatasetStatus, RestorePhase
from controllers.config import ControllerConfig
from controllers.decision import Problem

FINALIZER = "data.fluid.io/runtime-cleanup"


@dataclass(frozen=True)
class DatasetView:
    """The Dataset of the runtime's name."""

    uid: str
    status: DatasetStatus = DatasetStatus()
    restores: bool = False  # it has a dataRestoreLocation
    directories: tuple[str, ...] = ()  # in Alluxio, above its mounts and in none of them

    @property
    def holds(self) -> bool:
        """Whether the master must not run: its journal is being, or is still to be, laid out; or must not be used."""
        phase, run = self.status.restore.phase, self.status.run
        if phase is RestorePhase.ABANDONED:
            return "stage" in run.plan and not self.status.stage.completion_time
        if phase is None:
            return self.restores and not run.number
        return phase in (RestorePhase.STAGING, RestorePhase.FAILED)

    @property
    def starts_from(self) -> str:
        """Return the checksum of the backup that lies beside the journal, "" where none does."""
        restore = self.status.restore
        begun = restore.phase in (RestorePhase.STARTING, RestorePhase.VERIFYING, RestorePhase.RESTORED)
        return restore.checksum if begun else ""


@dataclass(frozen=True)
class Seen:
    """One AlluxioRuntime and all that belongs to it, at one moment."""

    now: float
    namespace: str
    name: str
    uid: str
    config: ControllerConfig
    spec: AlluxioRuntimeSpec
    image: str  # of masters and workers
    token: str  # for the agent, where it has none yet
    status: AlluxioRuntimeStatus = AlluxioRuntimeStatus()
    created: float = 0.0
    generation: int = 1
    deleting: bool = False
    finalizers: tuple[str, ...] = ()
    owners: tuple[dict[str, Any], ...] = ()
    unserved: tuple[str, ...] = ()
    dataset: DatasetView | None = None
    masters: dict[str, Any] | None = None  # the StatefulSets
    workers: dict[str, Any] | None = None
    pods: tuple[dict[str, Any], ...] = ()
    refused_master: str = ""  # why Kubernetes makes no pod, or no container in one, where only an event says so
    refused_worker: str = ""
    problem: Problem | None = None

    @property
    def starts_from(self) -> str:
        """Return the checksum of the backup from which the master starts, "" where it starts from none."""
        return self.dataset.starts_from if self.dataset else ""
