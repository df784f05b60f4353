"""Tells the pollers whom to follow for each Dataset, and the metrics what became of an object of any kind.

Followed are the masters of a Dataset always, the log of a pod while a Job runs.

Called at every pass; both pollers take the same registration again without effect.
"""

from collections.abc import Sequence

from controllers.api.databackup import DataBackupStatus
from controllers.api.dataset import DatasetStatus
from controllers.api.model import Model
from controllers.api.times import epoch
from controllers.backup_metrics import BackupMetrics
from controllers.dataset import JobState, JobView, Observed
from controllers.dataset_metrics import RESTORE_ENDS, STEPS, DatasetMetrics
from controllers.decision import Key
from controllers.kube.resources import DATASETS
from controllers.master_snapshot import ClusterAddress
from controllers.masters import MasterPoller
from controllers.progress import ProgressReader, Sample


class Pollers:
    """The masters, the logs of running pods, and the metrics of each Dataset."""

    def __init__(
        self,
        masters: MasterPoller[Key],
        progress: ProgressReader,
        metrics: DatasetMetrics,
        backups: BackupMetrics,
    ) -> None:
        self._masters, self._progress, self._metrics, self._backups = masters, progress, metrics, backups

    def follow(self, key: Key, seen: Observed) -> Sample | None:
        """Register what this Dataset needs now, and nothing else; return how far the Job is that runs."""
        address = seen.alluxio
        if address is None or seen.meta.deleting:
            self._masters.unregister(key)
        else:
            self._masters.register(key, address)
        return self.progress(key, seen.jobs, address)

    def progress(self, key: Key, jobs: Sequence[JobView], address: ClusterAddress | None = None) -> Sample | None:
        """Have the log of the Job that runs read, if one does; return what was read of it."""
        running = next((job for job in jobs if job.state is JobState.RUNNING and job.pod), None)
        if running is None:
            self._progress.unregister(key)
        else:
            self._progress.register(key, running.pod, address)
        return self._progress.sample(key)

    def forget(self, key: Key) -> None:
        """Drop everything of an object that is gone, its series too."""
        self._progress.unregister(key)
        if key.kind != DATASETS.kind:
            return
        self._masters.unregister(key)
        self._metrics.gone(key.namespace, key.name)

    def decided(self, key: Key, old: Model, new: Model) -> None:
        """Show the new status, and count what ended between the two."""
        if isinstance(old, DatasetStatus) and isinstance(new, DatasetStatus):
            self._dataset(key, old, new)
        if isinstance(old, DataBackupStatus) and isinstance(new, DataBackupStatus):
            self._backups.decided(old, new)

    def _dataset(self, key: Key, old: DatasetStatus, new: DatasetStatus) -> None:
        self._metrics.seen(key.namespace, key.name, new)
        if old.run.number != new.run.number:
            return
        if new.restore.phase != old.restore.phase and new.restore.phase in RESTORE_ENDS:
            self._metrics.restored(new.restore.phase.value)
        for name in STEPS:
            before, after = getattr(old, name), getattr(new, name)
            if after.completion_time and not before.completion_time:
                seconds = (epoch(after.completion_time) or 0.0) - (epoch(after.start_time) or 0.0)
                self._metrics.attempt(name, "Complete", max(0.0, seconds))
            elif after.attempt != before.attempt and after.last_failure_time != before.last_failure_time:
                self._metrics.attempt(name, after.last_reason)
