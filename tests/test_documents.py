"""README, CLAIMS, CREDITS and the other texts: every name in them exists, every credit is given."""

import ast
import re
import subprocess
from functools import cache
from pathlib import Path

import nbformat
import pytest
import yaml

from dnl_course import __version__, paths
from dnl_course.data.photographs import CREDITS

ROOT = paths.root()
TEXTS = sorted(p.name for p in ROOT.glob("*.md"))


@cache
def cells(prefix: str) -> frozenset[str]:
    (path,) = (ROOT / "notebooks").glob(f"{prefix}_*.ipynb")
    return frozenset(cell.id for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code")


@cache
def functions_in(name: str) -> frozenset[str]:
    tree = ast.parse((ROOT / name).read_text(encoding="utf-8"))
    return frozenset(node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef))


def claims() -> list[list[str]]:
    rows = (ROOT / "CLAIMS.md").read_text(encoding="utf-8").splitlines()
    return [[c.strip() for c in row.strip("|").split("|")] for row in rows if re.match(r"\| \*\*[A-M]\d+\*\* ", row)]


def missing(evidence: str) -> list[str]:
    """Return what a row of the ledger names (`01-cell`, `tests/x.py::test_y`) that does not exist."""
    lost = []
    for name in re.findall(r"`([^`]+)`", evidence):
        if "::" in name:
            file, test = name.split("::")
            found = (ROOT / file).is_file() and test in functions_in(file)
        else:
            found = bool(re.match(r"\d\d-", name)) and name in cells(name[:2])
        lost += [] if found else [name]
    return lost


def test_every_claim_has_a_verdict_and_evidence_that_exists():
    assert len(claims()) >= 6
    for claim, statement, verdict, found, evidence in claims():
        assert verdict in ("holds", "holds with a correction", "false as stated", "not checkable here"), claim
        assert statement and found, claim
        assert not missing(evidence), claim
        assert "`" in evidence or verdict == "not checkable here", f"{claim} names no cell or test"


def test_a_claim_that_names_nothing_real_is_found():
    assert missing("`01-no-such-cell`, `tests/test_documents.py::test_no_such`, `tests/no_file.py::test_x`, `other`") == [
        "01-no-such-cell", "tests/test_documents.py::test_no_such", "tests/no_file.py::test_x", "other"
    ]  # fmt: skip
    assert missing("`tests/test_documents.py::test_every_claim_has_a_verdict_and_evidence_that_exists`") == []


def test_every_photograph_is_credited():
    text = (ROOT / "CREDITS.md").read_text(encoding="utf-8")
    for name, credit in CREDITS.items():
        assert f"| {name} | {credit.title} | {credit.author} | {credit.licence} | {credit.source} |" in text


@pytest.mark.parametrize("name", TEXTS)
def test_links_inside_the_repository_lead_somewhere(name):
    text = (ROOT / name).read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^)#]+)[^)]*\)", text) + re.findall(r'src="([^"]+)"', text):
        assert target.startswith("https://") or (ROOT / target).exists(), target


def test_the_readme_maps_every_lesson_that_exists_and_marks_the_others():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    rows = {m[1]: m[0] for m in re.finditer(r"^\| (\d\d) \|.*$", text, re.MULTILINE)}
    there = {p.name[:2] for p in (ROOT / "notebooks").glob("[0-9]*.ipynb")}
    assert set(rows) == {f"{n:02}" for n in range(13)}
    for number, row in rows.items():
        assert ("planned" in row) == (number not in there), row
        assert ("notebooks/" in row) == (number in there), row


def test_the_makefile_has_what_the_readme_names():
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    for name in TEXTS:
        named = set(re.findall(r"`(?:[A-Z_]+=\S+ )?make ([a-z-]+)", (ROOT / name).read_text(encoding="utf-8")))
        assert named <= targets, (name, named - targets)


def test_citation_is_readable_and_current():
    data = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert data["version"] == __version__ and all(r["doi"].startswith("10.") for r in data["references"])


def test_no_file_shows_a_path_of_a_machine():
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False).stdout.split("\n")
    home = re.compile(r"/(?:home|root|Users)/[\w.-]+/")
    for name in filter(None, listed):
        path = Path(ROOT / name)
        if path.suffix in (".py", ".md", ".ipynb", ".txt", ".yml", ".toml", ".json") and path != Path(__file__) and path.is_file():
            found = home.search(path.read_text(encoding="utf-8"))
            assert not found, f"{name}: {found}"
