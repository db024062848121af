"""Pages with programs run as they are printed."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

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
