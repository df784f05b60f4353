"""``fluidctl load`` and ``fluidctl size``: what runs inside a Job (see command and result in controllers.api)."""

import argparse
import json
import logging
from collections.abc import Sequence
from dataclasses import fields

from controllers.api.command import RESULT_PATH, SPILL_PATH, Mount, StepCommand
from controllers.api.result import Exit, Result, Totals, describe
from fluidctl.load import process
from fluidctl.load.channel import Client, Settings
from fluidctl.load.errors import Halted, StepError, unexpected
from fluidctl.load.frontier import Spill
from fluidctl.load.steps import Step
from fluidctl.load.watch import Watch

log = logging.getLogger(__name__)
_TOTALS = tuple(field.name for field in fields(Totals))


def main(argv: Sequence[str]) -> int:
    """Run the step that ``argv`` names; see ``process.main``."""
    return process.main(argv, _parser(), _run)


def _run(options: argparse.Namespace, watch: Watch) -> tuple[Result, Exit]:
    settings = Settings(tuple(options.master), options.user, options.auth, options.connect_seconds)
    return run(_command(options), settings, watch)


def run(command: StepCommand, settings: Settings, watch: Watch) -> tuple[Result, Exit]:
    """Run one step; every known end is a result, every unknown one is logged and INTERNAL."""
    spill = Spill(command.spill_path)
    client = None
    try:
        watch.tick()
        client = Client(settings, watch)
        step = Step(command, client, watch, spill)
        return (step.load() if command.step == "load" else step.size()), Exit.COMPLETE
    except (StepError, Halted) as error:
        return _failed(command.step, error, watch, client)
    except Exception:
        log.exception("unexpected error")
        return _failed(command.step, unexpected(), watch, client)
    finally:
        if client is not None:
            client.close()
        spill.close()


def _failed(step: str, error: StepError | Halted, watch: Watch, client: Client | None) -> tuple[Result, Exit]:
    """Return the result with what was counted so far."""
    if isinstance(error, Halted):  # somebody who waited for an answer noticed it before the step's own tick did
        error = watch.end()
    result = Result(
        step=step,
        reason=describe(error.code)[0],
        message=error.message,
        totals=watch.totals if step == "size" else None,
        master=client.master if client is not None else None,
        failed_directories=error.failed,
        failed_count=error.count,
        seconds=round(watch.seconds, 1),
    )
    return result, error.code


def _command(options: argparse.Namespace) -> StepCommand:
    return StepCommand(
        step=options.step,
        masters=tuple(options.master),
        path=options.path,
        mounts=tuple(options.mount),
        parallelism=options.parallelism,
        no_progress_seconds=options.no_progress_seconds,
        directories=tuple(options.directory),
        evidence=options.evidence,
        accept_unverified=options.accept_unverified,
        refresh=options.refresh,
        since_ms=options.since_ms,
        known_paths=options.known_paths,
        max_removed_fraction=options.max_removed_fraction,
        known_cluster=options.known_cluster,
        expected=_expected(options),
        result_path=options.result_path,
        spill_path=options.spill_path,
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="fluidctl", allow_abbrev=False)
    parser.add_argument("step", choices=("load", "size"))
    process.master_options(parser)
    parser.add_argument("--path", required=True, help="in Alluxio; spelled as in controllers.api.command")
    parser.add_argument("--mount", action="append", default=[], type=_mount, metavar='["PATH", "URI"]')
    parser.add_argument(
        "--parallelism", type=process.positive, default=StepCommand.parallelism, help="listings in flight"
    )
    parser.add_argument("--directory", action="append", default=[], help="load only this one")
    parser.add_argument("--evidence", default="", help="what the load's result said")
    parser.add_argument("--accept-unverified", action="store_true")
    parser.add_argument("--refresh", action="store_true", help="load: compare with the storage, find what was removed")
    parser.add_argument("--since-ms", type=_natural, default=0, help="when the run of this refresh began")
    parser.add_argument("--known-paths", type=_natural, default=0, help="files and directories of the last count")
    parser.add_argument("--max-removed-fraction", type=_fraction, default=1.0, help="of them; more is suspicious")
    for name in _TOTALS:
        parser.add_argument(f"--expect-{name}", type=_natural, help="size: what a restored master must hold; give all")
    parser.add_argument("--known-cluster", default="", metavar="ID", help="size: only compare the master's cluster id")
    parser.add_argument("--result-path", default=RESULT_PATH)
    parser.add_argument("--spill-path", default=SPILL_PATH)
    return parser


def _expected(options: argparse.Namespace) -> Totals | None:
    given = {name: value for name in _TOTALS if (value := getattr(options, f"expect_{name}")) is not None}
    return Totals(**given) if given else None


def _natural(text: str) -> int:
    value = int(text)
    if value < 0:
        raise argparse.ArgumentTypeError("must be 0 or more")
    return value


def _fraction(text: str) -> float:
    value = float(text)
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError("must be between 0 and 1")
    return value


def _mount(text: str) -> Mount:
    try:
        path, uri = json.loads(text)
    except (ValueError, TypeError) as error:
        raise argparse.ArgumentTypeError(f"{text!r} is not a JSON list of path and URI") from error
    return Mount(str(path), str(uri))
