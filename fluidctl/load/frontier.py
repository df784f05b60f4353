"""Directory names that wait for their turn, in bounded memory: what is too much goes to files and comes back.

A name is bytes and may hold any byte but NUL, so a file is a run of names that each end in NUL. Files belong to one
process and vanish with the object: after a crash a new walk costs memory speed.
"""

import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

MEMORY = 50_000  # names, over all
CHUNK = 1_000  # names that one listing may hold back before it writes a file


class Spill:
    """Makes and reads the files; the directory is made when the first one is needed."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._home: tempfile.TemporaryDirectory[str] | None = None
        self._made = 0
        self._lock = threading.Lock()

    def write(self, names: list[bytes]) -> Path:
        """Write one file of names."""
        with self._lock:
            if self._home is None:
                Path(self._path).mkdir(parents=True, exist_ok=True)
                self._home = tempfile.TemporaryDirectory(prefix="names-", dir=self._path)
            self._made += 1
            file = Path(self._home.name, str(self._made))
        file.write_bytes(b"".join(name + b"\0" for name in names))
        return file

    def read(self, file: Path) -> list[bytes]:
        """Return the names of one file."""
        return file.read_bytes().split(b"\0")[:-1]

    def close(self) -> None:
        """Remove all files."""
        with self._lock:
            if self._home is not None:
                self._home.cleanup()
                self._home = None


class Batch:
    """The names that one listing found: nothing of it counts until it is handed over as a whole."""

    def __init__(self, spill: Spill, chunk: int = CHUNK) -> None:
        self._spill = spill
        self._chunk = chunk
        self.names: list[bytes] = []
        self.files: list[Path] = []
        self.count = 0

    def add(self, name: bytes) -> None:
        """Add one name."""
        self.names.append(name)
        self.count += 1
        if len(self.names) >= self._chunk:
            self.files.append(self._spill.write(self.names))
            self.names = []

    def discard(self) -> None:
        """Forget the names: the listing failed in the middle."""
        for file in self.files:
            file.unlink()
        self.names, self.files, self.count = [], [], 0


class Frontier:
    """A stack of names: the last one in comes out first, so that a walk goes deep and the stack stays short.

    Not thread-safe. About ``memory`` names stay in memory, half of them here and half in the batches under way.
    """

    def __init__(self, spill: Spill, memory: int = MEMORY) -> None:
        self._spill = spill
        self._half = memory // 2
        self._names: list[bytes] = []
        self._files: list[Path] = []
        self._count = 0

    def __len__(self) -> int:
        return self._count

    @property
    def in_memory(self) -> int:
        """Return how many names are held in memory."""
        return len(self._names)

    def push(self, batch: Batch) -> None:
        """Take all names of a batch."""
        self._files += batch.files
        self._names += batch.names
        self._count += batch.count
        if len(self._names) > self._half:
            keep = self._half // 2
            self._files.append(self._spill.write(self._names[:-keep]))
            self._names = self._names[-keep:]

    def pop(self) -> bytes:
        """Return the name that came last, as far as that can be known without reading files; IndexError if empty."""
        if not self._names and self._files:
            file = self._files.pop()
            self._names = self._spill.read(file)
            file.unlink()
        name = self._names.pop()
        self._count -= 1
        return name


class Names:
    """A growing list of names that can be read again and again, in pieces. Adding is thread-safe."""

    def __init__(self, spill: Spill, chunk: int = MEMORY // 10) -> None:
        self._batch = Batch(spill, chunk)
        self._spill = spill
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return self._batch.count

    def add(self, name: bytes) -> None:
        """Add one name."""
        with self._lock:
            self._batch.add(name)

    def pieces(self) -> Iterator[list[bytes]]:
        """Yield all names in lists of bounded length."""
        for file in self._batch.files:
            yield self._spill.read(file)
        if self._batch.names:
            yield list(self._batch.names)
