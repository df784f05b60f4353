"""``fluidctl delete-backup``: removes the directory of a backup, and of nothing else."""

import re

from fluidctl.backup.errors import BackupError, refused
from fluidctl.backup.verify import open_backup
from fluidctl.backup.volume import Directory, Strange

_OURS = re.compile(r".+-[0-9a-f]{8}")  # <name>-<first 8 of the uid>


def delete(claim: Directory, path: str, *, partial_only: bool) -> None:
    """Remove what was not finished and, unless ``partial_only``, the backup. What is gone already is as good.

    The finished one is renamed first: there is never half a backup under its name.

    Raises:
        BackupError: NotABackup: there is something else. OSError: of the volume.
    """
    place, _, last = path.rpartition("/")
    partial = f".{last}.partial"
    try:
        parent = claim.enter(place)
    except FileNotFoundError:
        return
    except Strange as error:
        raise _not_ours(path, str(error)) from error
    with parent:
        parent.remove(partial)
        if partial_only or not parent.has(last):
            return
        _check(claim, parent, path, last)
        parent.rename(last, partial)
        parent.remove(partial)


def _check(claim: Directory, parent: Directory, path: str, last: str) -> None:
    """Refuse what is not a directory that a DataBackup made: by its name, else by its manifest."""
    try:
        with parent.enter(last):
            if _OURS.fullmatch(last):
                return
        with open_backup(claim, path).directory:
            return
    except (BackupError, Strange) as error:
        raise _not_ours(path, str(error)) from error


def _not_ours(path: str, why: str) -> BackupError:
    return refused("NotABackup", f"{path} is not the directory of a backup, so it stays: {why}")
