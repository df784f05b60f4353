"""How a Job around backups ends: an exit code, a reason of its own, and one sentence that says what to do."""

import errno
from collections.abc import Iterator
from contextlib import contextmanager

from controllers.api.result import Exit
from fluidctl.load.errors import StepError


class BackupError(StepError):
    """A known end of a Job. ``reason`` is more precise than the exit code; docs/backup.md has a row for each."""

    def __init__(self, code: Exit, reason: str, message: str) -> None:
        super().__init__(code, message)
        self.reason = reason


def refused(reason: str, message: str) -> BackupError:
    """Return the end of a Job which the same backup would cause again."""
    return BackupError(Exit.BACKUP_REFUSED, reason, message)


@contextmanager
def volume(name: str, *, written: bool) -> Iterator[None]:
    """Turn an OSError in here into an end of the Job; ``name`` says to a person which volume it was.

    Nothing but a volume may be used in here: an error of a connection is an OSError, too.
    """
    try:
        yield
    except OSError as error:
        raise _of_volume(error, name, written) from error


def _of_volume(error: OSError, name: str, written: bool) -> BackupError:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return no_space(f"{name} is full ({error.strerror})")
    if error.errno == errno.EROFS:
        return read_only(f"{name} is mounted read-only")
    if error.errno in (errno.EACCES, errno.EPERM) and written:
        message = f"{name} may not be written by this user: set runAs to the owner of its directory, or an fsGroup."
        return BackupError(Exit.VOLUME_FAILED, "VolumeNotWritable", message)
    if error.errno in (errno.EACCES, errno.EPERM):
        message = f"{name} may not be read by this user: set runAs to the user who took the backup."
        return BackupError(Exit.VOLUME_FAILED, "VolumeNotReadable", message)
    where = f" at {error.filename}" if error.filename else ""
    return BackupError(
        Exit.VOLUME_FAILED, "VolumeFailed", f"{name} failed{where}: {error.strerror or error}. Look at its storage."
    )


def no_space(what: str) -> BackupError:
    """Return how a Job ends whose volume is full."""
    return BackupError(Exit.NO_SPACE, "NoSpace", f"{what}: remove old backups or make the volume larger.")


def read_only(what: str) -> BackupError:
    """Return how a Job ends that may not write."""
    return BackupError(Exit.READ_ONLY_VOLUME, "ReadOnlyVolume", f"{what}: mount it so that it may be written.")
