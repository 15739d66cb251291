"""How Sphinx builds these pages: from the files here, and from the code wherever the code can say it."""

import sys
from importlib.metadata import version as installed
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

project = "toolkit"
author = "the toolkit's contributors"
release = version = installed("toolkit")

extensions = [
    "generated",  # generated.py beside this file
    "myst_parser",
    "numpydoc",
    "sphinx.ext.autodoc",
    "sphinx_click",
]
exclude_patterns = ["_build"]

html_theme = "furo"
html_title = f"toolkit {release}"
html_show_sphinx = False
html_show_copyright = False

myst_heading_anchors = 3
autodoc_typehints = "none"  # the Parameters section has the types
autodoc_member_order = "bysource"
numpydoc_show_class_members = False
