"""The reasons that a DataBackup shows, and docs/backup.md explains; those of its Jobs are not here.

How a Job ended is said by ``api.result`` and ``dataset.ended``.
"""

from controllers.api.result import Exit, describe

# --- refused: the object is Failed at once, for nothing that it waits for would help ---------------------------------
INVALID_SPEC = "InvalidSpec"
CROSS_NAMESPACE = "CrossNamespace"
PATH_INVALID = "PathInvalid"
BACKUP_DIRECTORY_MISSING = "BackupDirectoryMissing"
BACKUP_DIRECTORY_NOT_ALLOWED = "BackupDirectoryNotAllowed"

# --- waited for, until startingDeadlineSeconds where that is set -----------------------------------------------------
DATASET_NOT_FOUND = "DatasetNotFound"  # of one that is under way: a failure
DATASET_NOT_READY = "DatasetNotReady"
MASTER_NOT_READY = "MasterNotReady"
VOLUME_NOT_FOUND = "VolumeNotFound"
VOLUME_UNAVAILABLE = "VolumeUnavailable"  # of a pod that did not start in time: a failure
WAITING_FOR_BACKUP = "WaitingForBackup"
WAITING_FOR_TURN = "WaitingForTurn"

# --- under way -------------------------------------------------------------------------------------------------------
JOB_CREATED = "JobCreated"
POD_STARTING = "PodStarting"
TAKING_BACKUP = "TakingBackup"
READING_RESULT = "ReadingResult"
JOB_DELETED = "JobDeleted"
CANCELLING_JOBS = "CancellingJobs"
REMOVING_FILES = "RemovingFiles"
VERIFYING = "Verifying"
BACKUP_IN_USE = "BackupInUse"

# --- over ------------------------------------------------------------------------------------------------------------
COMPLETE = "Complete"
VERIFIED = "Verified"
NOT_VERIFIED = "NotVerified"
DEADLINE_EXCEEDED = "DeadlineExceeded"
MASTER_RESTARTED = "MasterRestarted"
DATASET_CHANGED = "DatasetChanged"
JOB_FAILED = "JobFailed"
POD_LOST = "PodLost"
DIRECTORY_TAKEN = "DirectoryTaken"  # of the Job: another's directory has the final name
FILES_KEPT = "FilesKept"  # an event: what is in the volume could not be removed

#: Of the API server's refusals: nothing can be created in the namespace, so nothing is waited for.
NAMESPACE_TERMINATING = "NamespaceTerminating"

#: What a backup waits for on its own account: it holds up no other backup of its dataset.
OWN_OBSTACLES = (VOLUME_NOT_FOUND, VOLUME_UNAVAILABLE)
#: What a Job says of a master that is not the one it began with.
MASTER_CHANGED = describe(Exit.MASTER_CHANGED)[0]
