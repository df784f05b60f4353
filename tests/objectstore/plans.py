"""Random trees with random failures, from a seed: what the storage has, when it fails, and when that ends. Pure."""

import random
from dataclasses import dataclass, field

from controllers.api.result import Totals
from tests.objectstore.faults import Fault, Kind
from tests.objectstore.server import Driver

#: Names that both drivers load exactly; what they drop in silence is in docs/reliability.md.
_NAMES = ("a b", "ünï", "p%41", "#h", "a+b", "q\"'", "..hidden", "&;*<>", "$HOME", "-", "x" * 100)
_BOTH: tuple[Kind, ...] = ("LIST", "HEAD")
_LIST: tuple[Kind, ...] = ("LIST",)
_HEAD: tuple[Kind, ...] = ("HEAD",)


@dataclass(frozen=True)
class Trouble:
    """One fault of ObjectStore.fail."""

    prefix: str
    how: Fault
    page: int | None
    times: int | None
    kinds: tuple[Kind, ...]
    shown: bool = False


@dataclass(frozen=True)
class Plan:
    """One seed. Keys and prefixes are relative to the dataset's root, which ``at_root`` is the bucket's own.

    ``older``: the master is loaded as those before 2.9.4. ``earlier``: a pass of another client before ours: "" for
    none, "recursive" or "walk". ``heal``: when the faults end: "earlier" right after that pass, "1" or "2" after so
    many failed attempts of ours, "never".
    """

    seed: int
    driver: Driver
    at_root: bool
    keys: dict[str, int]
    older: bool = False
    troubles: tuple[Trouble, ...] = ()
    earlier: str = ""
    heal: str = "never"
    directories: frozenset[str] = field(default_factory=frozenset)

    @property
    def name(self) -> str:
        """Return the name of its Dataset, and of its bucket where it has one of its own."""
        return f"{'older' if self.older else 'seed'}-{self.seed}"

    @property
    def totals(self) -> Totals:
        """Return what the storage has."""
        files = {key: size for key, size in self.keys.items() if not key.endswith("/")}
        return Totals(len(files), len(self.directories), sum(files.values()))

    @property
    def recoverable(self) -> bool:
        """Whether the faults are over while attempts are left.

        Not where the dataset's own root may be refused or unknown for a time: that is permanent until a person asks.
        """
        for trouble in self.troubles:
            few = trouble.times is not None and trouble.times <= 2
            root = trouble.how in (403, 404) and (trouble.prefix == "" or trouble.shown)
            if self.heal != "earlier" and (root or (self.heal == "never" and not few)):
                return False
        return True

    def __str__(self) -> str:
        where = "bucket" if self.at_root else "prefix"
        return (
            f"seed {self.seed}: {self.driver} {where}{' older' * self.older}, {self.totals}, {[*self.troubles]}, "
            f"earlier={self.earlier!r}, heal={self.heal}"
        )


def plan(seed: int) -> Plan:
    """Return the plan of a seed: odd ones are on s3, even ones on oss."""
    rng = random.Random(seed)
    keys = _tree(rng)
    directories = {key[: at + 1] for key in keys for at, letter in enumerate(key) if letter == "/"}
    earlier = rng.choice(["", "", "", "recursive", "walk"])
    full = sorted({key[: at + 1] for key in keys for at, letter in enumerate(key) if letter == "/" and key[-1] != "/"})
    troubles = [_trouble(rng, full) for _ in range(rng.choice([0, 1, 1, 2, 2, 3]))]
    heal = rng.choice(["never", "1", "1", "2", *(["earlier", "earlier"] if earlier else [])])
    return Plan(
        seed,
        "s3" if seed % 2 else "oss",
        rng.random() < 0.5,
        keys,
        rng.random() < 0.15,
        tuple(troubles),
        earlier,
        heal,
        frozenset(name.rstrip("/") for name in directories),
    )


def _tree(rng: random.Random) -> dict[str, int]:
    """Return a tree of up to some 200 keys: nested folders, files at any level, marked folders, some of them empty."""
    folders, keys = [""], dict[str, int]()
    deep = rng.choice([0.2, 0.5, 0.9])
    for number in range(rng.choice([1, 3, 5, 12, 25])):
        above = folders[-1] if rng.random() < deep else rng.choice(folders)
        name = rng.choice(_NAMES) if rng.random() < 0.2 else f"d{number}"
        if above.count("/") < 6 and f"{above}{name}/" not in folders:
            folders.append(f"{above}{name}/")
    for folder in folders:
        names = [rng.choice(_NAMES) if rng.random() < 0.1 else f"f{n}" for n in range(rng.choice([0, 1, 3, 8, 25]))]
        keys |= {f"{folder}{name}": rng.randrange(1000) for name in names if f"{folder}{name}/" not in folders}
        if folder and (not names or rng.random() < 0.2):
            keys[folder] = 0
    return keys or {"only": 1}


def _trouble(rng: random.Random, directories: list[str]) -> Trouble:
    prefix = rng.choice(directories) if directories and rng.random() < 0.85 else ""
    how: Fault = rng.choice([403, 403, 404, 500, 503, 503, "reset", "slow"])
    page = rng.choice([None] * 7 + [1, 2, 3])
    times = rng.choice([None] * 6 + [1, 2, 5, 9])
    kinds = _LIST if page else rng.choice([_BOTH] * 5 + [_LIST] * 3 + [_HEAD])
    return Trouble(prefix, how, page, times, kinds, page is None and rng.random() < 0.6)
