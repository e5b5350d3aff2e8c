"""What README, docs and CONTRIBUTING say is there: links, commands, suites, kinds, rooms."""

import re
import runpy
from pathlib import Path

import pytest

import pcbench
from pcbench.cli import app
from pcbench.registry import BACKENDS, CASES, FAULTS
from pcbench.suite import load_suites, shipped_suites
from tests.helpers.plugged_in import plugged_in

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
README = ROOT / "README.md"
PAGES = [README, ROOT / "CONTRIBUTING.md", *sorted(DOCS.glob("*.md"))]


def read(path):
    return path.read_text(encoding="utf-8")


def anchors(page):
    """The anchors of a page's headings, as GitHub makes them."""
    titles = re.findall(r"^#+ (.+)$", read(page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


def links(page):
    """The files and anchors that a page refers to, in this repository."""
    targets = re.findall(r"\]\(([^)\s]+)\)", read(page))
    return [target for target in targets if not target.startswith("https://")]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_leads_somewhere(page):
    for target in links(page):
        name, _, anchor = target.partition("#")
        file = page.parent / name if name else page
        assert file.exists(), target
        assert not anchor or anchor in anchors(file), target


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_file_that_a_page_names_is_there(page):
    for name in re.findall(r"`((?:[\w.]+/)+\w+\.(?:py|md|yaml))`", read(page)):
        assert (ROOT / name).exists() or (ROOT / "pcbench" / name).exists(), name


def test_the_readme_leads_to_every_page():
    assert {page.resolve() for page in PAGES} - {README} <= {
        (ROOT / target.partition("#")[0]).resolve() for target in links(README)
    }


def test_the_readme_takes_a_minute_to_read():
    assert len(read(README).splitlines()) <= 120


def test_the_readme_shows_a_picture_that_fetches_nothing():
    [picture] = re.findall(r"^!\[[^\]]+\]\(([^)]+)\)$", read(README), re.MULTILINE)
    svg = read(ROOT / picture)
    fetched = set(re.findall(r"https?://[^\s\"']+", svg)) - {"http://www.w3.org/2000/svg"}
    assert not {url for url in fetched if "textualize.io" not in url}  # who drew it
    assert "url(http" not in svg


@pytest.mark.slow
def test_the_picture_is_what_its_script_draws():
    with plugged_in({}):
        drawn = runpy.run_path(str(DOCS / "make_picture.py"))["draw"]()
    assert drawn == read(DOCS / "theory.svg")


def test_ci_finds_both_commands_of_the_readme():
    assert "README.md" in read(ROOT / ".ci" / "run")
    for command in ("pcbench run", "pytest"):
        assert re.search(rf"^pip install .*{command}", read(README), re.MULTILINE)


def test_every_suite_and_every_kind_is_explained():
    page = read(DOCS / "suites.md")
    for name in shipped_suites():
        assert re.search(rf"^\| \[[^\]]*`{name}`", page, re.MULTILINE), name
    for kind in set(CASES.names()) - {"conformance"}:  # which is a suite, and has a page
        assert f"* **`{kind}`**" in page, kind


def test_every_backend_is_in_the_table():
    table = "\n".join(re.findall(r"^\| `.*$", read(DOCS / "backends.md"), re.MULTILINE))
    for name in BACKENDS.names():
        assert f"`{name}`" in table


def test_every_command_is_explained():
    commands = {command.name or command.callback.__name__ for command in app.registered_commands}
    commands |= {group.name for group in app.registered_groups}
    [listing] = re.findall(r"^```text\n(pcbench run .*?)^```$", read(DOCS / "use.md"), re.M | re.S)
    assert set(re.findall(r"^pcbench (\w+)", listing, re.MULTILINE)) == commands


def test_the_suite_of_the_page_is_valid(tmp_path):
    [text] = re.findall(r"^```yaml\n(.*?)^```$", read(DOCS / "use.md"), re.MULTILINE | re.DOTALL)
    (tmp_path / "mine.yaml").write_text(text, encoding="utf-8")
    for size, cases in (("quick", 4), ("full", 6)):
        [suite] = load_suites([tmp_path / "mine.yaml"], size=size)
        assert len(suite.cases) == cases


@pytest.mark.parametrize(("block", "name"), [(0, "FAULTS"), (1, "EpsilonInTheLoss")])
def test_the_fault_of_the_page_is_caught(block, name):
    blocks = re.findall(r"^```python\n(.*?)^```$", read(DOCS / "audit.md"), re.M | re.S)
    assert len(blocks) == 2
    names = {}
    exec(blocks[block], names)
    with plugged_in({"mine": names[name]}, FAULTS):
        audit = pcbench.audit_suites(
            "theory",
            select="toy_gaussian and equilibrated-energy and hidden_layers=2",
            settings={"network.width": 20, "training.steps": 1},
            faults="EpsilonInTheLoss",
        )
    assert [fault.outcome for fault in audit.faults] == ["caught"]


def test_every_room_is_on_the_map():
    page = read(ROOT / "CONTRIBUTING.md")
    named = "\n".join(re.findall(r"^\| (`[\w/.]+`(?:, `[\w/.]+`)*) \|", page, re.MULTILINE))
    named = set(re.findall(r"`([\w/.]+)`", named))
    package = ROOT / "pcbench"
    rooms = {f"{path.parent.name}/" for path in package.glob("*/__init__.py")}
    files = {path.name for path in package.glob("*.py") if not path.name.startswith("_")}
    assert {name for name in named if (package / name).exists()} == rooms | files
