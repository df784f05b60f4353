"""The commands of people and of the Deployment: flags in, one call, exit code out."""

import inspect
import sys
import time
from collections.abc import Sequence
from typing import Annotated, Any

import typer

from controllers.api.conditions import ALWAYS_SHOWN, READY, REFRESHING, RESTORED
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


#: Conditions that a Dataset can have.
KNOWN = (*ALWAYS_SHOWN, RESTORED, REFRESHING)


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
    from controllers.api.crd import render

    print("---\n".join(text for _, text in render()), end="")


Kubeconfig = Annotated[
    str, typer.Option("--kubeconfig", envvar="FLUIDCTL_KUBECONFIG", help="File that names the cluster, as kubectl's.")
]
Context = Annotated[str, typer.Option("--context", envvar="FLUIDCTL_CONTEXT", help="Context of the kubeconfig.")]
Namespace = Annotated[str, typer.Option("--namespace", "-n", help="Namespace. Default: the context's.")]


@app.command()
def get(
    name: Annotated[str, typer.Argument(help="Show everything about this Dataset; without it all are listed.")] = "",
    namespace: Namespace = "",
    all_namespaces: Annotated[bool, typer.Option("-A", "--all-namespaces", help="List all namespaces.")] = False,
    output: Annotated[str, typer.Option("--output", "-o", help="wide or json.")] = "",
    kubeconfig: Kubeconfig = "",
    context: Context = "",
) -> None:
    """List Datasets, or show everything about one."""
    if output not in ("", "wide", "json"):
        raise Failure(Code.USAGE, f"-o must be wide or json, not {output!r}")
    if all_namespaces and (name or namespace):
        raise Failure(Code.USAGE, "-A lists all namespaces: neither a name nor -n goes with it")
    from fluidctl import follow

    with follow.cluster(kubeconfig, context) as source:
        where = namespace or source.default_namespace
        if name:
            follow.print_one(source, where, name, output, time.time())
        else:
            follow.print_list(source, None if all_namespaces else where, output, time.time())


@app.command()
def wait(
    name: Annotated[str, typer.Argument(help="Name of the Dataset.", show_default=False)],
    condition: Annotated[str, typer.Option("--for", help="Condition that must be True.")] = READY,
    timeout: Annotated[
        str, typer.Option("--timeout", help="Longest wait, such as 90s or 1h30m. Default: no limit.")
    ] = "",
    namespace: Namespace = "",
    kubeconfig: Kubeconfig = "",
    context: Context = "",
) -> None:
    """Wait until a condition of a Dataset is True, and show how it gets there."""
    if condition not in KNOWN:
        raise Failure(Code.USAGE, f"--for must be one of {', '.join(KNOWN)}, not {condition!r}")
    from fluidctl import follow

    limit = follow.seconds(timeout)
    with follow.cluster(kubeconfig, context) as source:
        where = namespace or source.default_namespace
        found = follow.states(source, where, name, time.monotonic() + limit, time.monotonic, time.sleep)
        with follow.Display(f"{where}/{name}", time.time, sys.stdout) as display:
            follow.follow(found, condition, display)


@app.command()
def demo(
    data: Annotated[str, typer.Option("--data", help="Directory to serve. Default: a tree that is made for it.")] = "",
    files: Annotated[int, typer.Option("--files", help="Files in the tree that is made.")] = 20_000,
    once: Annotated[bool, typer.Option("--once", help="End when Ready; the last line is the Dataset as JSON.")] = False,
) -> None:
    """Show the whole flow on this machine: embedded cluster, Alluxio double, controller, one Dataset."""
    from fluidctl import demo as show

    show.run(data, files, once, show.embedded)


def _flag(setting: Setting) -> inspect.Parameter:
    """Return a setting as typer reads one: a parameter whose default is an Option."""
    kind = str if setting.kind in (tuple, VolumeProfile) else setting.kind
    name = f"{setting.flag}/--no-{setting.flag[2:]}" if kind is bool else setting.flag
    option = typer.Option(setting.default, name, envvar=setting.env, help=setting.help)
    return inspect.Parameter(setting.field, inspect.Parameter.KEYWORD_ONLY, default=option, annotation=kind)


def controller(**flags: Any) -> int:
    """Run the controller until SIGTERM or Ctrl-C."""
    config = to_config(flags)
    from controllers import health, manager
    from fluidctl import follow

    with follow.cluster_errors():
        try:
            return manager.run(config)
        except manager.CrdsMissingError as error:
            raise Failure(Code.CRDS_MISSING, str(error)) from error
        except health.CannotListenError as error:
            raise Failure(Code.PORT_TAKEN, str(error)) from error
        except manager.SyncError as error:
            raise Failure(Code.UNREACHABLE, str(error)) from error


controller.__signature__ = inspect.Signature([_flag(setting) for setting in settings()])  # type: ignore[attr-defined]
app.command()(controller)
