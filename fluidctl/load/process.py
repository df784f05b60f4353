"""What the process of every Job does: it says how far it is and how it ended, and hears signals. Imports no grpc."""

import argparse
import logging
import signal
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import FrameType

from controllers.api.result import Exit, Progress, Result
from fluidctl.load.watch import Watch

Run = Callable[[argparse.Namespace, Watch], tuple[Result, Exit]]


def main(argv: Sequence[str], parser: argparse.ArgumentParser, run: Run, level: int = logging.WARNING) -> int:
    """Run the Job that ``argv`` names and return its exit code (controllers.api.result.Exit).

    Progress lines and, as the last line, the result go to stdout; the result also to ``--result-path``. One sentence
    for a person goes to stderr where the Job failed, and what is logged from ``level`` on.
    """
    logging.basicConfig(stream=sys.stderr, level=level, format="%(levelname)s %(name)s: %(message)s")
    try:
        options = parser.parse_args(argv)
    except SystemExit as error:
        return int(error.code or 0)
    watch = Watch(options.step, print_progress, time.monotonic, getattr(options, "no_progress_seconds", 900))
    on_signals(watch.terminate)
    result, code = run(options, watch)
    report(result, code, Path(options.result_path))
    return code


def master_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of a Job that works at an Alluxio."""
    parser.add_argument("--master", action="append", required=True, metavar="HOST:PORT", type=address)
    parser.add_argument("--no-progress-seconds", type=positive, default=900)
    parser.add_argument("--user", default="root")
    parser.add_argument("--auth", choices=("auto", "simple", "nosasl"), default="auto")
    parser.add_argument("--connect-seconds", type=positive, default=60, help="how long to look for a leading master")


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
