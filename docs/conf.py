"""Sphinx: Markdown pages, one plain theme, docstrings in numpy style."""

import warnings

from corecrown import __version__

warnings.filterwarnings("ignore")  # of the libraries that are imported; those of sphinx itself are errors

project = "corecrown"
release = __version__
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
html_theme = "furo"
html_title = f"corecrown {release}"
myst_heading_anchors = 4
napoleon_google_docstring = False
napoleon_use_rtype = False
autodoc_typehints = "none"
autodoc_preserve_defaults = True
smartquotes = False
