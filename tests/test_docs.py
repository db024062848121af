"""What the docs print to be typed runs as it is printed."""

import doctest
import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

import sklearn_cmac
from sklearn_cmac.cli import main

DOCS = Path(__file__).parents[1] / "docs"
EXTENDING = sorted(page for page in DOCS.glob("extend/*.md") if page.stem != "index")
PAGES = [*EXTENDING, DOCS / "machines.md"]
GUIDE = ["find", "older", "small", "sklearn", "tune", "whiten"]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_the_python_of_a_page_runs_as_one_script(page, tmp_path):
    blocks = re.findall(r"^```python\n(.*?)^```", page.read_text(), re.DOTALL | re.MULTILINE)
    assert blocks
    script = tmp_path / f"{page.stem}.py"
    script.write_text("\n".join(blocks))
    # A process of its own: what a page registers is not known to other tests.
    done = subprocess.run(
        [sys.executable, "-W", "ignore", script],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", GUIDE)
def test_the_python_of_the_guide_runs_page_by_page(name, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    page = DOCS / "guide" / f"{name}.md"
    blocks = re.findall(r"^```(python|text)\n(.*?)^```", page.read_text(), re.DOTALL | re.MULTILINE)
    script = "\n".join(block for language, block in blocks if language == "python")
    exec(compile(script, page.name, "exec"), {})
    printed = capsys.readouterr().out
    if name == "whiten":
        assert [block for language, block in blocks if language == "text"] == [printed]


def blocks_of(page):
    """Language and text of each block, in their order."""
    return re.findall(
        r"^```(python|console)\n(.*?)^```", page.read_text(), re.DOTALL | re.MULTILINE
    )


def typed(block):
    """What is typed in a console, each with what is printed."""
    for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
        command, _, printed = part.partition("\n")
        yield command, printed


def walk(page, capsys, **replaced):
    """Type all of a page, and compare what is printed with what it shows."""
    checker, flags = doctest.OutputChecker(), doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
    for language, block in blocks_of(DOCS / page):
        if language == "python":
            exec(compile(block, page, "exec"), {})
            capsys.readouterr()
            continue
        for command, expected in typed(block):
            for here, there in replaced.items():
                command = command.replace(here, there)
            printed = answer(command, capsys)
            assert checker.check_output(expected, printed, flags), f"$ {command}\n{printed}"


def test_the_walk_from_ten_photos_to_a_cluster(tmp_path, monkeypatch, capsys):
    pytest.importorskip("qdrant_edge", reason="the walk needs qdrant-edge-py")
    pytest.importorskip("qdrant_client", reason="the walk needs qdrant-client")
    from qdrant_server import qdrant_server

    monkeypatch.chdir(tmp_path)
    with qdrant_server() as (_, address):
        walk("indexes.md", capsys, **{"qdrant+http://localhost:6333": address})


def test_the_quickstart_finds_what_it_says(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    walk("quickstart.md", capsys)
    assert "<img" in (tmp_path / "found.html").read_text()


def test_each_extra_has_a_row_on_the_page_about_installing():
    pyproject = (DOCS.parent / "pyproject.toml").read_text()
    table = pyproject.partition("[project.optional-dependencies]")[2].partition("\n[")[0]
    extras = set(re.findall(r"^(\w+) = ", table, re.MULTILINE))
    rows = re.findall(r"^\| (`[\w`, ]+`) \|", (DOCS / "install.md").read_text(), re.MULTILINE)
    assert set(re.findall(r"\w+", " ".join(rows))) >= extras


def test_citation_and_switcher_name_the_version():
    citation = (DOCS.parent / "CITATION.cff").read_text()
    assert f"\nversion: {sklearn_cmac.__version__}\n" in citation
    versions = json.loads((DOCS / "_static/switcher.json").read_text())
    assert sklearn_cmac.__version__ in [entry["version"] for entry in versions]


def answer(command, capsys):
    """What a command prints. `cmac` runs in this process, where its imports are done."""
    words, *otherwise = command.split(" || ")
    if words.startswith("cmac "):
        status = main(shlex.split(words)[1:])
        out, err = capsys.readouterr()
        assert (status != 0) == bool(otherwise), err
        if not status:
            return out
        (command,) = otherwise
    return subprocess.run(command, shell=True, check=True, capture_output=True, text=True).stdout
