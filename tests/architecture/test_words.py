"""The words of the code: one name for one thing, in the terms of the field (docs/glossary.md)."""

import ast
import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SERVER = ("core", "sms", "tokens", "verification", "discovery", "messaging", "interop")
PRODUCT = sorted(
    [path for package in (*SERVER, "kith") for path in (ROOT / package).rglob("*.py")]
    + [ROOT / name for name in ("app.py", "settings.py", "wsgi.py", "gunicorn.conf.py")]
)
PAGES = sorted([*(ROOT / "docs").rglob("*.md"), *ROOT.glob("*.md")])
GLOSSARY = ROOT / "docs" / "glossary.md"
#: Pages that must name what things were called before.
HISTORY = {ROOT / "CHANGELOG.md", ROOT / "docs" / "upgrading.md", GLOSSARY}
MAX_CHARACTERS = 400


def entries() -> Iterator[tuple[str, list[str]]]:
    """Read the glossary: each term, and the names that it replaced."""
    for line in GLOSSARY.read_text().splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if line.startswith("| ") and len(cells) == 3 and cells[0] != "Term":
            yield cells[0], re.findall(r"`([^`]+)`", cells[2])


def docstrings(path: Path) -> Iterator[tuple[int, str]]:
    """Give the docstrings of a file with their lines."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            text = ast.get_docstring(node)
            if text:
                yield getattr(node, "lineno", 1), text


def named(path: Path) -> str:
    """Name a file as a reader sees it."""
    return str(path.relative_to(ROOT))


def test_each_term_is_used() -> None:
    """A glossary that explains words nobody uses is a second dialect."""
    text = "\n".join(
        path.read_text().lower() for path in [*PRODUCT, *PAGES] if path != GLOSSARY
    ).replace("_", " ")
    # `BudgetOwner` is a use of "budget owner".
    joined = re.sub(r"[\s`*-]+", "", text)
    unused = [term for term, _ in entries() if re.sub(r"[\s-]+", "", term.lower()) not in joined]
    assert not unused


def test_names_that_were_replaced_are_gone() -> None:
    """Neither code nor pages use a name that the glossary lists as replaced."""
    old = {name for _, names in entries() for name in names}
    assert len(old) > 40
    pattern = re.compile(r"(?<![\w.-])(" + "|".join(map(re.escape, sorted(old))) + r")(?![\w-])")
    found = [
        f"{named(path)}:{number}: {match[0]}"
        for path in [*PRODUCT, *PAGES]
        if path not in HISTORY and "adr" not in path.parts
        for number, line in enumerate(path.read_text().splitlines(), 1)
        for match in pattern.finditer(line)
        # A setting that was renamed is refused by its old name.
        if "is called" not in line
    ]
    assert not found


def test_a_class_name_stands_once_on_the_server() -> None:
    """Whoever searches for a class finds one."""
    places = defaultdict(list)
    for path in PRODUCT:
        if path.relative_to(ROOT).parts[0] in SERVER:
            for node in ast.parse(path.read_text()).body:
                if isinstance(node, ast.ClassDef):
                    places[node.name].append(named(path))
    assert not {name: files for name, files in places.items() if len(files) > 1}


@pytest.mark.parametrize(
    "pattern",
    [
        r"(?m)^\s*(Owns|Own|Refuses) ",
        r"(?m)\bRefuses (to|nothing|what)\b",
    ],
    ids=["owns", "refuses"],
)
def test_docstrings_follow_no_formula(pattern: str) -> None:
    """A docstring says what something is, in a sentence of its own."""
    found = [
        f"{named(path)}:{line}"
        for path in PRODUCT
        for line, text in docstrings(path)
        if re.search(pattern, text)
    ]
    assert not found


def test_constants_say_what_they_limit() -> None:
    """MAX_… and RETENTION, not MOST_…, LONGEST_… and KEPT; SELECT_…, not a gerund."""
    nouns = "MISSING|NOTHING|PADDING|PING|RINGING|STOPPING|STRING|WARNING"
    old = re.compile(
        r"^_?((MOST|LONGEST|LARGEST|HIGHEST|FEWEST)(_|$)|([A-Z]+_)*(KEPT|GRAIN)$"
        rf"|(?!({nouns})(_|$))[A-Z]+ING(_|$))"
    )
    found = [
        f"{named(path)}:{node.lineno}: {target.id}"
        for path in PRODUCT
        for node in ast.parse(path.read_text()).body
        if isinstance(node, ast.Assign | ast.AnnAssign)
        for target in (node.targets if isinstance(node, ast.Assign) else [node.target])
        if isinstance(target, ast.Name) and old.match(target.id)
    ]
    assert not found


def test_pages_have_no_long_lines() -> None:
    """A line or a cell of a table of over 400 characters is read by nobody."""
    found = [
        f"{named(path)}:{number}"
        for path in PAGES
        for number, line in enumerate(path.read_text().splitlines(), 1)
        for cell in (line.split("|") if line.startswith("|") else [line])
        if len(cell) > MAX_CHARACTERS
    ]
    assert not found
