"""Where a DataBackup stands after a pass, and why."""

from dataclasses import dataclass
from typing import Any

from controllers.api.databackup import DataBackupStatus
from controllers.decision import Child


@dataclass(frozen=True)
class Step:
    """``reason`` and ``message`` are what a person reads. ``over``: nothing is left to do."""

    status: DataBackupStatus
    reason: str
    message: str
    children: tuple[Child, ...] = ()
    requeue_after: float | None = None
    over: bool = False


def changed(status: DataBackupStatus, **values: Any) -> DataBackupStatus:
    """Return the status with these values."""
    return status.model_copy(update=values)
