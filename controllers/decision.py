"""What a decision is: plain values, which ``apply`` carries out in one fixed order.

The order is finalizer, status, children, events. A crash after any prefix of it leads to the same next decision,
because every child has a deterministic name that follows from the status which was written before it.
"""

from dataclasses import dataclass
from typing import Any

from controllers.api.dataset import DatasetStatus


@dataclass(frozen=True, order=True)
class Key:
    """What a worker takes from the queue. ``kind`` is "Dataset", "Orphan" (a volume) or "Admission" (no name)."""

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
class CreateJob:
    """Create this Job, suspended; one of that name which we own already is as good."""

    body: dict[str, Any]


@dataclass(frozen=True)
class DeleteJob:
    """Delete exactly this Job, its pods in the background."""

    name: str
    uid: str


@dataclass(frozen=True)
class CreateVolume:
    """Create this PersistentVolume or PersistentVolumeClaim; never take over one of that name that is not ours."""

    kind: str
    body: dict[str, Any]


@dataclass(frozen=True)
class DeleteVolume:
    """Delete exactly this PersistentVolume or PersistentVolumeClaim."""

    kind: str
    name: str
    uid: str


@dataclass(frozen=True)
class SetFinalizers:
    """Make these the Dataset's finalizers."""

    finalizers: tuple[str, ...]


Child = CreateJob | DeleteJob | CreateVolume | DeleteVolume


@dataclass(frozen=True)
class Event:
    """One event on the Dataset. ``type`` is Normal or Warning."""

    type: str
    reason: str
    action: str
    message: str


@dataclass(frozen=True)
class Decision:
    """The next step for one object. ``requeue_after`` in seconds; None waits for an event alone."""

    status: DatasetStatus | None = None  # None: leave it alone
    finalizers: SetFinalizers | None = None
    release: bool = False  # the finalizer goes last instead of first: nothing is left to guard
    children: tuple[Child, ...] = ()
    events: tuple[Event, ...] = ()
    requeue_after: float | None = None
