"""Logging of the process: one JSON object or one line of text per record, in UTC, with what the thread works on.

configure("json", "info")
with bound(dataset="ns/name", reconcileID=…):
    logger.info("…", extra={"from": "Pending", "to": "LoadingMetadata"})
"""

import contextvars
import faulthandler
import logging
import re
import signal
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any, TextIO

from pythonjsonlogger.json import JsonFormatter

FORMATS = ("json", "text")
LEVELS = ("debug", "info", "warning", "error")

#: Libraries that write whole requests and answers, bodies of Secrets too, at level DEBUG.
_TALKATIVE = ("kubernetes", "urllib3", "requests", "google")
_SECRET = re.compile(
    r"""(?ix) ( \b bearer \s+ | ://[^\s/:@]*: (?=[^\s/@]+@)
        | [\w.-]* (?:password|passwd|secret|token|access[-_.]?key[-_.]?id|credential) [\w.-]* ["']? \s* [=:] \s* ["']? )
        (?! bearer \s ) [^\s"',;&@]+ """
)
_context: contextvars.ContextVar[Mapping[str, object]] = contextvars.ContextVar(
    "log_context", default=MappingProxyType({})
)


def configure(form: str, level: str, stream: TextIO | None = None) -> None:
    """Set up the root logger, in place of what it had; raise ValueError for an unknown form or level."""
    if form not in FORMATS or level.lower() not in LEVELS:
        raise ValueError(f"log format is one of {', '.join(FORMATS)}, log level one of {', '.join(LEVELS)}")
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(_Json() if form == "json" else _Text())
    handler.addFilter(_add_context)
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    for name in _TALKATIVE:
        logging.getLogger(name).setLevel(logging.WARNING)


@contextmanager
def bound(**fields: object) -> Iterator[None]:
    """Add these fields to every record of this thread until the end of the block; blocks add up."""
    token = _context.set({**_context.get(), **fields})
    try:
        yield
    finally:
        _context.reset(token)


def dump_threads_on_signal(stream: TextIO | None = None) -> None:
    """Have SIGUSR1 write the stack of every thread, also where the interpreter hangs. Main thread only."""
    faulthandler.register(signal.SIGUSR1, file=stream or sys.stderr, all_threads=True)


def redact(text: str) -> str:
    """Blank out what looks like a secret: bearer tokens, passwords in URLs, values of keys that are named like one.

    The last line of defence: nothing of ours logs a secret, but an exception of a library may carry one.
    """
    return _SECRET.sub(r"\1[redacted]", text)


def _add_context(record: logging.LogRecord) -> bool:
    for name, value in _context.get().items():
        if not hasattr(record, name):
            setattr(record, name, value)
    return True


def _time(record: logging.LogRecord) -> str:
    return datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


class _Json(JsonFormatter):
    """ts, level, logger, msg, thread, then the bound and the extra fields."""

    def __init__(self) -> None:
        renamed = {"levelname": "level", "name": "logger", "message": "msg", "threadName": "thread"}
        super().__init__("%(ts)s %(levelname)s %(name)s %(message)s %(threadName)s", rename_fields=renamed)

    def format(self, record: logging.LogRecord) -> str:
        record.ts = _time(record)
        return super().format(record)

    def process_log_record(self, log_data: dict[str, Any]) -> dict[str, Any]:
        return {name: redact(value) if isinstance(value, str) else value for name, value in log_data.items()}


class _Text(logging.Formatter):
    """``2026-01-31T12:00:00.000Z INFO logger: message  key=value …``"""

    _ordinary = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "ts"}

    def formatMessage(self, record: logging.LogRecord) -> str:
        fields = "".join(f" {key}={value}" for key, value in vars(record).items() if key not in self._ordinary)
        return f"{_time(record)} {record.levelname} {record.name}: {record.message}{fields and ' ' + fields}"

    def format(self, record: logging.LogRecord) -> str:
        return redact(super().format(record))
