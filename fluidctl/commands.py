"""The commands of people and of the Deployment: flags in, one call, exit code out."""

import inspect
import sys
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from controllers.api.conditions import ALWAYS_SHOWN, READY, REFRESHING, RESTORED
from controllers.config import VolumeProfile
from fluidctl.exits import Code, Failure
from fluidctl.settings import Setting, settings, to_config

if TYPE_CHECKING:
    from controllers.kube.client import Cluster

app = typer.Typer(
    name="fluidctl",
    help="Loads, counts, publishes, backs up and restores Alluxio datasets on Kubernetes. More commands run in Jobs.",
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
Timeout = Annotated[str, typer.Option("--timeout", help="Longest wait, such as 90s or 1h30m. Default: no limit.")]


def _listed(output: str, all_namespaces: bool, narrowed: str) -> None:
    if output not in ("", "wide", "json"):
        raise Failure(Code.USAGE, f"-o must be wide or json, not {output!r}")
    if all_namespaces and narrowed:
        raise Failure(Code.USAGE, "-A lists all namespaces: neither a name nor -n goes with it")


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
    _listed(output, all_namespaces, name or namespace)
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
    timeout: Timeout = "",
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
        _follow(source, namespace or source.default_namespace, name, condition, limit)


def _follow(source: "Cluster", namespace: str, name: str, condition: str, limit: float) -> None:
    from fluidctl import follow

    found = follow.states(source, namespace, name, time.monotonic() + limit, time.monotonic, time.sleep)
    with follow.Display(f"{namespace}/{name}", time.time, sys.stdout) as display:
        follow.follow(found, condition, display)


@app.command()
def backup(
    dataset: Annotated[str, typer.Argument(help="Name of the Dataset.", show_default=False)],
    to: Annotated[str, typer.Option("--to", help="Where it is kept: pvc://claim/directory.", show_default=False)],
    name: Annotated[str, typer.Option("--name", help="Name of the DataBackup. Default: DATASET-DATE-TIME.")] = "",
    deletion_policy: Annotated[
        str, typer.Option("--deletion-policy", help="Delete: the files go with the DataBackup. Retain: they stay.")
    ] = "Retain",
    wait_for: Annotated[bool, typer.Option("--wait", help="Wait until it is Complete, and show how.")] = False,
    timeout: Timeout = "",
    namespace: Namespace = "",
    kubeconfig: Kubeconfig = "",
    context: Context = "",
) -> None:
    """Back up the metadata of a Dataset, once and now."""
    from fluidctl import backups as of
    from fluidctl import follow

    limit, body = follow.seconds(timeout), of.body(dataset, to, name, deletion_policy, time.time())
    with follow.cluster(kubeconfig, context) as source:
        where = namespace or source.default_namespace
        made = of.create(source, where, body)
        if wait_for:
            of.follow(source, where, made, of.completed, limit)
        else:
            print(f"Its progress: fluidctl backups {dataset} -n {where}", file=sys.stderr)


@app.command()
def backups(
    dataset: Annotated[
        str,
        typer.Argument(
            help="List only those of this Dataset. verify, before a BACKUP: have that read and compared again."
        ),
    ] = "",
    name: Annotated[str, typer.Argument(metavar="BACKUP", help="After verify: the DataBackup.")] = "",
    all_namespaces: Annotated[bool, typer.Option("-A", "--all-namespaces", help="List all namespaces.")] = False,
    output: Annotated[str, typer.Option("--output", "-o", help="wide or json.")] = "",
    wait_for: Annotated[bool, typer.Option("--wait", help="With verify: wait for the outcome.")] = False,
    timeout: Timeout = "",
    namespace: Namespace = "",
    kubeconfig: Kubeconfig = "",
    context: Context = "",
) -> None:
    """List DataBackups, or verify one again: fluidctl backups verify BACKUP."""
    if (name and (dataset != "verify" or all_namespaces or output)) or (wait_for and not name):
        raise Failure(Code.USAGE, "give one name to list the backups of a Dataset, or: fluidctl backups verify BACKUP")
    _listed(output, all_namespaces, namespace)
    from fluidctl import backups as of
    from fluidctl import follow

    limit = follow.seconds(timeout)
    with follow.cluster(kubeconfig, context) as source:
        where = namespace or source.default_namespace
        if not name:
            of.print_list(source, None if all_namespaces else where, dataset, output, time.time())
            return
        request = of.request_verification(source, where, name, time.time())
        print(f"databackup.data.fluid.io/{name} is to be verified")
        if wait_for:
            of.follow(source, where, name, of.verified(request), limit)


@app.command()
def restore(
    backup: Annotated[
        str, typer.Argument(help="Name of a DataBackup, or pvc://claim/directory of its files.", show_default=False)
    ],
    name: Annotated[
        str, typer.Option("--as", help="Name of the new Dataset and its AlluxioRuntime.", show_default=False)
    ],
    like: Annotated[
        str,
        typer.Option(
            "--like",
            help="What is copied: a Dataset, or a FILE with its manifest. Default: the Dataset that was backed up.",
        ),
    ] = "",
    on_failure: Annotated[
        str, typer.Option("--on-failure", help="Fail, or LoadFromUFS: load everything where the restore fails.")
    ] = "Fail",
    checksum: Annotated[str, typer.Option("--checksum", help="sha256:... that the backup must have.")] = "",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the YAML and create nothing.")] = False,
    wait_for: Annotated[bool, typer.Option("--wait", help="Wait until the Dataset is Ready, and show how.")] = False,
    timeout: Timeout = "",
    namespace: Namespace = "",
    kubeconfig: Kubeconfig = "",
    context: Context = "",
) -> None:
    """Make a new Dataset, with an Alluxio of its own, from a backup."""
    from fluidctl import follow
    from fluidctl import restore as of

    wanted = {"onFailure": on_failure, "checksum": checksum}
    of.check(wanted)
    limit = follow.seconds(timeout)
    with follow.cluster(kubeconfig, context) as source:
        where = namespace or source.default_namespace
        objects = of.plan(source, where, backup, name, like, wanted)
        if dry_run:
            print(of.as_yaml(objects), end="")
            return
        of.create(source, where, objects)
        if wait_for:
            _follow(source, where, name, READY, limit)
        else:
            print(f"Watch it: fluidctl wait {name} -n {where}", file=sys.stderr)


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
    from controllers import health, informers, manager
    from fluidctl import follow

    with follow.cluster_errors():
        try:
            return manager.run(config)
        except informers.CrdsMissingError as error:
            raise Failure(Code.CRDS_MISSING, str(error)) from error
        except health.CannotListenError as error:
            raise Failure(Code.PORT_TAKEN, str(error)) from error
        except manager.SyncError as error:
            raise Failure(Code.UNREACHABLE, str(error)) from error


controller.__signature__ = inspect.Signature([_flag(setting) for setting in settings()])  # type: ignore[attr-defined]
app.command()(controller)
