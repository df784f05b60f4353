"""The lines of a benchmark's raw results: what the machine was, each time, and every run."""

import json
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

from bench import machine


class Record(Protocol):
    """One run. ``error`` says why it has no figures; ``foreign`` is the share of the machine that others used."""

    @property
    def key(self) -> tuple[object, ...]:
        """Return what it is the run of."""
        ...

    @property
    def error(self) -> str: ...

    @property
    def foreign(self) -> float: ...

    def to_json(self) -> str:
        """Return one line."""
        ...


R = TypeVar("R", bound=Record)


class Results(Generic[R]):
    """A file of them. ``parse`` reads one run."""

    def __init__(self, path: Path, scale: float, parse: Callable[[str], R]) -> None:
        self._path, self._scale, self._parse = path, scale, parse
        self.machines: list[Mapping[str, Any]] = []
        self.measured: list[R] = []

    def read(self) -> None:
        """Take over what was measured at this scale."""
        for line in self._path.read_text().splitlines() if self._path.exists() else ():
            if "machine" in (data := json.loads(line)):
                self.machines.append(data)
            elif data["scale"] == self._scale:
                self.measured.append(self._parse(line))

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
