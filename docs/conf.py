"""Configuration of Sphinx."""

import os

from sphinx_gallery.sorting import ExplicitOrder

import sklearn_cmac

os.environ.setdefault("TQDM_DISABLE", "1")

project = "sklearn_cmac"
author = "The sklearn_cmac developers"
copyright = "2026, the sklearn_cmac developers"
release = version = sklearn_cmac.__version__

extensions = [
    "myst_parser",
    "numpydoc",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.mathjax",
    "sphinx_gallery.gen_gallery",
]
exclude_patterns = ["_build"]
myst_enable_extensions = ["dollarmath"]
myst_heading_anchors = 3

autosummary_generate = True
autodoc_typehints = "none"
numpydoc_show_class_members = False

html_theme = "pydata_sphinx_theme"
html_title = "sklearn_cmac"
html_show_sourcelink = False
html_sidebars = {"index": [], "measurements": [], "architecture": []}

sphinx_gallery_conf = {
    "examples_dirs": "../examples",
    "gallery_dirs": "auto_examples",
    "subsection_order": ExplicitOrder(
        [f"../examples/{section}" for section in ("search", "regions", "tune", "learn")]
    ),
    "filename_pattern": "plot_",
    "reference_url": {"sklearn_cmac": None},
    "download_all_examples": False,
    "remove_config_comments": True,
    "show_memory": False,
}
