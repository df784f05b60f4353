"""The jars of real Alluxio versions, downloaded once by Maven and checked against maven/jars-<version>.lock (sha256).

``python -m tests.real.jars`` downloads those of 2.9.6 and prints where they are; with ``lock`` it writes every lock
file anew.
"""

import hashlib
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.real import cache

MAVEN = Path(__file__).parent / "maven"
NEWEST = "2.9.6"
OLDER = ("2.9.3", "2.9.0")  # no asynchronous sync; see maven/pom.xml for what Maven Central lacks of them


class LockMismatch(Exception):
    """A downloaded jar is not the one that the lock file names."""


def directory(version: str = NEWEST) -> Path:
    """Return the directory with the jars of a version, downloaded first if need be (180 MB, less than a minute).

    Raises:
        FileNotFoundError: there is no Maven. subprocess.CalledProcessError: Maven failed. LockMismatch: wrong content.
    """
    key = hashlib.sha256(_lock(version).read_bytes()).hexdigest()[:16]
    return cache.obtain(cache.directory() / "alluxio" / key, lambda target: _download_checked(version, target))


def lock() -> None:
    """Write the lock files from what Maven resolves now: run after a change of pom.xml, review the difference."""
    for version in (NEWEST, *OLDER):
        with tempfile.TemporaryDirectory() as scratch:
            target = Path(scratch) / "jars"
            _download(version, target)
            _lock(version).write_text("".join(f"{digest}  {name}\n" for name, digest in _digests(target).items()))


def _lock(version: str) -> Path:
    return MAVEN / f"jars-{version}.lock"


def _download_checked(version: str, target: Path) -> None:
    _download(version, target)
    lines = _lock(version).read_text().splitlines()
    locked = {name: digest for digest, name in (line.split() for line in lines)}
    found = _digests(target)
    wrong = sorted(name for name in locked.keys() | found.keys() if locked.get(name) != found.get(name))
    if wrong:
        raise LockMismatch(
            f"not as in {_lock(version).name}: {', '.join(wrong)} (after a change of pom.xml: make alluxio-lock)"
        )


def _download(version: str, target: Path) -> None:
    cache.say(f"downloading the jars of Alluxio {version} by Maven, once for this machine (up to 180 MB)")
    start = time.monotonic()
    command = ["mvn", "-q", "-B", "-ntp", "-Dstyle.color=never", f"-P{version}", "-f", str(MAVEN / "pom.xml")]
    command += ["dependency:copy-dependencies", f"-DoutputDirectory={target}"]
    subprocess.run(command, check=True, stdout=sys.stderr)
    cache.say(f"downloaded the jars of Alluxio {version} in {time.monotonic() - start:.0f} s")


def _digests(target: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(target.glob("*.jar"))}


if __name__ == "__main__":
    if sys.argv[1:] == ["lock"]:
        lock()
    else:
        print(directory())
