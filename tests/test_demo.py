"""The demo: what it makes, and the whole flow as a person starts it."""

import os
from pathlib import Path

from fluidctl.demo import make_tree


def test_the_tree_has_exactly_so_many_files_and_no_directory_is_large(tmp_path: Path) -> None:
    """Sizes differ and take no space, so that bytes are worth counting and nothing is slow."""
    root = make_tree(tmp_path / "data", 1234)

    files = [path for path in root.rglob("*") if path.is_file()]
    assert len(files) == 1234
    assert max(len(names) for _, _, names in os.walk(root)) == 100
    assert len({path.stat().st_size for path in files}) == 1234
    assert sum(path.stat().st_blocks for path in files) == 0


def test_a_tree_of_no_files_is_an_empty_directory(tmp_path: Path) -> None:
    """An empty dataset is a valid one."""
    assert list(make_tree(tmp_path / "data", 0).iterdir()) == []
