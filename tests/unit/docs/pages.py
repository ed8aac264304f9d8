"""The documents of the repository, parsed for their tests: pages, fenced blocks, quoted code, links, headings."""

import re
from functools import cache
from pathlib import Path
from typing import NamedTuple

from tests.unit.layout.source_tree import ROOT

HIDDEN = {".cache", ".git", ".mypy", ".venv", "build"}

FENCE = re.compile(r"^```(\w*)\n(.*?)^```", re.DOTALL | re.MULTILINE)


class Block(NamedTuple):
    """A fenced block: the language after the fence, and its text."""

    language: str
    text: str


class Page:
    """One document."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.name = path.relative_to(ROOT).as_posix()
        self.text = path.read_text(encoding="utf-8")
        self.blocks = [Block(*found) for found in FENCE.findall(self.text)]
        self.prose = FENCE.sub("", self.text)

    def __repr__(self) -> str:
        return self.name

    @property
    def quoted(self) -> set[str]:
        """The texts between single backticks."""
        return set(re.findall(r"`([^`\n]+)`", self.prose))

    @property
    def links(self) -> list[str]:
        """The targets of its links."""
        return re.findall(r"\]\(([^()\s]+)\)", self.prose)

    @property
    def anchors(self) -> set[str]:
        """What a link may name after `#`: its headings, as GitHub spells them, and its explicit anchors."""
        titles = re.findall(r"^#+ (.+)$", self.prose, re.MULTILINE)
        headings = {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}
        return headings | set(re.findall(r'<a id="([\w-]+)">', self.prose))

    @property
    def commands(self) -> list[str]:
        """The lines that call `taskferry`, in blocks and in the text."""
        found = re.findall(r"(?:^|`)(taskferry [^`\n]+)", self.text, re.MULTILINE)
        return sorted({line.split("#")[0].split("&&")[0].strip() for line in found})

    def python(self) -> list[str]:
        """Its blocks of Python."""
        return [block.text for block in self.blocks if block.language == "python"]

    def files(self) -> dict[str, str]:
        """Its blocks of Python that begin with `# NAME.py`, by that name."""
        return {found[1]: text for text in self.python() if (found := re.match(r"# ([\w/]+\.py)\n", text))}


@cache
def pages() -> list[Page]:
    """Every Markdown file of the repository, sorted."""
    return [
        Page(path)
        for path in sorted(ROOT.rglob("*.md"))
        if not HIDDEN & set(path.relative_to(ROOT).parts) and "node_modules" not in path.parts
    ]


def page(name: str) -> Page:
    """The page with this path."""
    return next(found for found in pages() if found.name == name)
