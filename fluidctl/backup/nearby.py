"""Says which backups there are near a directory that is none: a person has usually written one part of it wrong."""

from collections.abc import Iterator
from itertools import islice

from controllers.api.job_commands import MANIFEST
from fluidctl.backup.volume import Directory, Strange

_LEVELS, _SHOWN, _LOOKED_AT = 2, 5, 1000


def nearby(claim: Directory, path: str) -> str:
    """Return a sentence with up to five backups at or below ``path``, or its nearest parent that is there.

    Of those in one directory the last five by name are the newest of a schedule. Raise OSError.
    """
    parts = path.split("/")
    for depth in range(len(parts), -1, -1):
        place = "/".join(parts[:depth])
        try:
            directory = claim.enter(place)
        except (FileNotFoundError, Strange):
            continue
        with directory:
            found = sorted(islice(_backups(directory, place, _LEVELS), _LOOKED_AT))
        if found:
            return f"{place or 'The claim'} holds: {', '.join(found[-_SHOWN:])}."
    return "The claim holds no backup near it."


def _backups(directory: Directory, place: str, levels: int) -> Iterator[str]:
    for name in islice((name for name in directory.names() if not name.startswith(".")), _LOOKED_AT):
        try:
            below = directory.enter(name)
        except (OSError, Strange):  # one that may not be read, or no directory
            continue
        with below:
            path = f"{place}/{name}" if place else name
            if below.has(MANIFEST):
                yield path
            elif levels > 1:
                yield from _backups(below, path, levels - 1)
