"""How ``make docs`` builds the site. The sources are the pages as they stand in the repository, README and all, from its root.

Nothing is fetched, neither by the build nor by a page that is opened: no web fonts, no scripts of others, and formulas are
plain text. What is not Sphinx's own stands in ``_site``: navigation, docstrings, and the parts of pages that code fills.
"""

from __future__ import annotations

import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

from _site import docstrings, filled, navigation  # noqa: E402

from trainphase._version import __version__  # noqa: E402

project, release = "Trainphase", __version__
html_title = f"Trainphase {release}"
root_doc = "docs/index"
include_patterns = ["README.md", "CHANGELOG.md", "benchmarks/README.md", "docs/**.md"]
# Folders that hold no pages, such as environments and sweeps of any size, are not walked through.
exclude_patterns = [p.name for p in HERE.parent.iterdir() if p.is_dir() and p.name not in ("docs", "benchmarks")]
exclude_patterns += ["docs/_*", "benchmarks/results"]
extensions = ["myst_parser", "sphinx.ext.autodoc"]
myst_heading_anchors = 4
highlight_language = "text"
smartquotes = False  # formulas and commands are shown as they are typed

autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
autodoc_preserve_defaults = True
autodoc_type_aliases = {"ArrayLike": "ArrayLike"}  # which is short for half a page
autodoc_mock_imports = ["torch"]  # its users have it; the pages are built without
maximum_signature_line_length = 100

html_theme = "furo"
html_static_path = ["_site/static"]
html_css_files = ["site.css"]
html_copy_source = html_show_sphinx = html_use_index = html_domain_indices = False
html_show_copyright = False
# The search reads an index that is loaded with the page. Summaries would be fetched, which a page from a folder may not do.
html_show_search_summary = False


def setup(app) -> None:
    """Connect what is ours."""
    app.connect("source-read", navigation.add)
    app.connect("source-read", filled.fill)
    app.connect("autodoc-process-docstring", docstrings.process)
    app.connect("autodoc-process-signature", docstrings.signature)
    app.connect("build-finished", navigation.finish)
