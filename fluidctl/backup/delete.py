"""``fluidctl delete-backup``: removes the directory of a backup, and of nothing else."""

import re

from fluidctl.backup.errors import BackupError, refused
from fluidctl.backup.verify import open_backup
from fluidctl.backup.volume import Directory, Strange

_OURS = re.compile(r".+-[0-9a-f]{8}")  # <name>-<first 8 of the uid>


def delete(claim: Directory, path: str, uid: str = "", *, partial_only: bool) -> None:
    """Remove what was not finished and, unless ``partial_only``, the backup. What is gone already is as good.

    ``uid``: of the DataBackup that made it; empty: of any. The finished one is renamed first: there is never half a
    backup under its name.

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
        _check(claim, parent, path, uid)
        parent.rename(last, partial)
        parent.remove(partial)


def _check(claim: Directory, parent: Directory, path: str, uid: str) -> None:
    """Refuse what is not the backup's directory: by its manifest, or where that cannot be read by its name."""
    last = path.rpartition("/")[2]
    try:
        with parent.enter(last):
            backup = open_backup(claim, path)
        with backup.directory:
            owner = backup.manifest.backup["uid"]
    except Strange as error:
        raise _not_ours(path, str(error)) from error
    except BackupError as error:
        ours = last.endswith(f"-{uid[:8]}") if uid else _OURS.fullmatch(last)
        if not ours:
            raise _not_ours(path, error.message) from error
        return
    if uid and owner != uid:
        raise _not_ours(path, f"its manifest names another DataBackup, of uid {owner}.")


def _not_ours(path: str, why: str) -> BackupError:
    return refused("NotABackup", f"{path} is not the directory of this backup, so it stays: {why}")
