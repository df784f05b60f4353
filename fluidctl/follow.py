"""Objects of a cluster for people: connect, fetch, follow one until it is as wished; errors in one line."""

import json
import math
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import Any, Self, TextIO

from controllers.api.conditions import TRUE, find
from controllers.api.dataset_status import Phase
from controllers.kube.client import Cluster, ConfigError
from controllers.kube.errors import (
    AlreadyExists,
    Expired,
    Forbidden,
    Invalid,
    KubeError,
    NoAnswer,
    NotFound,
    ServerError,
    TooManyRequests,
    Unauthorized,
)
from controllers.kube.resources import ALLUXIORUNTIMES, DATABACKUPS, DATASETS, Resource
from controllers.kube.store import strip
from fluidctl.exits import Code, Failure
from fluidctl.show import changes, describe, listing, message, panel, read

_KINDS = {kind.plural: kind.kind for kind in (DATASETS, DATABACKUPS, ALLUXIORUNTIMES)}
_PASSING = (Expired, NoAnswer, ServerError, TooManyRequests)
_UNITS = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}
#: A watch that is silent for longer is opened anew: the API server sends a bookmark every minute.
_SILENCE_SECONDS = 90.0
_RETRY_SECONDS = 1.0


@contextmanager
def cluster_errors() -> Iterator[None]:
    """Turn any failure to reach or to understand the cluster into a Failure: one line for a person."""
    try:
        yield
    except ConfigError as error:
        raise Failure(Code.UNREACHABLE, str(error)) from error
    except KubeError as error:
        raise explain(error) from error


@contextmanager
def cluster(kubeconfig: str, context: str) -> Iterator[Cluster]:
    """Connect to the cluster of a kubeconfig; failures inside are those of ``cluster_errors``."""
    from fluidctl.version import __version__

    with (
        cluster_errors(),
        closing(Cluster.connect(kubeconfig, context, pool_size=2, user_agent=f"fluidctl/{__version__}")) as connected,
    ):
        yield connected


def explain(error: KubeError) -> Failure:
    """Return the Failure for what the API server, or its absence, answered to a question about our kinds."""
    name, kind = error.details.get("name"), _KINDS.get(error.details.get("kind", ""), DATASETS.kind)
    if isinstance(error, NotFound) and name:
        return Failure(Code.NOT_FOUND, f"no {kind} {name} in this namespace (-n names another)")
    if isinstance(error, NotFound):
        return Failure(
            Code.CRDS_MISSING,
            "this cluster has no Datasets yet; install: fluidctl crds | kubectl apply --server-side -f -",
        )
    if isinstance(error, AlreadyExists):
        return Failure(Code.USAGE, f"{error.message}: choose another name")
    if isinstance(error, Invalid):
        return Failure(Code.USAGE, error.message)
    if isinstance(error, (Unauthorized, Forbidden)):
        return Failure(Code.UNREACHABLE, f"the cluster refuses this user: {error.message}")
    return Failure(Code.UNREACHABLE, f"the cluster cannot be reached: {error.message}")


def fetch(source: Cluster, namespace: str, name: str, resource: Resource = DATASETS) -> dict[str, Any]:
    """Return one object; raise KubeError."""
    return source.get(resource, namespace, name)


def print_list(source: Cluster, namespace: str | None, output: str, now: float) -> None:
    """Print the Datasets of a namespace, or of all where None, as ``output`` says: "", "wide" or "json"."""
    found, _ = source.list_all(DATASETS, namespace)
    if output == "json":
        print(json.dumps({"apiVersion": "v1", "kind": "List", "items": [strip(item) for item in found]}, indent=2))
    elif not found:
        print(f"No Datasets{f' in namespace {namespace}' if namespace else ''}.", file=sys.stderr)
    else:
        print("\n".join(listing(found, now, wide=output == "wide", namespaces=namespace is None)))


def print_one(source: Cluster, namespace: str, name: str, output: str, now: float) -> None:
    """Print everything about one Dataset."""
    found = fetch(source, namespace, name)
    print(json.dumps(strip(found), indent=2) if output == "json" else "\n".join(describe(found, now)))


def seconds(text: str) -> float:
    """Return the seconds of "90", "90s", "1h30m"; infinity where empty; a Failure says what is wrong."""
    if not text:
        return math.inf
    if not re.fullmatch(r"\d+|(\d+[smhd])+", text):
        raise Failure(Code.USAGE, f"--timeout must be a time such as 90s, 10m or 1h30m, not {text!r}")
    return float(sum(int(count) * _UNITS[unit or "s"] for count, unit in re.findall(r"(\d+)([smhd]?)", text)))


def states(
    source: Cluster,
    namespace: str,
    name: str,
    deadline: float,
    clock: Callable[[], float],
    sleep: Callable[[float], None],
    resource: Resource = DATASETS,
) -> Iterator[dict[str, Any]]:
    """Yield the object now and after each change, and end at ``deadline`` (of ``clock``).

    What heals by itself is tried again, but not before the first answer: who mistypes an address wants to know.
    """
    uid = ""
    while True:
        try:
            current = fetch(source, namespace, name, resource)
            if uid not in ("", current["metadata"]["uid"]):
                raise Failure(Code.NOT_FOUND, f"{namespace}/{name} was deleted, and another one was created")
            uid = current["metadata"]["uid"]
            yield current
            if (left := deadline - clock()) > 0:
                yield from _changes(source, resource, current["metadata"], left)
        except NotFound as error:
            gone = Failure(Code.NOT_FOUND, f"{namespace}/{name} was deleted")
            raise (gone if uid else explain(error)) from error
        except _PASSING:
            if not uid:
                raise
            sleep(min(_RETRY_SECONDS, max(deadline - clock(), 0.0)))
        if clock() >= deadline:
            return


def _changes(source: Cluster, resource: Resource, metadata: Mapping[str, Any], left: float) -> Iterator[dict[str, Any]]:
    # The whole namespace is watched and others are dropped here: one watch of one person costs the server little.
    watch = source.watch(
        resource,
        metadata["namespace"],
        resource_version=metadata["resourceVersion"],
        timeout_seconds=math.ceil(min(left, 300)),
        silence=min(left + 1, _SILENCE_SECONDS),  # the server ends an idle watch first
    )
    for event in watch:
        if event["type"] != "BOOKMARK" and event["object"]["metadata"]["name"] == metadata["name"]:
            if event["type"] == "DELETED":
                return
            yield event["object"]


def verdict(dataset: Mapping[str, Any], condition: str) -> Code | None:
    """Return OK where the condition is True for the current spec, FAILED where the Dataset is Failed, else None."""
    status, generation = read(dataset), dataset["metadata"].get("generation", 0)
    goal = find(status.conditions, condition)
    if goal and goal.status == TRUE and (goal.observed_generation or generation) >= generation:
        return Code.OK
    return Code.FAILED if status.phase is Phase.FAILED and status.observed_generation >= generation else None


@dataclass(frozen=True)
class View:
    """How a kind is shown: the lines of a change, and the live table."""

    changes: Callable[[Mapping[str, Any], Mapping[str, Any], float], list[str]]
    panel: Callable[[Mapping[str, Any], str, float], Any]


VIEW = View(changes, panel)


class Display:
    """Shows one object as it changes: a live table on a terminal, else one line per change, so that logs read well."""

    def __init__(self, name: str, now: Callable[[], float], out: TextIO, view: View = VIEW) -> None:
        from rich.console import Console
        from rich.live import Live

        self._name, self._now, self._out, self._view = name, now, out, view
        self._shown: Mapping[str, Any] = {}
        console = Console(file=out)
        self._live = Live(get_renderable=self._panel, console=console) if console.is_terminal else None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._live:
            self._live.stop()

    def show(self, dataset: Mapping[str, Any]) -> None:
        """Show this state."""
        before, self._shown = self._shown, dataset
        if self._live:
            self._live.start(refresh=True)
        else:
            self._out.writelines(f"{line}\n" for line in self._view.changes(before, dataset, self._now()))
            self._out.flush()

    def _panel(self) -> Any:
        return self._view.panel(self._shown, self._name, self._now())


def follow(found: Iterator[dict[str, Any]], condition: str, display: Display) -> dict[str, Any]:
    """Show the states until the condition holds and return that one; a Failure says why it will not, or not in time."""
    for last in found:
        display.show(last)
        code = verdict(last, condition)
        if code is Code.OK:
            return last
        if code is Code.FAILED:
            raise Failure(code, f"{_full_name(last)} is Failed: {message(read(last))}")
    status = read(last)
    raise Failure(
        Code.TIMED_OUT, f"timed out: {_full_name(last)} is {status.phase or Phase.PENDING}: {message(status)}"
    )


def _full_name(dataset: Mapping[str, Any]) -> str:
    return f"{dataset['metadata']['namespace']}/{dataset['metadata']['name']}"
