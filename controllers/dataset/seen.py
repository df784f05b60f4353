"""Everything that a decision about one Dataset may use: facts as frozen values, times included."""

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field

from controllers.api.databackup import DataBackupStatus
from controllers.api.dataset import CacheStatus, DatasetSpec, DatasetStatus
from controllers.api.result import Progress, Result
from controllers.config import ControllerConfig
from controllers.decision import Problem
from controllers.master_snapshot import ClusterAddress
from controllers.runtime.view import RuntimeView

#: Kubernetes convention: <group>/<what it guards>.
FINALIZER = "data.fluid.io/dataset-cleanup"
RETRY_ANNOTATION = "data.fluid.io/retry-requested-at"
REFRESH_ANNOTATION = "data.fluid.io/refresh-requested-at"
STAGE, MOUNT, LOAD, SIZE = "stage", "mount", "load", "size"
NOT_POLLED = "NotPolled"
INPUTS_CHANGED = "InputsChanged"  # why a run began
#: A pod that has not ended so many seconds after the last moment that it was given: its node does not answer.
LOST_SECONDS = 600.0


class JobState(enum.Enum):
    """Where a Job is, derived from its conditions and its newest pod."""

    SUSPENDED = "waits for its turn"
    STARTING = "released, no container runs yet"
    RUNNING = "its container runs"
    SUCCEEDED = "has ended well"
    FAILED = "has ended badly"
    DELETING = "is being deleted"


@dataclass(frozen=True)
class JobView:
    """One Job of the Dataset. Times in seconds since the epoch."""

    name: str
    uid: str
    step: str
    run: int
    attempt: int
    state: JobState
    created: float = 0.0
    started: float | None = None  # the first time that it was released
    finished: float | None = None
    pod: str = ""
    pod_created: float | None = None
    waiting: str = ""  # why no container runs yet, in Kubernetes' words
    exit_code: int | None = None  # of the newest container that ended
    oom_killed: bool = False
    result: Result | None = None
    failure: str = ""  # reason of the Job's condition Failed
    failure_message: str = ""

    @property
    def ended(self) -> bool:
        """Whether nothing of it will run any more."""
        return self.state in (JobState.SUCCEEDED, JobState.FAILED)


@dataclass(frozen=True)
class VolumeView:
    """A PersistentVolume or claim that carries this Dataset's uid. ``uid`` is empty where there is none."""

    name: str = ""
    uid: str = ""
    bound: bool = False
    claimed: bool = False  # of a volume: it has been bound; it takes no other claim, not even one of the same name
    released: bool = False  # of a volume: the claim that it was bound to is gone, for good
    fits: bool = True  # what Kubernetes never lets change is what the spec asks for
    deleting: bool = False
    held_by: tuple[str, ...] = ()  # finalizers that are not Kubernetes' own


@dataclass(frozen=True)
class MasterView:
    """What the poller last saw of the Dataset's Alluxio. ``reachable`` None: not asked yet, or not askable."""

    reachable: bool | None = None
    reason: str = NOT_POLLED
    message: str = "the masters have not been asked yet"
    version: str = ""
    start_time_ms: int = 0
    total_paths: int | None = None
    cache: CacheStatus | None = None
    cache_states: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class ProgressSample:
    """The last progress line of a pod, and when it was read."""

    progress: Progress
    time: float


@dataclass(frozen=True)
class Meta:
    """Identity of the Dataset and what its metadata asks for."""

    namespace: str
    name: str
    uid: str
    generation: int = 1
    deleting: bool = False
    finalizers: tuple[str, ...] = ()
    retry: str = ""  # values of the annotations
    refresh: str = ""


@dataclass(frozen=True)
class Observed:
    """One Dataset and all that belongs to it, at one moment."""

    now: float
    meta: Meta
    config: ControllerConfig
    status: DatasetStatus
    spec: DatasetSpec | None = None  # None: not readable, or not acceptable
    spec_error: Problem | None = None
    unserved: tuple[str, ...] = ()
    masters: tuple[str, ...] = ()
    path: str = "/"
    inputs: str = ""
    alluxio: ClusterAddress | None = None  # whom the poller asks
    runtime: RuntimeView = RuntimeView()  # where the Alluxio is the Dataset's own
    backup: DataBackupStatus | None = None  # that of spec.dataRestoreLocation.backupName; None: there is none
    jobs: tuple[JobView, ...] = ()
    running_pods: tuple[str, ...] = ()  # not ended; their Job may be gone already
    volume: VolumeView = VolumeView()
    claim: VolumeView = VolumeView()
    claim_users: tuple[str, ...] = ()  # pods that hold the claim; only looked up while deleting
    master: MasterView = MasterView()
    progress: ProgressSample | None = None
    line: str = ""  # why the suspended Job has no turn yet
    problem: Problem | None = None

    def job(self, step: str, attempt: int) -> JobView | None:
        """Return the Job of that step and attempt in the run of the status, or None."""
        wanted = (step, self.status.run.number, attempt)
        return next((job for job in self.jobs if (job.step, job.run, job.attempt) == wanted), None)
