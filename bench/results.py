"""The lines of a benchmark's raw results: what the machine was, each time, and every run."""

import argparse
import json
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Generic, Self, TypeVar

from bench import machine
from bench.rig import Failed
from tests.real.process import StartFailed


@dataclass(frozen=True, kw_only=True)
class Record(ABC):
    """One run. ``wrong`` says what differs from the truth, ``error`` why there are no figures.

    ``foreign`` is the share of the machine's cores that others used meanwhile.
    """

    scale: float
    commit: str = ""
    foreign: float = 0.0
    wrong: str = ""
    error: str = ""

    @property
    @abstractmethod
    def key(self) -> tuple[object, ...]:
        """Return what it is the run of."""

    def to_json(self) -> str:
        """Return one line."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, line: str) -> Self:
        """Read it."""
        return cls(**json.loads(line))


R = TypeVar("R", bound=Record)


def add_options(parser: argparse.ArgumentParser, minutes: float, output: Path) -> None:
    """Add the options that every benchmark of this kind has."""
    parser.add_argument("--scale", type=float, default=1.0, help="of the trees: 0.01 for a quick look")
    parser.add_argument("--minutes", type=float, default=minutes, help="begin no run later than this")
    parser.add_argument("--resume", action="store_true", help="measure only what the .jsonl lacks")
    parser.add_argument("--render", action="store_true", help="measure nothing, write the report anew")
    parser.add_argument("--output", type=Path, default=output, help="directory")


class Results(Generic[R]):
    """A file of runs of one kind."""

    def __init__(self, path: Path, scale: float, kind: type[R]) -> None:
        self._path, self._scale, self._kind = path, scale, kind
        self.machines: list[Mapping[str, Any]] = []
        self.measured: list[R] = []

    @classmethod
    def of(cls, name: str, options: argparse.Namespace, kind: type[R]) -> Self:
        """Return the file that the options mean, with what is to be kept of it."""
        made = cls(options.output / f"{name}.jsonl", options.scale, kind)
        if options.resume or options.render:
            made.read()
        return made

    def run(self, todo: Sequence[R], measure: Callable[[R], R], said: Callable[[R], str], minutes: float) -> None:
        """Measure what has no figures yet; begin nothing after ``minutes``. ``said`` is for who looks on."""
        begin = time.monotonic()
        for number, blank in enumerate(todo, start=1):
            if time.monotonic() - begin > minutes * 60:
                print(f"{minutes:.0f} minutes are over: the rest with --resume", file=sys.stderr)
                return
            try:
                made = measure(blank)
            except (Failed, StartFailed) as error:
                made = replace(blank, error=" ".join(str(error).split())[:300])
            self.add(made)
            text = made.error or f"{said(made)} {made.wrong}"
            print(f"{number}/{len(todo)} {made.key}: {text}", file=sys.stderr, flush=True)

    def read(self) -> None:
        """Take over what was measured at this scale."""
        for line in self._path.read_text().splitlines() if self._path.exists() else ():
            if "machine" in (data := json.loads(line)):
                self.machines.append(data)
            elif data["scale"] == self._scale:
                self.measured.append(self._kind.from_json(line))

    def begin(self) -> set[tuple[object, ...]]:
        """Write the file anew with what has figures, and with the machine of now; return what need not be repeated."""
        self.measured = [run for run in self.measured if not run.error]
        print("looking how busy the machine is", file=sys.stderr, flush=True)
        self.machines.append({"machine": machine.describe(), "busy": machine.busy_share()})
        lines = [*map(json.dumps, self.machines), *(run.to_json() for run in self.measured)]
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._path.write_text("".join(f"{line}\n" for line in lines))
        return {run.key for run in self.measured}

    def add(self, run: R) -> None:
        """Add a run at once: the next one may never end."""
        self.measured.append(run)
        with self._path.open("a") as file:
            file.write(f"{run.to_json()}\n")

    def machine_lines(self) -> str:
        """Return what the report says of the machine, and a warning where it was busy."""
        lines = [f"- {entry['machine']} Others used {100 * entry['busy']:.0f} % of it." for entry in self.machines]
        busy = max((entry["busy"] for entry in self.machines), default=0.0)
        warning = machine.warning(busy, [run.foreign for run in self.measured])
        return "\n".join(lines) + (f"\n\n{warning}" if warning else "")
