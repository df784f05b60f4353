"""Has a master write a backup: the call, the wait for its end, and what it says where it fails."""

import grpc

from controllers.api.job_commands import BACKUP_FILE
from controllers.api.result import Exit
from fluidctl.backup.errors import BackupError, no_space, read_only
from fluidctl.load import alluxio_pb2 as pb
from fluidctl.load.channel import Client, why
from fluidctl.load.methods import BACKUP, GET_BACKUP_STATUS
from fluidctl.load.session import Session
from fluidctl.load.watch import Watch

_FIRST_POLL, _LAST_POLL = 0.1, 2.0  # seconds; a backup takes from a second to many minutes
_RUNNING = (pb.INITIATING, pb.TRANSITIONING, pb.RUNNING_BACKUP)


def write_backup(client: Client, directory: str, watch: Watch) -> tuple[str, int]:
    """Let the master write a backup into a directory of its machine; return the file's name and its entries.

    Raises:
        BackupError: BackupInProgress, BackupFailed, MasterChanged, NoSpace, ReadOnlyVolume, PermissionDenied.
        StepError, Halted: as of Client and Watch.
    """
    watch.message = "waiting for the master to begin its backup"
    try:
        status = client.persist(lambda session: begin(session, directory))
        pause = _FIRST_POLL
        while status.backupState in _RUNNING:
            watch.tick(pause)
            pause = min(_LAST_POLL, pause * 1.5)
            before = status
            status = client.call(GET_BACKUP_STATUS, pb.BackupStatusRequest(backupId=status.backupId))
            if status != before:
                watch.moved()
                watch.message = f"the master writes its backup: {status.entryCount} journal entries"
    except grpc.RpcError as error:
        raise _refused(error) from error
    if status.backupState == pb.FAILED_BACKUP:
        raise failure(readable(status.backupError))
    if status.backupState != pb.COMPLETED or client.changed:
        message = "The master restarted or failed over while it wrote its backup; a new attempt begins anew."
        raise BackupError(Exit.MASTER_CHANGED, "MasterChanged", message)
    name = status.backupUri.rpartition("/")[2]
    if not BACKUP_FILE.fullmatch(name):
        raise failure(f"it names its file {status.backupUri[:200]!r}")
    return name, status.entryCount


def readable(error: bytes) -> str:
    """Return the message of an exception as Java serializes it, and that of its first cause; "" where it has none.

    A text is "t", its length in two bytes, and UTF-8. Of those with a blank in them, which names of classes, methods
    and files have not, the first cause's message comes first and the outermost one's last.
    """
    found = []
    for position in range(len(error) - 3):
        size = int.from_bytes(error[position + 1 : position + 3])
        text = error[position + 3 : position + 3 + size]
        if error[position] == 0x74 and len(text) == size > 3 and b" " in text:
            found.append(text.decode(errors="replace"))
    found = [text for text in found if text.isprintable()]
    if not found:
        return ""
    cause, message = found[0][:200], found[-1][:300]
    return message if cause in message else f"{message}: {cause}"


def failure(said: str) -> BackupError:
    """Return how a Job ends whose master could not write its backup."""
    if "No space left" in said or "quota exceeded" in said:
        return no_space(f"The volume into which the master writes its backups is full ({said})")
    if "Read-only file system" in said:
        return read_only(f"The volume into which the master writes its backups is read-only ({said})")
    message = f"The master could not write its backup: {said or 'it does not say why'}. Its log says more."
    return BackupError(Exit.BACKUP_FAILED, "BackupFailed", message)


def begin(session: Session, directory: str) -> pb.BackupStatus:
    """Ask for a backup; raise grpc.RpcError, and BackupError where another is under way."""
    options = pb.BackupOptions(localFileSystem=True, runAsync=True, allowLeader=True)
    try:
        return session.call(BACKUP, pb.BackupRequest(options=options, targetDirectory=directory))
    except grpc.RpcError as error:
        if "Backup in progress" in (error.details() or ""):
            message = "Another backup is under way at this master; this one waits for its end."
            raise BackupError(Exit.BACKUP_IN_PROGRESS, "BackupInProgress", message) from error
        raise


def _refused(error: grpc.RpcError) -> BackupError:
    if error.code() is grpc.StatusCode.PERMISSION_DENIED:
        message = f"The master lets this user take no backups: {why(error)}"
        return BackupError(Exit.PERMISSION_DENIED, "PermissionDenied", message)
    return failure(why(error))
