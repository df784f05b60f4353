"""devcluster is a double, and stays small."""

import ast
import io
import tokenize
from pathlib import Path

import devcluster

LIMIT = 900  # lines of code, all parts together
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


def test_the_whole_room_keeps_to_its_limit() -> None:
    counted = {file.name: code_lines(file.read_text()) for file in Path(devcluster.__file__).parent.glob("*.py")}

    assert sum(counted.values()) <= LIMIT, counted
