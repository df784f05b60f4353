"""DataBackups as people read them: pure functions from the object to lines or to a rich table, as in ``show``."""

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from controllers.api.conditions import FALSE, RECONCILING, TRUE, UNKNOWN, find
from controllers.api.databackup import BackupPhase, DataBackupStatus, claim_path, parse_status
from controllers.api.dataset import printable_bytes
from controllers.api.times import epoch
from fluidctl.show import NOTHING, columns, condition_line, condition_table, duration, printable, since

if TYPE_CHECKING:
    from rich.console import RenderableType

Backup = Mapping[str, Any]

VERIFIED = "Verified"
FINAL = (BackupPhase.COMPLETE, BackupPhase.FAILED)
_HEADER = ["NAME", "DATASET", "PHASE", "VERIFIED", "ENTRIES", "SIZE", "AGE", "PATH"]
_STYLE = {BackupPhase.COMPLETE: "bold green", BackupPhase.FAILED: "bold red"}


def read(backup: Backup) -> DataBackupStatus:
    """Return the status with every text fit for a terminal."""
    return parse_status({"status": printable(backup.get("status"))})


def of_dataset(backup: Backup) -> str:
    """Return the name of the Dataset that is backed up."""
    return str(((backup.get("spec") or {}).get("dataset") or {}).get("name", ""))


def listing(backups: Iterable[Backup], now: float, *, wide: bool = False, namespaces: bool = False) -> list[str]:
    """Return a header and a line for each, the newest last; what is not Complete says why and how far it is."""
    rows = [(["NAMESPACE"] if namespaces else []) + _HEADER]
    for backup in sorted(backups, key=_age_order):
        status, metadata = read(backup), backup["metadata"]
        verified = find(status.conditions, VERIFIED)
        row = [metadata.get("namespace", "")] if namespaces else []
        row += [metadata["name"], of_dataset(backup) or NOTHING, phase(status)]
        row += [verified.status if verified and verified.status != UNKNOWN else NOTHING, *_numbers(status)]
        row += [since(metadata.get("creationTimestamp"), now), _path(status)]
        quiet = status.phase is BackupPhase.COMPLETE and not damaged(status) and not _under_way(status)
        rows.append(row + ([_said(status)] if wide or not quiet else []))
    if any(len(row) > len(rows[0]) for row in rows):
        rows[0] = [*rows[0], "MESSAGE"]
    return columns(rows)


def _age_order(backup: Backup) -> tuple[str, str, str]:
    metadata = backup["metadata"]
    return metadata.get("creationTimestamp", ""), metadata.get("namespace", ""), metadata["name"]


def _numbers(status: DataBackupStatus) -> list[str]:
    entries = NOTHING if status.entry_count is None else f"{status.entry_count:,}"
    return [entries, NOTHING if status.size_bytes is None else printable_bytes(status.size_bytes)]


def _path(status: DataBackupStatus) -> str:
    # Of one that is not complete there is nothing that could be restored.
    return claim_path(status.location) if status.location and status.phase is BackupPhase.COMPLETE else NOTHING


def _said(status: DataBackupStatus) -> str:
    """Return what is known, and what is under way."""
    known = f"not verified: {damage}" if (damage := damaged(status)) else status.message
    return "; ".join(text for text in (known, _under_way(status)) if text)


def _under_way(status: DataBackupStatus) -> str:
    """Return what is done with a backup that is over, and how far the Job is that runs; "" where there is neither."""
    found = find(status.conditions, RECONCILING)
    doing = found.message if found and found.status == TRUE and status.phase in FINAL else ""
    return "; ".join(text for text in (doing, status.progress.message) if text)


def damaged(status: DataBackupStatus) -> str:
    """Return what was found when a complete backup was read again and is not what was written; "" where nothing was."""
    found = find(status.conditions, VERIFIED)
    broken = found is not None and found.status == FALSE and status.phase is BackupPhase.COMPLETE
    return (found.message or found.reason) if found and broken else ""


def phase(status: DataBackupStatus) -> BackupPhase:
    """Return the phase; Pending where no controller has seen it yet."""
    return status.phase or BackupPhase.PENDING


def changes(before: Backup, after: Backup, now: float) -> list[str]:
    """Return a line for each change that a log should tell; ``before`` is empty where nothing was seen yet."""
    old, new = read(before), read(after)
    lines = [] if before and phase(old) is phase(new) else [f"Phase {phase(new)}"]
    if new.message and new.message != old.message:
        lines.append(new.message)
    if (text := _under_way(new)) and text != _under_way(old):
        lines.append(text)
    verified, known = find(new.conditions, VERIFIED), find(old.conditions, VERIFIED)
    if verified and verified != known and verified.status != UNKNOWN:
        lines.append(condition_line(verified))
    return [f"{duration(_elapsed(after, new, now)):>6}  {line}" for line in lines]


def panel(backup: Backup, name: str, now: float) -> "RenderableType":
    """Return the live table of ``backup --wait``."""
    from rich.table import Table
    from rich.text import Text

    status = read(backup)
    head = (name, "bold"), "  ", (phase(status), _STYLE.get(phase(status), "bold yellow"))
    grid = Table.grid()
    grid.add_row(Text.assemble(*head, f"  {duration(_elapsed(backup, status, now))}  {_said(status)}"))
    grid.add_row(condition_table(status.conditions, now))
    return grid


def _elapsed(backup: Backup, status: DataBackupStatus, now: float) -> float:
    start = epoch(status.start_time) or epoch(backup["metadata"].get("creationTimestamp")) or now
    end = epoch(status.completion_time)
    return (now if end is None or status.phase not in FINAL else end) - start
