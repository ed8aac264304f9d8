"""Every relative link of every document has a file as its target, and a heading if it names one."""

from tests.each_case import each_case
from tests.unit.docs.pages import Page, page, pages
from tests.unit.layout.source_tree import ROOT

LINKS = [(source, link) for source in pages() for link in sorted(set(source.links)) if "://" not in link]


@each_case(("source", "link"), LINKS)
def test_a_link_has_a_target(source: Page, link: str) -> None:
    target, _, anchor = link.partition("#")
    path = (source.path.parent / target).resolve() if target else source.path
    assert path.exists()
    if anchor:
        assert anchor in page(path.relative_to(ROOT).as_posix()).anchors


def test_there_are_links_to_check() -> None:
    assert len(LINKS) > 100


def test_each_page_of_docs_is_linked_from_its_index() -> None:
    for folder in ("docs", "docs/decisions"):
        index = page(f"{folder}/README.md")
        linked = {(index.path.parent / link.partition("#")[0]).resolve() for link in index.links}
        assert {path for path in index.path.parent.glob("*.md") if path != index.path} <= linked
