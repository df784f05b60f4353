"""The jars of a real Alluxio, downloaded once by Maven and checked against maven/jars.lock (the sha256 of every jar).

``python -m tests.real.jars`` downloads them and prints where they are; with ``lock`` it writes jars.lock anew.
"""

import hashlib
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.real import cache

MAVEN = Path(__file__).parent / "maven"
LOCK = MAVEN / "jars.lock"


class LockMismatch(Exception):
    """A downloaded jar is not the one that jars.lock names."""


def directory() -> Path:
    """Return the directory with the jars of jars.lock, downloaded first if need be (177 MB, less than a minute).

    Raises:
        FileNotFoundError: there is no Maven. subprocess.CalledProcessError: Maven failed. LockMismatch: wrong content.
    """
    key = hashlib.sha256(LOCK.read_bytes()).hexdigest()[:16]
    return cache.obtain(cache.directory() / "alluxio" / key, _download_checked)


def lock() -> None:
    """Write jars.lock from what Maven resolves now: run after a change of pom.xml, review the difference."""
    with tempfile.TemporaryDirectory() as scratch:
        target = Path(scratch) / "jars"
        _download(target)
        LOCK.write_text("".join(f"{digest}  {name}\n" for name, digest in _digests(target).items()))


def _download_checked(target: Path) -> None:
    _download(target)
    locked = {name: digest for digest, name in (line.split() for line in LOCK.read_text().splitlines())}
    found = _digests(target)
    wrong = sorted(name for name in locked.keys() | found.keys() if locked.get(name) != found.get(name))
    if wrong:
        raise LockMismatch(f"not as in {LOCK.name}: {', '.join(wrong)} (after a change of pom.xml: make alluxio-lock)")


def _download(target: Path) -> None:
    cache.say("downloading Alluxio's jars by Maven, once for this machine (177 MB)")
    start = time.monotonic()
    command = [
        "mvn",
        "-q",
        "-B",
        "-ntp",
        "-Dstyle.color=never",
        "-f",
        str(MAVEN / "pom.xml"),
        "dependency:copy-dependencies",
    ]
    subprocess.run([*command, f"-DoutputDirectory={target}"], check=True, stdout=sys.stderr)
    cache.say(f"downloaded Alluxio's jars in {time.monotonic() - start:.0f} s")


def _digests(target: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(target.glob("*.jar"))}


if __name__ == "__main__":
    if sys.argv[1:] == ["lock"]:
        lock()
    else:
        print(directory())
