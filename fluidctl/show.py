"""A Dataset as people read it: pure functions from the object to lines or to a rich table; nothing is fetched here.

A status may hold anything that another hand wrote there, so it is read leniently: what does not fit is not shown.
"""

from collections.abc import Iterable, Mapping, Sequence
from itertools import zip_longest
from typing import TYPE_CHECKING, Any

from controllers.api.conditions import (
    ACCEPTED,
    AVAILABLE,
    MASTER_REACHABLE,
    METADATA_LOADED,
    READY,
    RECONCILING,
    REFRESHING,
    RESTORED,
    SIZED,
    STALLED,
    TRUE,
    UNKNOWN,
    Condition,
    find,
)
from controllers.api.dataset import parse_status, printable_bytes
from controllers.api.dataset_status import DatasetStatus, Phase
from controllers.api.times import epoch

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.table import Table

Dataset = Mapping[str, Any]

NOTHING = "-"
_HEADER = ["NAME", "PHASE", "FILES", "SIZE", "CACHED", "PROGRESS", "AGE"]
#: Abnormal-true conditions say for machines what phase and Ready say for people.
_FOR_MACHINES = (RECONCILING, STALLED)
_PHASE_STYLE = {Phase.READY: "bold green", Phase.FAILED: "bold red"}


def read(dataset: Dataset) -> DatasetStatus:
    """Return the status with every text fit for a terminal: a tenant's words must not move somebody's cursor."""
    return parse_status({"status": printable(dataset.get("status"))})


def printable(value: Any) -> Any:
    """Return JSON with every letter that moves a cursor, or shows as nothing, turned into a space."""
    if isinstance(value, str):
        return "".join(letter if letter.isprintable() else " " for letter in value)
    if isinstance(value, dict):
        return {key: printable(item) for key, item in value.items()}
    return [printable(item) for item in value] if isinstance(value, list) else value


def duration(seconds: float) -> str:
    """Return a length of time in at most two units, as kubectl does: 45s, 3m20s, 2h5m, 3d4h."""
    left, parts = max(int(seconds), 0), []
    for unit, length in (("d", 86_400), ("h", 3_600), ("m", 60), ("s", 1)):
        count, left = divmod(left, length)
        parts.append((count, unit))
    first = next((index for index, (count, _) in enumerate(parts) if count), len(parts) - 1)
    return "".join(f"{count}{unit}" for count, unit in parts[first : first + 2] if count) or "0s"


def columns(rows: Sequence[Sequence[str]]) -> list[str]:
    """Return the rows as lines with aligned columns, three spaces between them, without spaces at the end."""
    widths = [max(map(len, column)) for column in zip_longest(*rows, fillvalue="")]
    return ["   ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=False)).rstrip() for row in rows]


def listing(datasets: Iterable[Dataset], now: float, *, wide: bool = False, namespaces: bool = False) -> list[str]:
    """Return a header and a line for each Dataset, by namespace and name. ``now`` in seconds since the epoch."""
    rows = [(["NAMESPACE"] if namespaces else []) + _HEADER + (["MESSAGE"] if wide else [])]
    for dataset in sorted(datasets, key=_full_name):
        status, metadata = read(dataset), dataset["metadata"]
        row = [metadata.get("namespace", "")] if namespaces else []
        row += [metadata["name"], status.phase or Phase.PENDING, *_numbers(status), progress(status) or NOTHING]
        row.append(since(metadata.get("creationTimestamp"), now))
        rows.append(row + ([message(status) or NOTHING] if wide else []))
    return columns(rows)


def _full_name(dataset: Dataset) -> tuple[str, str]:
    return dataset["metadata"].get("namespace", ""), dataset["metadata"]["name"]


def _numbers(status: DatasetStatus) -> list[str]:
    files = NOTHING if status.file_count is None else f"{status.file_count:,}"
    size = NOTHING if status.ufs_total_bytes is None else printable_bytes(status.ufs_total_bytes)
    cached = f"{status.cache.cached_percentage}%" if status.cache.cached_percentage else NOTHING
    return [files, size, cached]


def since(time: str | None, now: float) -> str:
    """Return how long ago a time of a status was, "-" where there is none."""
    then = epoch(time)
    return NOTHING if then is None else duration(now - then)


def message(status: DatasetStatus) -> str:
    """Return the sentence that explains why the Dataset is not Ready, or says that it is."""
    ready = find(status.conditions, READY)
    return ready.message or ready.reason if ready else ""


def progress(status: DatasetStatus) -> str:
    """Return how far the running step is, in a few words; empty where none runs."""
    done, total = status.progress.files, _total(status)
    if not status.progress.update_time:
        return ""
    if not done:
        return status.progress.message
    share = f"{done:,} of {total:,} files ({min(done / total, 1):.0%})" if total else f"{done:,} files"
    return f"{share}, {status.progress.files_per_second:,}/s" if status.progress.files_per_second else share


def _total(status: DatasetStatus) -> int:
    return status.progress.total or (status.load.files if status.phase is Phase.SIZING else 0)


def elapsed(status: DatasetStatus, now: float) -> float:
    """Return the seconds since the run began, or that it took, where it is over."""
    start, end = epoch(status.run.start_time), epoch(status.size.completion_time)
    if start is None:
        return 0.0
    return max((end if end is not None and status.phase is Phase.READY else now) - start, 0.0)


def describe(dataset: Dataset, now: float) -> list[str]:
    """Return everything that a person wants to know of one Dataset: summary, steps, conditions."""
    status, metadata = read(dataset), dataset["metadata"]
    files, size, cached = _numbers(status)
    exact = "" if status.ufs_total_bytes is None else f" ({status.ufs_total_bytes:,} bytes)"
    summary = [
        ("Name", f"{metadata.get('namespace', '')}/{metadata['name']}"),
        ("Phase", f"{status.phase or Phase.PENDING}, {duration(elapsed(status, now))} in run {status.run.number}"),
        ("Message", message(status)),
        ("Files", files),
        ("Size", size + exact),
        ("Cached", cached + (f", {status.cache.workers} workers" if status.cache.update_time else "")),
        ("Progress", progress(status)),
        ("Restore", _restore(status)),
        ("Stage", _step(status.stage)),
        ("Mount", _step(status.mount)),
        ("Load", _step(status.load)),
        ("Not loaded", ", ".join(status.load.failed_directories)),
        ("Count", _step(status.size)),
        ("Master", f"{status.master.address} {status.master.version}".strip()),
        ("Volume", _volume(dataset, status)),
    ]
    table = [["TYPE", "STATUS", "REASON", "SINCE", "MESSAGE"], *_condition_rows(status.conditions, now)]
    lines = columns([(f"{name}:", text) for name, text in summary if text not in ("", NOTHING)])
    return [*lines, "Conditions:", *(f"  {line}" for line in columns(table))]


def _restore(status: DatasetStatus) -> str:
    found = status.restore
    if not found.phase:
        return ""
    said = f"{found.phase} from {found.source}" if found.source else str(found.phase)
    if found.checksum:
        promised = f"{found.files:,} files, {printable_bytes(found.bytes)}"
        said += f" (of {found.created_at or 'an unknown time'}, by Alluxio {found.engine_version}: {promised})"
    return f"{said}: {found.message or found.reason}".rstrip(": ")


def _step(step: Any) -> str:
    state = "done" if step.completion_time else step.last_error or step.last_reason
    if not step.job_name and (step.completion_time or not state):  # of a restore, nothing was loaded
        return ""
    state = state or "running"
    return f"attempt {step.attempt} ({step.job_name}): {state}"


def _volume(dataset: Dataset, status: DatasetStatus) -> str:
    claim = status.volume.persistent_volume_claim
    return f"claim {dataset['metadata'].get('namespace', '')}/{claim}" if claim else ""


def _condition_rows(conditions: Iterable[Condition], now: float) -> list[list[str]]:
    return [
        [item.type, item.status, item.reason, since(item.last_transition_time, now), item.message]
        for item in conditions
    ]


def changes(before: Dataset, after: Dataset, now: float) -> list[str]:
    """Return a line for each change that a log should tell; ``before`` is empty where nothing was seen yet."""
    old, new = read(before), read(after)
    phase = new.phase or Phase.PENDING
    lines = [] if before and phase is (old.phase or Phase.PENDING) else [f"Phase {phase}"]
    lines += [condition_line(item) for item in new.conditions if _is_news(old, new, item)]
    if (text := progress(new)) and text != progress(old):
        lines.append(text)
    return [f"{duration(elapsed(new, now)):>6}  {line}" for line in lines]


def _is_news(old: DatasetStatus, new: DatasetStatus, item: Condition) -> bool:
    before = find(old.conditions, item.type)
    if item.type in _FOR_MACHINES or (before is None and item.status == UNKNOWN):
        return False
    if item.status != TRUE and any(other.reason == item.reason for other in _causes(new, item)):
        return False
    return before is None or (before.status, before.reason) != (item.status, item.reason)


def _causes(status: DatasetStatus, item: Condition) -> list[Condition]:
    """Return the conditions of which this one may only repeat what they say."""
    order = (ACCEPTED, MASTER_REACHABLE, METADATA_LOADED, RESTORED, SIZED, AVAILABLE, REFRESHING, READY)
    first = order[: order.index(item.type)] if item.type in order else ()
    return [other for other in status.conditions if other.type in first]


def condition_line(condition: Condition) -> str:
    """Return a condition as one line of a log."""
    head = f"{condition.type}={condition.status} {condition.reason}".rstrip()
    return f"{head}: {condition.message}" if condition.message else head


def panel(dataset: Dataset, name: str, now: float) -> "RenderableType":
    """Return the live table of ``wait`` and ``demo``: phase, elapsed, progress and the conditions as they turn."""
    from rich.progress_bar import ProgressBar
    from rich.table import Table
    from rich.text import Text

    status = read(dataset)
    phase, total = status.phase or Phase.PENDING, _total(status)
    known = [text for text in _numbers(status)[:2] if text != NOTHING]
    counts = f"{' files, '.join(known)}" if known else "not counted yet"
    facts = f"  {duration(elapsed(status, now))}  {progress(status) or counts}"
    grid = Table.grid()
    grid.add_row(Text.assemble((name, "bold"), "  ", (phase, _PHASE_STYLE.get(phase, "bold yellow")), facts))
    if phase in (Phase.LOADING_METADATA, Phase.SIZING):
        grid.add_row(ProgressBar(total or 1, min(status.progress.files, total), width=60, pulse=not total))
    grid.add_row(condition_table(status.conditions, now))
    return grid


def condition_table(conditions: Iterable[Condition], now: float) -> "Table":
    """Return the conditions as people read them, as a rich table."""
    from rich.table import Table
    from rich.text import Text

    style = {TRUE: "green", UNKNOWN: "dim"}
    table = Table(box=None, pad_edge=False, header_style="dim")
    for title in ("CONDITION", "STATUS", "REASON", "SINCE", "MESSAGE"):
        table.add_column(title, overflow="fold")
    for type_, state, *rest in _condition_rows(conditions, now):
        if type_ not in _FOR_MACHINES:
            table.add_row(type_, Text(state, style.get(state, "yellow")), *map(Text, rest))
    return table
