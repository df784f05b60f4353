"""What the process of every Job does: it says how far it is and how it ended, and hears signals. Imports no grpc."""

import argparse
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from types import FrameType

from controllers.api.result import Exit, Progress, Result


def report(result: Result, code: Exit, path: Path) -> None:
    """Say how a step ended: to stdout, to the file where Kubernetes looks for it, a failure also to stderr."""
    text = result.to_json()
    print(text, flush=True)
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        print(f"fluidctl {result.step}: cannot write the result to {path}: {error.strerror}", file=sys.stderr)
    if code is not Exit.COMPLETE:
        print(f"fluidctl {result.step}: {result.message}", file=sys.stderr)


def print_progress(progress: Progress) -> None:
    """Write one line to stdout."""
    print(progress.to_json(), flush=True)


def on_signals(stop: Callable[[], None]) -> None:
    """Call ``stop`` on SIGTERM and SIGINT."""

    def handle(number: int, frame: FrameType | None) -> None:
        stop()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, handle)


def positive(text: str) -> int:
    """Read an option that is a number from 1 on."""
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError("must be 1 or more")
    return value


def address(text: str) -> str:
    """Read a HOST:PORT."""
    host, colon, port = text.rpartition(":")
    if not (host and colon and port.isdecimal() and 0 < int(port) < 65536):
        raise argparse.ArgumentTypeError(f"{text!r} is not HOST:PORT")
    return text
