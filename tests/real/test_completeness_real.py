"""Random trees in a storage that fails at random: never Ready with a file missing, and Ready in the end.

``make test-real K=completeness SEEDS=200``; ``SEED=17 SEEDS=1`` repeats one. Each seed (tests/objectstore/plans.py) is
a Dataset at one real Alluxio (tests/real/storm.py says what is real there), half of them on s3a, half on oss. All share
one master, so that the failures of one are noise to the others.
"""

import os
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from controllers.api.result import Exit, Totals
from controllers.api.spelling import decode
from controllers.dataset.seen import RETRY_ANNOTATION
from controllers.kube.resources import DATASETS
from devcluster.kinds import Obj
from tests.load_kit import Steps
from tests.objectstore import Driver
from tests.objectstore.plans import Plan, plan
from tests.real.storm import AT_ONCE, DRIVERS, SHARED, Storm, storm
from tests.world import condition

SEEDS = int(os.environ.get("FLUIDCTL_SEEDS") or 24)
FIRST = int(os.environ.get("FLUIDCTL_SEED") or 1)


@dataclass
class Life:
    """How one seed went. ``first`` is where it came without a person; ``wrong`` what must never be."""

    plan: Plan
    path: str
    healed: bool = False
    failures: int = 0  # the most at any time
    first: str = ""
    over: bool = False
    wrong: str = ""

    @property
    def bucket(self) -> str:
        return self.plan.name if self.plan.at_root else f"{SHARED}-{self.plan.driver}"

    @property
    def prefix(self) -> str:
        return "" if self.plan.at_root else f"{self.plan.name}/"


@pytest.fixture(scope="module", name="storm")
def running_storm(real_programs: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Storm]:
    with storm(tmp_path_factory.mktemp("storm")) as running:
        yield running


@pytest.mark.timeout(120 + 20 * SEEDS)
def test_what_is_ready_is_complete_and_what_can_recover_gets_ready(storm: Storm) -> None:
    """And all others say why, and get ready when the storage is mended and a person asks."""
    with ThreadPoolExecutor(AT_ONCE) as pool:
        lives = list(pool.map(lambda seed: _prepare(storm, plan(seed)), range(FIRST, FIRST + SEEDS)))
    by_name = {life.plan.name: life for life in lives}
    for life in lives:
        limits = {"maxAttempts": 4, "parallelism": 4, "noProgressSeconds": 30}
        storm.apply(life.plan.name, storm.spec(life.path, load=limits))

    def step() -> bool:
        for obj in storm.eyes.all(DATASETS):
            _visit(storm, by_name[obj["metadata"]["name"]], obj)
        return all(life.over for life in lives)

    def left() -> Any:
        return [
            (str(life.plan), life.first, (storm.get(life.plan.name) or {}).get("status"))
            for life in lives
            if not life.over
        ]

    storm.eyes.until(step, 60.0 + 20 * SEEDS, left)
    print("\n" + "\n".join(f"{life.plan}\n    {life.first}" for life in lives))
    words = Counter("Ready" if life.first.startswith("Ready after") else life.first.partition(":")[0] for life in lives)
    print(f"{len(lives)} seeds, by what they came to before a person did anything: {dict(words)}")
    wrong = [f"{life.plan}\n  first: {life.first}\n  wrong: {life.wrong}" for life in lives if life.wrong]
    assert not wrong, "\n".join(wrong)


def _prepare(storm: Storm, made: Plan) -> Life:
    life = Life(made, f"/{made.name}" if made.at_root else f"/{made.driver}/{made.name}")
    storm.store.fill(life.bucket, {life.prefix + key: size for key, size in made.keys.items()})
    if made.at_root:
        storm.mount(life.path, storm.store.uri(made.driver, life.bucket))
    for trouble in made.troubles:
        place = life.prefix + trouble.prefix
        storm.store.fail(
            life.bucket,
            place,
            trouble.how,
            page=trouble.page,
            times=trouble.times,
            kinds=trouble.kinds,
            shown=trouble.shown,
        )
    if made.earlier:
        storm.others(life.path, made.earlier == "recursive")
    if made.heal == "earlier":
        _heal(storm, life)
    return life


def _heal(storm: Storm, life: Life) -> None:
    storm.store.heal(life.bucket, life.prefix)
    life.healed = True


def _visit(storm: Storm, life: Life, obj: Obj) -> None:
    """Look at a Dataset after a change: judge it, and heal its storage when it is time."""
    status = obj.get("status", {})
    failures = status.get("load", {}).get("failures", 0) + status.get("size", {}).get("failures", 0)
    life.failures = max(life.failures, failures)
    if not life.healed and life.plan.heal.isdigit() and failures >= int(life.plan.heal):
        _heal(storm, life)
    ready, stalled = condition(obj, "Ready"), condition(obj, "Stalled")
    if ready.get("status") == "True":
        size = status["size"]
        found = Totals(*(size.get(name, 0) for name in ("files", "directories", "bytes")))
        if found != life.plan.totals:
            life.wrong = f"MISSED: Ready with {found}"
        life.first = life.first or f"Ready after {life.failures} failures"
        life.over = True
    elif stalled.get("status") != "True":
        return
    elif life.plan.older and ready["reason"] == "LoadedUnverified":  # such a master cannot do better
        life.first = life.first or f"{ready['reason']}: {status['size'].get('lastError')}"
        life.wrong = life.wrong or ("" if status["size"].get("lastError") else "unproved, and nobody knows why")
        life.over = True
    elif not life.first:
        life.first = f"{ready['reason']}: {ready['message']}"
        life.wrong = _unexplained(life, status, ready)
        _heal(storm, life)
        mended = {"metadata": {"annotations": {RETRY_ANNOTATION: "mended"}}}
        storm.cluster.merge_patch(DATASETS, "default", life.plan.name, mended)
    elif status.get("lastHandledRetry"):
        life.over = True
        life.wrong = f"not Ready after the storage was mended: {ready['reason']}: {ready['message']}"


def _unexplained(life: Life, status: Obj, ready: Obj) -> str:
    """Return what is wrong with the way in which a Dataset says that it is not Ready."""
    if life.plan.recoverable:
        return "recoverable, but it was given up"
    known = {life.path, *(f"{life.path}/{name}" for name in life.plan.directories)}
    named = {decode(name).decode() for name in status["load"].get("failedDirectories", [])}
    if ready["reason"] == "Incomplete" and not (named or life.path in ready["message"]):
        return "incomplete, but no directory is named"
    if named - known:
        return f"there are no directories {named - known}"
    return "" if ready["message"] and ready["reason"] != "Internal" else "no reason"


# --- names ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("driver", DRIVERS)
def test_names_are_loaded_exactly(storm: Storm, tmp_path: Path, driver: Driver) -> None:
    """As the storage has them."""
    keys = ["100%", "d%/x", " a ", " d /x", "tab\t", "new\n/x", "#", "+", "*;<>", "ü/ï"]
    storm.store.fill(f"{SHARED}-{driver}", {f"names/{key}": 1 for key in keys})
    result, code = Steps(tmp_path, [storm.alluxio.rpc_address]).both(f"/{driver}/names")

    assert (code, result.proved, result.totals) == (Exit.COMPLETE, True, Totals(10, 4, 10))


@pytest.mark.parametrize("driver", DRIVERS)
def test_what_no_client_can_see_is_as_the_page_on_reliability_says(
    storm: Storm, tmp_path: Path, driver: Driver
) -> None:
    """Should this fail, Alluxio or the page has changed."""
    keys = ["both/a", "both/a/x", "double/a//b", "double/c", "cut/q?1", "cut/q?2", "turned/a/b", "turned/a\\b"]
    storm.store.fill(f"{SHARED}-{driver}", {f"unseen/{key}": 1 for key in keys})
    steps = Steps(tmp_path, [storm.alluxio.rpc_address])
    found = {name: steps.both(f"/{driver}/unseen/{name}")[0] for name in ("both", "double", "cut", "turned")}

    s3 = driver == "s3"  # on oss the number of objects betrays them, but for "a//b", which is shown as "a/b"
    proved = {name: result.proved for name, result in found.items()}
    assert proved == {"both": s3, "double": True, "cut": s3, "turned": s3}
    files = {name: result.totals and result.totals.files for name, result in found.items()}
    assert files == {"both": 1, "double": 1 if s3 else 2, "cut": 1, "turned": 1}
