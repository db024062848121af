"""What the README tells people to type works."""

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()


def test_its_python_runs_in_a_fresh_process(tmp_path):
    blocks = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    assert len(blocks) == 2
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", "\n".join(blocks)],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert len(lines) == 3
    assert lines[0].endswith("object-00-scene-0")


def test_its_test_command_is_what_continuous_integration_runs():
    command = re.search(r"<!-- test -->\n```sh\n(.*?)```", README, re.DOTALL).group(1)
    script, run, _ = (ROOT / ".ci/run").read_text().partition('eval "$command"')
    assert run
    printed = subprocess.run(
        ["bash", "-c", script.replace('$(dirname "$0")/..', str(ROOT))],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert printed == command


def test_the_quickstart_shows_the_same_table():
    """That the demo prints it, a test of the command line holds."""
    table = README.partition("<!-- golden -->\n")[2].partition("\n\n")[0]
    assert table.startswith("| mAP in %")
    assert table in (ROOT / "docs/quickstart.md").read_text()


def test_the_extras_and_links_it_names_exist():
    pyproject = (ROOT / "pyproject.toml").read_text()
    extras = re.findall(r'"\.\[([\w,]+)\]"', README)
    assert extras
    for extra in ",".join(extras).split(","):
        assert re.search(rf"^{extra} = \[", pyproject, re.MULTILINE)
    for link in re.findall(r"\]\((?!http)([^)]+)\)", README):
        assert (ROOT / link.partition("#")[0]).exists(), link
