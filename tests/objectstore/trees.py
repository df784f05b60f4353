"""Trees of many keys, sorted, one key at a time: the shapes of the benchmarks."""

from collections.abc import Iterator


def tree(text: str) -> tuple[str, Iterator[tuple[str, int]]]:
    """Read ``bucket=AxBxF``: A folders of B folders of F files each (``flat=100000``: files alone).

    ``chain=LxF`` is another shape: L folders one in the other, F files in each. In a bucket whose name begins with
    "long", files have names with 200 more characters. Raise ValueError.
    """
    bucket, _, numbers = text.partition("=")
    sizes = [int(number) for number in numbers.split("x")]
    if not bucket or min(sizes) < 1:
        raise ValueError(f"{text!r} is not NAME=AxBxF")
    if bucket.startswith("chain"):
        levels, files = sizes
        return bucket, _chain(levels, files)
    return bucket, _even(sizes, "", "f" * (201 if bucket.startswith("long") else 1))


def _even(sizes: list[int], prefix: str, file: str) -> Iterator[tuple[str, int]]:
    if len(sizes) == 1:
        for number in range(sizes[0]):
            yield f"{prefix}{file}{number:07}", number % 1000
        return
    for number in range(sizes[0]):
        yield from _even(sizes[1:], f"{prefix}d{number:06}/", file)


def _chain(levels: int, files: int, prefix: str = "") -> Iterator[tuple[str, int]]:
    prefixes = [prefix := f"{prefix}d/" for _ in range(levels)]
    for deep in reversed(prefixes):  # "d" comes before "f"
        for number in range(files):
            yield f"{deep}f{number:07}", number % 1000
