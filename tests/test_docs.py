"""What the docs print to be typed runs as it is printed, or is marked by why it does not.

A page's blocks of Python, and of a console with what it prints, run in their order, in one session
and in a folder of their own: `<!-- not run: REASON -->` above a block leaves it out. All other
commands are parsed, with the options that they have today.
"""

import doctest
import json
import re
import shlex
import shutil
import subprocess
import sys
from contextlib import nullcontext
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from unittest.mock import patch

import click
import pytest
from PIL import Image

import sklearn_cmac
from sklearn_cmac import LearnedFeatureExtractor, Photo, Query, make_rmac_pipeline
from sklearn_cmac.cli import cmac, main
from sklearn_cmac.cli._options import FILE, INDEX
from sklearn_cmac.collection import ENGINES
from sklearn_cmac.datasets import make_object_scenes
from sklearn_cmac.networks import _registry
from sklearn_cmac.persistence import save_pipeline
from sklearn_cmac.reranking import RERANKING
from sklearn_cmac.search import RetrievalIndex, Retriever, SpatialVerification

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = {
    str(page.relative_to(DOCS)): page.read_text(encoding="utf-8")
    for page in sorted(DOCS.rglob("*.md"))
    if "_build" not in page.parts
}
BLOCK = re.compile(
    r"^(?:<!-- not run: (?P<why>.+) -->\n)?```(?P<language>[\w-]+)\n(?P<text>.*?)^```$",
    re.DOTALL | re.MULTILINE,
)
N_NOT_RUN = 5

# Pages that begin with an empty folder; on all others there are a folder of photos and its index.
FROM_NOTHING = {"indexes.md", "quickstart.md"}
# What a page takes as given besides: "your photos", and what was made of them on another page.
GIVEN = {
    "guide/files.md": "photos pipeline",
    "guide/rerank.md": "photo pipeline query",
    "paper.md": "detector photos photos_to_fit_on queries",
    "pictures.md": "index pipeline query",
    "verification.md": "inliers photo photos pipeline query same",
}
NEEDED = {
    "groups.md": ["kornia"],
    "indexes.md": ["qdrant_edge", "qdrant_client"],
    "pictures.md": ["kornia", "matplotlib"],
    "stores.md": ["qdrant_edge"],
    "verification.md": ["kornia"],
}


def blocks_of(text, *languages):
    return [block for block in BLOCK.finditer(text) if block["language"] in languages]


RUN = [page for page, text in PAGES.items() if blocks_of(text, "python", "console")]


def test_blocks_that_do_not_run_are_few_and_say_why():
    blocks = [block for text in PAGES.values() for block in BLOCK.finditer(text) if block["why"]]
    assert len(blocks) == N_NOT_RUN
    assert sum(text.count("<!-- not run") for text in PAGES.values()) == N_NOT_RUN
    for block in blocks:  # it is Python all the same
        compile(block["text"], block["why"], "exec")


# -- pages that run ---------------------------------------------------------------------------


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with photos, their index and a pipeline, as pages call them. All of it is small."""
    place = tmp_path_factory.mktemp("docs")
    scenes = make_object_scenes(2, 3, 0, size=(640, 720), object_scale=(1.2, 1.6))
    (place / "holiday").mkdir()
    for name, photo in zip(["church", "cup", "door", "lake", "hut", "sea"], scenes.photos):
        Image.fromarray(photo.source).save(place / f"holiday/{name}.jpg", quality=90)
    (place / "church.jpg").write_bytes((place / "holiday/church.jpg").read_bytes())
    pipeline = small_pipeline().fit(scenes.photos)
    save_pipeline(pipeline, place / "other.safetensors")
    features = (
        [LearnedFeatureExtractor(max_size=320, engine="torch")] if find_spec("kornia") else []
    )
    with RetrievalIndex.create(place / "holiday.cmac", pipeline, features=features) as index:
        index.update(place / "holiday")
    return place


def small_pipeline():
    """Cut early, the network takes a fifth of the time; in torch it need not be converted."""
    return make_rmac_pipeline(
        features__engine="torch",
        features__layer="blocks.4",
        features__max_size=160,
        whiten__n_components=16,
        whiten__shrinkage=1,
    )


class Given:
    """What pages take as given, by its name."""

    def __init__(self):
        scenes = make_object_scenes(2, 3, 2, size=(160, 120))
        self.photos, self.photos_to_fit_on = scenes.photos[:6], scenes.photos[6:]
        self.photo = Photo("holiday/cup.jpg")
        self.query = Query(Photo("holiday/church.jpg"), (60, 60, 580, 660))
        self.queries = [self.query]
        self.inliers, self.same = [4, 5, 8, 9, 10, 14, 20, 30], [0, 0, 0, 1, 0, 1, 1, 1]

    @property
    def pipeline(self):
        return small_pipeline().fit(self.photos)

    @property
    def index(self):
        verify = SpatialVerification(LearnedFeatureExtractor(max_size=320, engine="torch"))
        index = RetrievalIndex(Retriever(self.pipeline, [("verify", verify)]).fit(self.photos))
        index.add(["holiday/church.jpg", "holiday/lake.jpg"])
        return index

    @property
    def detector(self):
        from torchvision.models.detection import fasterrcnn_mobilenet_v3_large_320_fpn as build

        return build(weights=None, weights_backbone=None).eval()


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("page", RUN)
def test_all_that_a_page_prints_runs(page, place, tmp_path, monkeypatch, capsys):
    for package in NEEDED.get(page, ()):
        pytest.importorskip(package, reason=f"{page} needs {package}, which is not installed")
    if page not in FROM_NOTHING:
        shutil.copytree(place, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    session = ModuleType("__main__")
    monkeypatch.setitem(sys.modules, "__main__", session)
    for name in GIVEN.get(page, "").split():
        setattr(session, name, getattr(Given(), name))
    # What a page registers is not known to other tests.
    with (
        server_of(page) as server,
        patch.dict(ENGINES),
        patch.dict(RERANKING),
        patch.dict(_registry._makers),
    ):
        walk(page, vars(session), capsys, server)
    if page == "quickstart.md":
        assert "<img" in Path("found.html").read_text()


def server_of(page):
    """The Qdrant server of the page that searches one: whether it runs, and its address."""
    if page != "indexes.md":
        return nullcontext()
    from qdrant_server import qdrant_server

    return qdrant_server()


def walk(page, session, capsys, server):
    """Type all of a page, and compare what is printed with what it shows."""
    blocks = blocks_of(PAGES[page], "python", "console", "text")
    for block, following in zip(blocks, [*blocks[1:], None]):
        if block["language"] == "console":
            for command, expected in typed(block["text"]):
                if server:
                    command = command.replace("qdrant+http://localhost:6333", server[1])
                compare(command, expected, answer(command, capsys))
        elif block["language"] == "python" and not block["why"]:
            run_python(block["text"], page, session)
            printed = capsys.readouterr().out
            # What a block prints stands right behind it, if it stands anywhere.
            if following and following["language"] == "text":
                between = PAGES[page][block.end() : following.start()]
                if not between.strip():
                    compare(block["text"], following["text"], printed)


def run_python(text, page, session):
    if text.startswith(">>>"):
        found = doctest.DocTestParser().get_doctest(text, session, page, page, 0)
        assert doctest.DocTestRunner().run(found).failed == 0
    else:
        exec(compile(text, page, "exec"), session)


def typed(text):
    """What is typed in a console, each with what is printed."""
    for part in re.split(r"^\$ ", text, flags=re.MULTILINE)[1:]:
        command, _, printed = part.partition("\n")
        yield command, printed


def compare(command, expected, printed):
    checker, flags = doctest.OutputChecker(), doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
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


# -- commands that are parsed -----------------------------------------------------------------

COMMANDS = {**PAGES, "README.md": (ROOT / "README.md").read_text(encoding="utf-8")}
OTHERS = [
    "cp", "curl", "cyclonedx-py", "echo", "eval", "ls", "mkdir", "mv", "pip-audit", "psql", "rm",
    "source",
]  # fmt: skip
OF_PIP = ["--index-url", "--only-binary=:all:", "--platform", "--python-version"]
BENCHMARKS = "".join(path.read_text() for path in (ROOT / "benchmarks").rglob("*.py"))


@pytest.mark.parametrize("page", COMMANDS)
def test_the_commands_of_a_page_have_options_that_exist(page, monkeypatch):
    monkeypatch.setattr(FILE, "exists", False)
    monkeypatch.setattr(INDEX, "exists", False)
    monkeypatch.setattr("sklearn_cmac.cli._options.read_table", lambda *_: [])
    for words in commands_of(COMMANDS[page]):
        check_command(words)


@pytest.mark.parametrize("page", [page for page in COMMANDS if page != "migration.md"])
def test_the_options_that_a_page_speaks_of_exist(page):
    """In the midst of a sentence; what is left out stands as three dots."""
    every = {"--version", *(option for name in cmac.commands for option in options_of(name))}
    prose = BLOCK.sub("", COMMANDS[page])
    for code in re.findall(r"`([^`]+)`", prose):
        name = re.match(r"cmac ([a-z]+)\b", code)
        known = options_of(name[1]) if name else every
        for option in re.findall(r"(?<!\S)--[a-z]\S*", code):
            assert option in known or (not name and is_of_others(option)), code


def is_of_others(option):
    """Whether a benchmark takes it, or pip."""
    named = option.replace("--no-", "--")
    return f'"{named}"' in BENCHMARKS or option in OF_PIP


def options_of(name):
    """All options of a command."""
    return {"--help", *(option for param in cmac.commands[name].params for option in param.opts)}


def commands_of(text):
    """The words of each command of the blocks for a shell, fenced or indented."""
    shell = [block["text"] for block in blocks_of(text, "sh", "bash")]
    for block in blocks_of(text, "console"):
        shell += [command for command, _ in typed(block["text"])]
    indented = re.findall(r"(?<=\n\n)(?: {4}.*\n)+", BLOCK.sub("", text))
    begins = r"(cmac|python|pip|pytest|\w+=\S*) "
    shell += [code for code in map(str.strip, indented) if re.match(begins, code)]
    for script in shell:
        variables = {}
        script = re.sub(r"\$\(.*\)", "", script.replace("\\\n", " "))
        for line in script.splitlines():
            for name, value in variables.items():
                line = line.replace(f"${name}", value)
            for command in re.split(r" (?:&&|\|\|?) ", line.strip()):
                words = shlex.split(command.partition(" > ")[0], comments=True)
                while words and (given := re.fullmatch(r"(\w+)=(.*)", words[0])):
                    variables[given[1]] = given[2]
                    words = words[1:]
                if words:
                    yield words


def check_command(words):
    program, *rest = Path(words[0]).name, *words[1:]
    if program == "cmac" and not rest:
        return
    if program == "cmac" and "…" in rest:
        assert {word for word in rest if word.startswith("-")} <= options_of(rest[0]), words
    elif program == "cmac":
        try:
            cmac.commands[rest[0]].make_context(rest[0], rest[1:])
        except click.ClickException as error:
            pytest.fail(f"{shlex.join(words)}: {error.format_message()}")
    elif program in ("python", "python3", "pytest"):
        check_script(program, rest)
    elif program == "pip":
        check_extras(" ".join(rest))
    else:
        assert program in OTHERS, words


def check_script(program, words):
    """It is there, and a benchmark has such options."""
    if words[:1] == ["-m"]:
        place = ROOT / "tests" / words[1].replace(".", "/")
        assert words[1] == "venv" or place.is_dir() or place.with_suffix(".py").is_file(), words
        return
    paths = [word for word in words if word.startswith(("benchmarks", "tests/", "docs/_"))]
    assert program == "pytest" or paths, words
    for path in paths:
        assert (ROOT / path).exists(), words
    if any(path.startswith("benchmarks") for path in paths):
        for option in words:
            assert not option.startswith("--") or is_of_others(option), words


def check_extras(text):
    for extra in ",".join(re.findall(r"(?:\.|sklearn-cmac)\[([\w,]+)\]", text)).split(","):
        assert not extra or re.search(rf"^{extra} = \[", PYPROJECT, re.MULTILINE), text


# -- the rest ---------------------------------------------------------------------------------

PYPROJECT = (ROOT / "pyproject.toml").read_text(encoding="utf-8")


def test_each_answer_to_a_question_has_a_link():
    answers = re.findall(r"^\*\*.+?(?=\n\n|\Z)", PAGES["questions.md"], re.DOTALL | re.MULTILINE)
    assert len(answers) > 30
    assert [answer for answer in answers if "](" not in answer] == []


def test_each_extra_has_a_row_on_the_page_about_installing():
    table = PYPROJECT.partition("[project.optional-dependencies]")[2].partition("\n[")[0]
    extras = set(re.findall(r"^(\w+) = ", table, re.MULTILINE))
    rows = re.findall(r"^\| (`[\w`, ]+`) \|", PAGES["install.md"], re.MULTILINE)
    assert set(re.findall(r"\w+", " ".join(rows))) >= extras


def test_citation_and_switcher_name_the_version():
    citation = (ROOT / "CITATION.cff").read_text()
    assert f"\nversion: {sklearn_cmac.__version__}\n" in citation
    versions = json.loads((DOCS / "_static/switcher.json").read_text())
    assert sklearn_cmac.__version__ in [entry["version"] for entry in versions]
