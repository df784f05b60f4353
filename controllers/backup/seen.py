"""Everything that a decision about one DataBackup may use: facts as frozen values, times included."""

from dataclasses import dataclass

from controllers.api.databackup import BackupPhase, DataBackupSpec, DataBackupStatus
from controllers.api.dataset import MasterStatus, PodTemplate
from controllers.config import ControllerConfig
from controllers.dataset.seen import LOST_SECONDS, JobView, ProgressSample
from controllers.decision import Problem

#: Kubernetes convention: <group>/<what it guards>.
FINALIZER = "data.fluid.io/backup-cleanup"
FINAL = (BackupPhase.COMPLETE, BackupPhase.FAILED)


@dataclass(frozen=True)
class Meta:
    """Identity of the DataBackup and what its metadata asks for. ``created`` in seconds since the epoch."""

    namespace: str
    name: str
    uid: str
    generation: int = 1
    created: float = 0.0
    deleting: bool = False
    finalizers: tuple[str, ...] = ()
    verify: str = ""  # value of the annotation


@dataclass(frozen=True)
class DatasetView:
    """The Dataset that is backed up, as far as a backup needs to know it. ``uid`` is empty where there is none."""

    uid: str = ""
    deleting: bool = False
    ready: bool = False
    why: str = ""  # not ready, in a sentence
    master_down: str = ""  # why its master does not answer; empty where it does, or where nobody has asked yet
    masters: tuple[str, ...] = ()
    path: str = "/"  # in Alluxio
    mounts_hash: str = ""
    agent: str = ""  # of a managed Alluxio: its URL, and the Secret with its token
    agent_secret: str = ""
    shared_directory: str = ""  # of an existing one: where the masters have the root of the claim
    unshared: bool = False  # an existing one whose masters do not have the claim
    no_progress_seconds: int = 900
    pod_template: PodTemplate = PodTemplate()
    ufs_total: str = ""
    file_num: str = ""
    master: MasterStatus = MasterStatus()
    run: int = 0  # number of its run, and whether that is a refresh: then all stays loaded
    refreshes: bool = False


@dataclass(frozen=True)
class ClaimView:
    """The claim that holds the backup. ``exists`` None: nobody has asked."""

    exists: bool | None = None
    lost: bool = False
    deleting: bool = False


@dataclass(frozen=True)
class Place:
    """A backup of the same Dataset, as the line before it sees it."""

    name: str
    created: float
    started: bool = False  # a Job of it may exist
    able: bool = True  # nothing of its own stands in its way


@dataclass(frozen=True)
class LostPod:
    """A pod that should have ended long ago, and may still run: its node does not answer."""

    name: str
    node: str
    writes: bool = True  # else its claim is mounted read-only

    def __str__(self) -> str:
        return f"pod {self.name} on node {self.node} should have ended more than {LOST_SECONDS / 60:.0f} minutes ago"


@dataclass(frozen=True)
class Observed:
    """One DataBackup and all that it needs to know, at one moment."""

    now: float
    meta: Meta
    config: ControllerConfig
    status: DataBackupStatus
    spec: DataBackupSpec | None = None  # None: not readable
    spec_error: str = ""
    dataset: DatasetView = DatasetView()
    claim: ClaimView = ClaimView()
    others: tuple[Place, ...] = ()  # backups of the same Dataset that are not over, without this one
    jobs: tuple[JobView, ...] = ()
    running_pods: tuple[str, ...] = ()  # that have not ended, but for those that remove; their Job may be gone
    lost_pods: tuple[LostPod, ...] = ()  # of the same kind, and not among them: nobody waits for these
    users: tuple[str, ...] = ()  # Datasets that restore from it now
    progress: ProgressSample | None = None  # of the Job that runs
    line: str = ""  # why the suspended Job has no turn yet
    problem: Problem | None = None

    @property
    def lost_writers(self) -> tuple[LostPod, ...]:
        """Those lost pods under which nothing may be removed, and beside which nothing may be written."""
        return tuple(pod for pod in self.lost_pods if pod.writes)

    def job(self, step: str, attempt: int) -> JobView | None:
        """Return the Job of that step and attempt, or None."""
        return next((job for job in self.jobs if (job.step, job.attempt) == (step, attempt)), None)
