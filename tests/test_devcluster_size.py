"""devcluster is a double, and stays small."""

import ast
import io
import tokenize
from pathlib import Path

import devcluster

#: Lines of code by part. What is not named belongs to the embedded Kubernetes: API server, controllers, the whole.
LIMITS = {"kubernetes": 900, "node.py": 230, "master.py": 190, "tree.py": 140}
_NO_CODE = {tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER}
_DOCUMENTED = (ast.Module, ast.ClassDef, ast.FunctionDef)


def code_lines(source: str) -> int:
    """Return how many lines hold code: blank lines, comments and docstrings are not counted."""
    tokens = tokenize.generate_tokens(io.StringIO(source).readline)
    lines = {line for token in tokens if token.type not in _NO_CODE for line in range(token.start[0], token.end[0] + 1)}
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, _DOCUMENTED) and ast.get_docstring(node) is not None:
            lines -= set(range(node.body[0].lineno, (node.body[0].end_lineno or 0) + 1))
    return len(lines)


def test_each_part_keeps_to_its_limit() -> None:
    counted = dict.fromkeys(LIMITS, 0)
    for file in Path(devcluster.__file__).parent.glob("*.py"):
        counted[file.name if file.name in LIMITS else "kubernetes"] += code_lines(file.read_text())

    assert all(counted[part] <= limit for part, limit in LIMITS.items()), counted
