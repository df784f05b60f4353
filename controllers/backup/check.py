"""May a backup begin? What is refused for good, and what is waited for; the first obstacle is the one that is said."""

from controllers.api.databackup import DataBackupSpec, PathError
from controllers.api.model import normal_path
from controllers.backup import jobs, queue, reasons
from controllers.backup.seen import Observed, Place

#: A claim of somebody else's is not watched: it is looked up again after so many seconds.
LOOK_AGAIN = 15.0

Why = tuple[str, str]  # reason, and a sentence that says what to do


def refused(seen: Observed, spec: DataBackupSpec) -> Why | None:
    """Return what no waiting can mend, or None."""
    given = spec.dataset.namespace
    if given and given != seen.meta.namespace:
        text = f"dataset {given}/{spec.dataset.name} is in another namespace: create the DataBackup there"
        return reasons.CROSS_NAMESPACE, text
    try:
        jobs.location(seen.meta, spec)
    except PathError as error:
        return reasons.PATH_INVALID, f"spec.backupStorageLocationSpec.mountPath: {error}"
    if seen.dataset.unshared and not seen.dataset.deleting:
        return reasons.BACKUP_DIRECTORY_MISSING, (
            f"the Alluxio of dataset {spec.dataset.name} is not ours: mount the claim into its masters and name that "
            "directory in spec.alluxio.backupDirectory of the Dataset, then create another DataBackup"
        )
    if seen.dataset.shared_directory and not _allowed(seen):
        # A master writes as its own user wherever it is told to, and a backup holds the metadata of all its datasets.
        return reasons.BACKUP_DIRECTORY_NOT_ALLOWED, (
            f"{seen.dataset.shared_directory} is not among --backup-directories: ask the administrator to add it, then "
            "create another DataBackup"
        )
    return None


def _allowed(seen: Observed) -> bool:
    wanted = normal_path(seen.dataset.shared_directory)
    roots = [normal_path(each) for each in seen.config.backup_directories]
    return ".." not in wanted.split("/") and any(wanted == root or wanted.startswith(f"{root}/") for root in roots)


def waiting(seen: Observed, spec: DataBackupSpec) -> tuple[Why, float | None] | None:
    """Return what is waited for, and after how many seconds to look again where no event tells; None: it may begin."""
    if why := _dataset(seen, spec.dataset.name):
        return why, None
    if why := _claim(seen, spec):
        return why, LOOK_AGAIN
    mine = Place(seen.meta.name, seen.meta.created, bool(seen.status.take.attempt))
    if first := queue.ahead(mine, seen.others):
        word = "is under way" if first.started else "is older"
        # What it waits for, or that it has failed and is being stopped, wakes nobody.
        return (reasons.WAITING_FOR_BACKUP, f"backup {first.name} of the same dataset {word}: one at a time"), 60.0
    return None


def _dataset(seen: Observed, name: str) -> Why | None:
    dataset = seen.dataset
    if not dataset.uid:
        return reasons.DATASET_NOT_FOUND, f"there is no dataset {name} in this namespace: create it, or delete this"
    if dataset.deleting:
        return reasons.DATASET_NOT_FOUND, f"dataset {name} is being deleted"
    if dataset.master_down:
        return reasons.MASTER_NOT_READY, f"waiting for the Alluxio master of {name}: {dataset.master_down}"
    if not dataset.ready:
        return reasons.DATASET_NOT_READY, f"waiting for dataset {name} to be Ready: {dataset.why}"
    return None


def _claim(seen: Observed, spec: DataBackupSpec) -> Why | None:
    claim, name = seen.claim, jobs.location(seen.meta, spec).pvc_name
    if claim.exists is False:
        return reasons.VOLUME_NOT_FOUND, f"there is no claim {name} in this namespace: create it"
    if claim.deleting or claim.lost:
        word = "is being deleted" if claim.deleting else "has lost its volume"
        return reasons.VOLUME_UNAVAILABLE, f"claim {name} {word}: create it anew"
    return None
