"""What the docs print to be typed runs as it is printed."""

import doctest
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from sklearn_cmac.cli import main

DOCS = Path(__file__).parents[1] / "docs"
EXTENDING = sorted(page for page in DOCS.glob("extend/*.md") if page.stem != "index")
PAGES = [*EXTENDING, DOCS / "machines.md"]


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


def test_the_walk_from_ten_photos_to_a_cluster(tmp_path, monkeypatch, capsys):
    pytest.importorskip("qdrant_edge", reason="the walk needs qdrant-edge-py")
    pytest.importorskip("qdrant_client", reason="the walk needs qdrant-client")
    from qdrant_server import qdrant_server

    monkeypatch.chdir(tmp_path)
    checker = doctest.OutputChecker()
    with qdrant_server() as (_, address):
        for language, block in blocks_of(DOCS / "indexes.md"):
            if language == "python":
                exec(compile(block, "indexes.md", "exec"), {})
                capsys.readouterr()
                continue
            for command, expected in typed(block):
                printed = answer(command.replace("qdrant+http://localhost:6333", address), capsys)
                flags = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
                assert checker.check_output(expected, printed, flags), f"$ {command}\n{printed}"


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
