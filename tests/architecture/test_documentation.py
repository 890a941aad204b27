"""Each setting and each problem is documented, as it is in the code, and links lead somewhere."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from core.problems import Problem
from settings import Settings
from tests.databases import ROOT


def _rows(name: str) -> list[list[str]]:
    """Give the rows of a page's tables whose first cell is code, as lists of cells."""
    text = (ROOT / "docs" / name).read_text()
    lines = [line for line in text.splitlines() if re.match(r"\| *`", line)]
    return [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines]


def _written(default: object) -> str:
    """Write a default as docs/settings.md does."""
    if default is None or default == "" or default == ():
        return "empty"
    return f"`{', '.join(map(str, default)) if isinstance(default, tuple) else default}`"


def _problems(base: type[Problem] = Problem) -> Iterator[type[Problem]]:
    for problem in base.__subclasses__():
        if not problem.__module__.startswith("tests."):
            yield problem
            yield from _problems(problem)


def test_each_setting_is_documented() -> None:
    """docs/settings.md names each setting once, with its default and what it means."""
    documented = {cells[0].strip("`"): cells[1:] for cells in _rows("settings.md")}
    expected = {
        f"KITH_{name.upper()}": _written(field.default)
        for name, field in Settings.model_fields.items()
    }
    assert {name: cells[0] for name, cells in documented.items()} == expected
    assert len(_rows("settings.md")) == len(expected)
    assert all(cells[1] for cells in documented.values())


def test_each_renamed_setting_is_in_the_upgrade_notes() -> None:
    """docs/upgrading.md says what replaces each setting that the start refuses."""
    rows = {cells[0]: cells[1] for cells in _rows("upgrading.md")}
    for section in Settings.__mro__:
        for name, instead in vars(section).get("RETIRED", {}).items():
            (row,) = [row for cell, row in rows.items() if f"`{name}`" in cell]
            assert set(re.findall(r"KITH_[A-Z_]+", instead)) <= set(
                re.findall(r"KITH_[A-Z_]+", row)
            )


def test_each_setting_explains_itself() -> None:
    """The description in the code, which help and the page are written from, is there."""
    assert all(field.description for field in Settings.model_fields.values())


def test_each_problem_is_documented() -> None:
    """docs/problems.md names each problem code once, with its status, when it comes and what to do."""
    rows = _rows("problems.md")
    documented = {cells[0].strip("`"): cells[1:] for cells in rows}
    expected = {problem.code: str(problem.status) for problem in _problems()}
    assert {code: cells[0] for code, cells in documented.items()} == expected
    assert len(rows) == len(expected)
    assert all(all(cells) and len(cells) == 3 for cells in documented.values())


def test_problem_codes_are_unique() -> None:
    """No two problems share a code, which is what clients tell them apart by."""
    codes = [problem.code for problem in _problems()]
    assert len(codes) == len(set(codes))
    assert all(re.fullmatch(r"[a-z]+(-[a-z0-9]+)*", code) for code in codes)


PAGES = sorted(
    path
    for path in [
        *ROOT.glob("*.md"),
        *(ROOT / "docs").rglob("*.md"),
        *(ROOT / ".github").rglob("*.md"),
    ]
)


def _prose(page: Path) -> str:
    """Return a page without its blocks of code."""
    return re.sub(r"^```.*?^```", "", page.read_text(), flags=re.DOTALL | re.MULTILINE)


def _anchors(page: Path) -> set[str]:
    """Return the anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", _prose(page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    """Each relative link names a file that is there, and a heading of it."""
    for link in re.findall(r"\]\(([^)\s]+)\)", _prose(page)):
        if re.match(r"[a-z]+:", link):
            continue
        name, _, anchor = link.partition("#")
        target = (page.parent / name).resolve() if name else page
        assert target.exists(), link
        assert not anchor or anchor in _anchors(target), link


def test_the_index_names_every_page() -> None:
    """docs/README.md leads to each page, vector and dashboard."""
    linked = set(re.findall(r"\]\(([^)#\s]+)", (ROOT / "docs" / "README.md").read_text()))
    pages = {path.name for path in (ROOT / "docs").iterdir()} - {"README.md"}
    assert pages - linked == set()
