"""How a tree is cut into flat listings, a task each: as few requests to its storage as possible, many at once. Pure.

A task lists strictly one page after the other. On s3a (2.9.6) it costs one HEAD of its path beside its pages; one of a
single level costs the same and lists nothing twice, because the folders that it finds are listed on their own.
"""

import math
from collections.abc import Sequence

PAGE = 1000  # keys in one answer of a storage
LEVELS = 3  # looked at one by one, while they have fewer folders than tasks may run: bucket/dataset/train/...
FEW = 200  # folders that get a task each, unseen: at worst 400 small requests, some 2 s of a master's time
MANY = 50_000  # folders; more of them are not kept in memory
SAMPLE = 8
WASTE = 4  # times the requests of one listing of all that many tasks at once may cost


def sample(folders: Sequence[bytes]) -> list[bytes]:
    """Return a few folders, evenly spread; the same ones whenever the folders are the same."""
    return list(folders[:: max(1, len(folders) // SAMPLE)][:SAMPLE])


def pays(folders: int, listed: int, mean: float, in_flight: int) -> bool:
    """Whether a task for each folder pays, against one for each of their parents.

    ``listed``: entries directly in the parents, which their tasks would list again. ``mean``: keys below a folder.
    """
    whole = (listed + folders * mean) / PAGE
    parts = folders * (1 + math.ceil(max(mean, 1) / PAGE))
    return parts / in_flight < whole and parts <= WASTE * whole
