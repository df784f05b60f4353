"""The commands of people and of the Deployment: flags in, one call, exit code out."""

import inspect
import sys
from collections.abc import Sequence
from typing import Any

import typer

from controllers.config import VolumeProfile
from fluidctl.exits import Code, Failure
from fluidctl.settings import Setting, settings, to_config

app = typer.Typer(
    name="fluidctl",
    help="Loads, counts and publishes Alluxio datasets on Kubernetes. Inside a Job: fluidctl load, fluidctl size.",
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)


def run(args: Sequence[str]) -> int:
    """Run one command; what can be foreseen to go wrong ends in one line on stderr."""
    try:
        return int(app(args=list(args) or ["--help"], prog_name="fluidctl", standalone_mode=False) or 0)
    except typer.TyperException as error:  # before any command has run
        return _complain(Code.USAGE, f"{error.format_message()} (see fluidctl {_command(args)}--help)")
    except Failure as failure:
        return _complain(failure.code, str(failure))
    except (typer.Abort, KeyboardInterrupt):
        return Code.INTERRUPTED


def _complain(code: Code, message: str) -> Code:
    print(f"fluidctl: {' '.join(message.split())}", file=sys.stderr)
    return code


def _command(args: Sequence[str]) -> str:
    known = [command.name or (command.callback and command.callback.__name__) for command in app.registered_commands]
    return f"{args[0]} " if args and args[0] in known else ""


@app.command()
def version() -> None:
    """Print the version."""
    from fluidctl.version import __version__

    print(__version__)


@app.command()
def crds() -> None:
    """Print the CustomResourceDefinitions as YAML.

    To install them: fluidctl crds | kubectl apply --server-side -f -
    """
    from controllers.api.crd import to_yaml

    print(to_yaml(), end="")


def _flag(setting: Setting) -> inspect.Parameter:
    """Return a setting as typer reads one: a parameter whose default is an Option."""
    kind = str if setting.kind in (tuple, VolumeProfile) else setting.kind
    name = f"{setting.flag}/--no-{setting.flag[2:]}" if kind is bool else setting.flag
    option = typer.Option(setting.default, name, envvar=setting.env, help=setting.help)
    return inspect.Parameter(setting.field, inspect.Parameter.KEYWORD_ONLY, default=option, annotation=kind)


def controller(**flags: Any) -> int:
    """Run the controller until SIGTERM or Ctrl-C."""
    config = to_config(flags)
    from controllers.manager import run as run_manager

    return run_manager(config)


controller.__signature__ = inspect.Signature([_flag(setting) for setting in settings()])  # type: ignore[attr-defined]
app.command()(controller)
