"""Which resources are watched, and which key each change wakes."""

import random
from collections.abc import Callable, Iterator
from typing import Any

from controllers.config import ControllerConfig
from controllers.decision import ADMISSION, ORPHAN, Key
from controllers.jobs import DATASET_UID, SELECTOR
from controllers.jobview import runs
from controllers.kube.client import Cluster
from controllers.kube.reflector import Reflector
from controllers.kube.resources import DATASETS, JOBS, PERSISTENTVOLUMECLAIMS, PERSISTENTVOLUMES, PODS
from controllers.kube.store import Change, ChangeKind
from controllers.metrics import Metrics
from controllers.observe import Stores, key_of
from controllers.volumes import volume_name
from workqueue import Clock, Lane

Enqueue = Callable[[Key, Lane], None]


class Wakes:
    """Turns changes into keys. Called by the reflectors' threads, so it only looks up and enqueues."""

    def __init__(self, stores: Stores, enqueue: Enqueue, only: str = "") -> None:
        self._stores, self._enqueue, self._only = stores, enqueue, only

    def dataset(self, change: Change) -> None:
        """A Dataset wakes itself; one that is gone may have left a volume, if its finalizer was torn off."""
        self._wake(key_of(change.obj), change)
        name = volume_name(change.obj["metadata"]["uid"])
        if not self._only and change.kind is ChangeKind.DELETED and self._stores.volumes.get("", name):
            self._enqueue(Key(ORPHAN, "", name), Lane.BULK)

    def child(self, change: Change) -> None:
        """A child wakes its Dataset, found by uid: the label with its name may be cut."""
        uid = change.obj["metadata"].get("labels", {}).get(DATASET_UID, "")
        for owner in self._stores.datasets.by_index("uid", uid):
            self._wake(key_of(owner), change)

    def volume(self, change: Change) -> None:
        """A volume whose Dataset is not known may be left over from one whose finalizer was torn off."""
        self.child(change)
        uid = change.obj["metadata"].get("labels", {}).get(DATASET_UID, "")
        if not self._only and change.kind is not ChangeKind.DELETED and not self._stores.datasets.by_index("uid", uid):
            self._enqueue(Key(ORPHAN, "", change.obj["metadata"]["name"]), Lane.BULK)

    def job(self, change: Change) -> None:
        """Any change of a Job may free a place or ask for one."""
        self.child(change)
        self._enqueue(ADMISSION, _lane(change))

    def pod(self, change: Change) -> None:
        """A pod that no longer runs may have been the last obstacle of a waiting Job."""
        self.child(change)
        if change.kind is ChangeKind.DELETED or not runs(change.obj):
            self._enqueue(ADMISSION, _lane(change))

    def _wake(self, key: Key, change: Change) -> None:
        if not self._only or str(key) == self._only:
            self._enqueue(key, _lane(change))


def _lane(change: Change) -> Lane:
    return Lane.BULK if change.kind is ChangeKind.INITIAL else Lane.FRESH


def reflectors(
    cluster: Cluster,
    stores: Stores,
    wakes: Wakes,
    config: ControllerConfig,
    metrics: Metrics,
    clock: Clock,
    rng: random.Random,
) -> Iterator[tuple[str, Reflector]]:
    """Yield a name and a reflector for every resource and namespace that is watched.

    Jobs, pods, claims and volumes are watched by our label alone. Volumes have no namespace.
    """
    rows = [
        (resource, store, on_change, selector, namespace)
        for resource, store, on_change, selector in (
            (DATASETS, stores.datasets, wakes.dataset, config.selector),
            (JOBS, stores.jobs, wakes.job, SELECTOR),
            (PODS, stores.pods, wakes.pod, SELECTOR),
            (PERSISTENTVOLUMECLAIMS, stores.claims, wakes.child, SELECTOR),
        )
        for namespace in config.namespaces or (None,)
    ]
    rows.append((PERSISTENTVOLUMES, stores.volumes, wakes.volume, SELECTOR, None))
    for resource, store, on_change, selector, namespace in rows:
        name = resource.plural if namespace is None else f"{resource.plural}/{namespace}"
        report = metrics.reflector(resource.plural)
        scope: dict[str, Any] = {"namespace": namespace, "label_selector": selector, "report": report}
        yield name, Reflector(cluster, resource, store, on_change, **scope, clock=clock, rng=rng)
