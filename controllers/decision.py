"""What a decision is: plain values, which ``apply`` carries out in one fixed order.

The order is finalizer, status, children, events. A crash after any prefix of it leads to the same next decision,
because every child has a deterministic name that follows from the status which was written before it.
"""

from dataclasses import dataclass
from typing import Any

from controllers.api.model import Model


@dataclass(frozen=True, order=True)
class Key:
    """What a worker takes from the queue.

    ``kind`` is "Dataset", "AlluxioRuntime", "DataBackup", "ScheduledDataBackup", "Orphan" (a volume), or "Admission"
    (no name).
    """

    kind: str
    namespace: str = ""
    name: str = ""

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}" if self.name else self.kind


#: The one key behind which suspended Jobs are released.
ADMISSION = Key("Admission")
#: Kind of the key of a volume whose Dataset may be gone.
ORPHAN = "Orphan"


@dataclass(frozen=True)
class SetFinalizers:
    """Make these the object's finalizers."""

    finalizers: tuple[str, ...]


@dataclass(frozen=True)
class Create:
    """Create this object; one of that name which the owner has already is as good, and no other is ever taken over.

    ``body`` has what says whose it is (``apply.LABELS``). Of a Secret, which nobody here may read, one that exists is
    taken for ours.
    """

    kind: str
    body: dict[str, Any]


@dataclass(frozen=True)
class Patch:
    """Merge this into exactly this object (RFC 7386). ``uid`` "": into the one of that name, if the owner has it."""

    kind: str
    name: str
    uid: str
    body: dict[str, Any]


@dataclass(frozen=True)
class Delete:
    """Delete exactly this object, what it owns in the background."""

    kind: str
    name: str
    uid: str


Child = Create | Patch | Delete


@dataclass(frozen=True)
class Event:
    """One event on the object. ``type`` is Normal or Warning."""

    type: str
    reason: str
    action: str
    message: str


@dataclass(frozen=True)
class Problem:
    """What the API server refused the last time; shown until it no longer refuses."""

    reason: str
    message: str


@dataclass(frozen=True)
class Decision:
    """The next step for one object. ``requeue_after`` in seconds; None waits for an event alone."""

    status: Model | None = None  # the status of its kind; None: leave it alone
    finalizers: SetFinalizers | None = None
    release: bool = False  # the finalizer goes last instead of first: nothing is left to guard
    children: tuple[Child, ...] = ()
    events: tuple[Event, ...] = ()
    requeue_after: float | None = None
