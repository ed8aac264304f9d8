"""What every file must have: a first paragraph, a name that says something, one idea that fits in one's head."""

import ast
import tokenize
from pathlib import Path

from tests.unit.layout.source_tree import all_python_files, relative, source_files, syntax_tree

LINE_COUNT_MAX = 600
FUNCTION_LINE_COUNT_MAX = 70
NAMES_THAT_SAY_NOTHING = {"common", "helper", "helpers", "manager", "managers", "misc", "util", "utils"}


SKIPPED = {tokenize.ENCODING, tokenize.COMMENT, tokenize.NL}


def opens_with_a_docstring(path: Path) -> bool:
    """Whether the first statement is a string with something in it. Reads no further: parsing every file takes long."""
    with path.open("rb") as file:
        tokens = (token for token in tokenize.tokenize(file.readline) if token.type not in SKIPPED)
        first, second = next(tokens), next(tokens, None)
    if first.type != tokenize.STRING or second is None or second.type != tokenize.NEWLINE:
        return False
    text = ast.literal_eval(first.string)
    return isinstance(text, str) and bool(text.strip())


def test_every_module_opens_with_a_docstring() -> None:
    silent = [relative(path) for path in all_python_files() if not opens_with_a_docstring(path)]
    assert silent == []


def test_no_file_or_folder_has_a_name_that_says_nothing() -> None:
    vague = [
        relative(path)
        for path in all_python_files()
        for name in relative(path).removesuffix(".py").split("/")
        if NAMES_THAT_SAY_NOTHING & set(name.split("_"))
    ]
    assert vague == []


def test_every_source_file_is_short() -> None:
    counts = {relative(path): len(path.read_text(encoding="utf-8").splitlines()) for path in source_files()}
    assert {name: count for name, count in counts.items() if count > LINE_COUNT_MAX} == {}


def test_every_function_is_short() -> None:
    long = [
        f"{relative(path)}:{node.lineno} {node.name}: {line_count} lines"
        for path in source_files()
        for node in ast.walk(syntax_tree(path))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and (line_count := (node.end_lineno or node.lineno) - node.lineno + 1) > FUNCTION_LINE_COUNT_MAX
    ]
    assert long == []
