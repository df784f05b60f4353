"""What a load tells the count that follows, in one compact line (at most 1,000 bytes)."""

import json
from dataclasses import dataclass
from typing import Self

from fluidctl.load.verify import Metrics

MAX_BYTES = 1000


@dataclass(frozen=True)
class Evidence:
    """``base`` and ``end`` are the master's counters before and after the load.

    ``objects`` is what one flat listing of the whole tree read, 0 where there was none; ``whole``: every task of the
    load succeeded. ``paths``: how many entries it saw, about. ``cluster_id`` and ``start_time_ms`` say in which life of
    which master.
    """

    cluster_id: str
    start_time_ms: int
    base: Metrics
    end: Metrics
    method: str
    objects: int = 0
    whole: bool = False
    paths: int = 0

    def to_json(self) -> str:
        """Return one line."""
        data = {
            "c": self.cluster_id,
            "s": self.start_time_ms,
            "b": self.base.to_list(),
            "e": self.end.to_list(),
            "m": self.method,
            "o": self.objects,
            "w": self.whole,
            "n": self.paths,
        }
        return json.dumps(data, separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Read it; raise ValueError where it is none of ours."""
        data = json.loads(text)
        try:
            base, end = Metrics(*map(int, data["b"])), Metrics(*map(int, data["e"]))
            flat, whole, paths = int(data["o"]), bool(data["w"]), int(data.get("n", 0))
            return cls(str(data["c"]), int(data["s"]), base, end, str(data["m"]), flat, whole, paths)
        except (TypeError, KeyError) as error:
            raise ValueError(f"not the evidence of a load: {error!r}") from error
