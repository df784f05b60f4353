"""Everything that a decision about one ScheduledDataBackup may use: facts as frozen values, times included."""

from dataclasses import dataclass

from controllers.api.schedule import ScheduledDataBackupSpec, ScheduledDataBackupStatus
from controllers.decision import Problem


@dataclass(frozen=True)
class Made:
    """A DataBackup that carries the label of this schedule. Times in seconds since the epoch."""

    name: str
    uid: str
    created: float
    over: bool = False  # complete, failed, or failed and being stopped
    good: bool = False  # complete, and not found corrupt since
    ended: float | None = None
    deleting: bool = False
    message: str = ""
    dataset: str = ""  # name of the Dataset that it is of


@dataclass(frozen=True)
class Observed:
    """One schedule and its backups, at one moment."""

    now: float
    namespace: str
    name: str
    uid: str
    status: ScheduledDataBackupStatus
    spec: ScheduledDataBackupSpec | None = None  # None: not readable
    spec_error: str = ""
    generation: int = 1
    created: float = 0.0
    deleting: bool = False
    dataset_uid: str = ""  # of the Dataset that the template names; empty where there is none
    backups: tuple[Made, ...] = ()
    problem: Problem | None = None
