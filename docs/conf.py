"""Configuration of Sphinx. The build needs no network, and neither do the pages."""

import os
import sys
from pathlib import Path

from sphinx_gallery.sorting import ExplicitOrder

import sklearn_cmac

sys.path.insert(0, str(Path(__file__).parent / "_ext"))
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
    "sphinx_copybutton",
    "sphinx_design",
    "sphinx_gallery.gen_gallery",
    "sphinxext.opengraph",
    "llms",
    "mathml",
    "members",
]
exclude_patterns = ["_build", "_pictures"]
templates_path = ["_templates"]
# In docstrings, `name` links to what is called so, where there is such a thing.
default_role = "py:obj"

myst_enable_extensions = ["colon_fence", "dollarmath"]
myst_heading_anchors = 3

autosummary_generate = True
autodoc_member_order = "bysource"
autodoc_typehints = "none"
numpydoc_show_class_members = False
toc_object_entries_show_parents = "hide"

# Other projects' names are links where DOCS_ONLINE is set, since their inventories are fetched.
if os.environ.get("DOCS_ONLINE"):
    extensions.append("sphinx.ext.intersphinx")
    intersphinx_mapping = {
        "python": ("https://docs.python.org/3", None),
        "numpy": ("https://numpy.org/doc/stable", None),
        "scipy": ("https://docs.scipy.org/doc/scipy", None),
        "sklearn": ("https://scikit-learn.org/stable", None),
        "PIL": ("https://pillow.readthedocs.io/en/stable", None),
        "torch": ("https://docs.pytorch.org/docs/stable", None),
    }

# Where the pages are published, if they are: links of previews and of llms.txt are absolute then.
html_baseurl = ogp_site_url = os.environ.get("DOCS_URL", "")
ogp_image = "_images/start-page.png"
ogp_social_cards = {"enable": False}

copybutton_prompt_text = r">>> |\.\.\. |\$ "
copybutton_prompt_is_regexp = True

html_theme = "pydata_sphinx_theme"
html_title = "sklearn_cmac"
html_show_sourcelink = False
html_static_path = ["_static"]
html_css_files = ["pages.css"]
# A page that is opened as a file may fetch nothing, so not the versions either.
html_js_files = [
    (
        None,
        {
            "body": "addEventListener('DOMContentLoaded', () => location.protocol == 'file:' && "
            "document.querySelectorAll('.version-switcher__button')"
            f".forEach(button => button.textContent = '{version}'));"
        },
    )
]
html_sidebars = {"index": []}
html_theme_options = {
    "switcher": {"json_url": "_static/switcher.json", "version_match": version},
    "navbar_end": ["version-switcher", "theme-switcher"],
    "navigation_with_keys": False,
    "show_toc_level": 2,
    "header_links_before_dropdown": 7,
    "footer_end": [],
}

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
    "write_computation_times": False,  # their pages fetch scripts
}
