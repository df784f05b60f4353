"""The keys of one bucket and their pages, by the rules that S3 and OSS share. Pure."""

from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Self


@dataclass
class Page:
    """One page: keys with sizes, common prefixes, both in the order of bytes. ``last`` is "" on the last page."""

    keys: list[tuple[bytes, int]] = field(default_factory=list)
    prefixes: list[bytes] = field(default_factory=list)
    last: bytes = b""  # the greatest key or prefix of a page that others follow

    def __len__(self) -> int:
        return len(self.keys) + len(self.prefixes)


class Keys:
    """Sorted keys and sizes, about 70 bytes each. Never changed: a change makes another one."""

    def __init__(self, pairs: Iterable[tuple[bytes, int]] = ()) -> None:
        """``pairs`` come sorted by key, each key once."""
        self._names: list[bytes] = []
        self._sizes = array("q")
        for name, size in pairs:
            self._names.append(name)
            self._sizes.append(size)

    def __len__(self) -> int:
        return len(self._names)

    def plus(self, pairs: Iterable[tuple[bytes, int]]) -> Self:
        """Return these keys with others added or replaced; sorted ``pairs`` for an empty bucket are read one by one."""
        if not self._names:
            made = type(self)(pairs)
            if all(a < b for a, b in zip(made._names, made._names[1:], strict=False)):
                return made
            return type(self)(sorted(dict(zip(made._names, made._sizes, strict=True)).items()))
        return type(self)(sorted((dict(zip(self._names, self._sizes, strict=True)) | dict(pairs)).items()))

    def minus(self, names: Iterable[bytes]) -> Self:
        """Return these keys without some of them."""
        gone = set(names)
        pairs = zip(self._names, self._sizes, strict=True)
        return type(self)((name, size) for name, size in pairs if name not in gone)

    def size(self, name: bytes) -> int | None:
        """Return the size of a key, or None."""
        at = bisect_left(self._names, name)
        return self._sizes[at] if at < len(self._names) and self._names[at] == name else None

    def page(self, prefix: bytes, delimiter: bytes, after: bytes, limit: int) -> Page:
        """Return the page that follows ``after``, which is a key or a common prefix of the page before."""
        page = Page()
        last = b""
        at = bisect_left(self._names, prefix)
        if after >= prefix:
            at = max(at, self._behind(_group(after, prefix, delimiter), after))
        while at < len(self._names) and (name := self._names[at]).startswith(prefix):
            if len(page) == limit:
                page.last = last
                break
            if group := _group(name, prefix, delimiter):
                page.prefixes.append(group)
            else:
                page.keys.append((name, self._sizes[at]))
            last = group or name
            at = self._behind(group, name)
        return page

    def _behind(self, group: bytes, name: bytes) -> int:
        """Return where to go on after a key, or after all keys of its group."""
        if not group:
            return bisect_right(self._names, name)
        return bisect_left(self._names, group[:-1] + bytes([group[-1] + 1]))


def _group(name: bytes, prefix: bytes, delimiter: bytes) -> bytes:
    """Return the common prefix under which a key is shown, or nothing."""
    at = name.find(delimiter, len(prefix)) if delimiter else -1
    return b"" if at < 0 else name[: at + len(delimiter)]
