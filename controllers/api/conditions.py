"""Conditions in the form of metav1.Condition: a map by type whose lastTransitionTime moves only with the status.

Kubernetes API conventions, "Typical status properties".
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any, Self

TRUE, FALSE, UNKNOWN = "True", "False", "Unknown"

ACCEPTED = "Accepted"
MASTER_REACHABLE = "MasterReachable"
METADATA_LOADED = "MetadataLoaded"
SIZED = "Sized"
AVAILABLE = "Available"
RESTORED = "Restored"
REFRESHING = "Refreshing"
READY = "Ready"
# Abnormal-true, as kstatus (Argo CD, Flux) reads them.
RECONCILING = "Reconciling"
STALLED = "Stalled"

#: Written on the first visit, Unknown included, so that "kubectl wait" has something to wait on.
ALWAYS_SHOWN = (ACCEPTED, MASTER_REACHABLE, METADATA_LOADED, SIZED, AVAILABLE, READY, RECONCILING, STALLED)


@dataclass(frozen=True)
class Condition:
    """One metav1.Condition. Times are RFC 3339 in UTC with whole seconds, as the API server writes them."""

    type: str
    status: str
    reason: str
    message: str = ""
    observed_generation: int = 0
    last_transition_time: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form."""
        return {
            "type": self.type,
            "status": self.status,
            "reason": self.reason,
            "message": self.message,
            "observedGeneration": self.observed_generation,
            "lastTransitionTime": self.last_transition_time,
        }

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Self:
        """Read the JSON form leniently: what another hand left out reads as empty."""
        return cls(
            type=str(data.get("type", "")),
            status=str(data.get("status", UNKNOWN)),
            reason=str(data.get("reason", "")),
            message=str(data.get("message", "")),
            observed_generation=int(data.get("observedGeneration") or 0),
            last_transition_time=str(data.get("lastTransitionTime", "")),
        )


def merge(old: Iterable[Condition], new: Iterable[Condition], now: str) -> tuple[Condition, ...]:
    """Return the old conditions with the new ones in place, in the old order, times kept where the status is kept."""
    merged = {condition.type: condition for condition in old}
    for condition in new:
        before = merged.get(condition.type)
        kept = before.last_transition_time if before and before.status == condition.status else ""
        merged[condition.type] = replace(condition, last_transition_time=kept or now)
    return tuple(merged.values())


def find(conditions: Iterable[Condition], type_: str) -> Condition | None:
    """Return the condition of that type, or None."""
    return next((condition for condition in conditions if condition.type == type_), None)
