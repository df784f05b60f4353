"""What the tests of loading share: trees, what os.walk says of them, and steps against a master."""

import inspect
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Self

from google.protobuf.message import Message

from controllers.api.command import StepCommand
from controllers.api.result import Exit, Progress, Result, Totals
from devcluster.master import AlluxioMaster
from fluidctl.load import requests
from fluidctl.load.channel import Settings
from fluidctl.load.main import run
from fluidctl.load.methods import Method
from fluidctl.load.watch import Watch

ODD = (
    " a b ",
    "ünï",
    "new\nline",
    "p%41",
    "100%",
    "#h",
    "a+b",
    "q\"'",
    "..hidden",
    "x" * 250,
    "tab\t",
    "&;*<>",
    "$HOME",
)


Answer = Callable[[Any], Any]


def make(root: Path, files: Sequence[str]) -> None:
    """Write small files of various sizes; a name that ends in / is an empty directory."""
    for number, name in enumerate(files):
        path = root / name
        (path if name.endswith("/") else path.parent).mkdir(parents=True, exist_ok=True)
        if not name.endswith("/"):
            path.write_bytes(b"x" * (number % 7))


def odd_tree(root: Path) -> None:
    """Odd names as files and as directories, deep, wide and empty ones."""
    make(root, [f"odd/{name}" for name in ODD] + [f"in/{name}/file" for name in ODD])
    make(root, ["/".join(f"l{level}" for level in range(30)) + "/leaf", *(f"wide/{n}/f" for n in range(40))])
    make(root, ["empty/", "empties/1/", "empties/2/3/"])


def truth(root: Path) -> Totals:
    """Return what os.walk says."""
    files = directories = size = 0
    for place, folders, names in os.walk(os.fsencode(root)):
        directories += len(folders)
        files += len(names)
        size += sum(os.lstat(os.path.join(place, name)).st_size for name in names)
    return Totals(files, directories, size)


def intercept(master: AlluxioMaster, method: Method[Any, Any], around: Callable[[Any, Answer], Any]) -> None:
    """Let ``around(request, answer)`` answer a method of the double in place of ``answer``."""
    answer = master._calls[method.path][1]
    master._calls[method.path] = (method, lambda request: around(request, answer))


def every_request() -> Iterator[tuple[str, Message]]:
    """Yield a request by each public builder of fluidctl.load.requests, plain and with each of its switches on.

    Its path is the name that is yielded with it.
    """
    for name, builder in inspect.getmembers(requests, inspect.isfunction):
        if name.startswith("_"):
            continue
        parameters = inspect.signature(builder).parameters.values()
        for switch in ("", *(each.name for each in parameters if each.default is False)):
            place = f"{name}-{switch}".rstrip("-")
            examples = {bytes: f"/{place}".encode(), int: 1, bool: True, str: "s3://b/", Mapping[str, str]: {"k": "v"}}
            needed = [examples[each.annotation] for each in parameters if each.default is each.empty]
            yield place, builder(*needed, **({switch: True} if switch else {}))


class Steps:
    """Runs load and size in this process. ``shown`` collects progress; ``watch`` is that of the step under way."""

    def __init__(self, spill: Path, masters: Sequence[str], **settings: Any) -> None:
        self.command = StepCommand("load", tuple(masters), "/", parallelism=4, spill_path=str(spill))
        self.settings = Settings(tuple(masters), **{"connect_seconds": 20.0, **settings})
        self.shown: list[Progress] = []
        self.clock: Callable[[], float] = time.monotonic
        self.watch = self._watch("load", 60)

    @classmethod
    def at(cls, master: AlluxioMaster, directory: Path) -> Self:
        """Return those against a double; what they spill is in the directory."""
        return cls(directory / "spill", [f"127.0.0.1:{master.port}"])

    def run(self, step: str, path: str = "/", **changes: Any) -> tuple[Result, Exit]:
        """Run one step."""
        command = replace(self.command, step=step, path=path, **changes)
        self.watch = self._watch(step, command.no_progress_seconds)
        return run(command, self.settings, self.watch)

    def both(self, path: str = "/", **changes: Any) -> tuple[Result, Exit]:
        """Load and count; return what the count says, or the load if it failed."""
        loaded, code = self.run("load", path, **changes)
        return self.run("size", path, evidence=loaded.evidence, **changes) if code is Exit.COMPLETE else (loaded, code)

    def _watch(self, step: str, no_progress: float) -> Watch:
        return Watch(step, self.shown.append, self.clock, no_progress)
