"""Sphinx's settings for the site (see build.py), and two changes to its pages."""

import os
import re

project = "allatt"
author = "the allatt authors"
copyright = "the allatt authors. MIT license; text in the outputs: Wikipedia, CC BY-SA 3.0"
extensions = ["myst_nb", "sphinx-mathjax-offline"]
root_doc = "index"
exclude_patterns = ["_extra"]
html_extra_path = ["_extra"]
templates_path = []

nb_execution_mode = "off"
nb_merge_streams = True
nb_render_markdown_format = "myst"  # tables in outputs
myst_enable_extensions = ["dollarmath", "amsmath", "html_image"]
myst_heading_anchors = 4

suppress_warnings = ["myst.header"]  # an exercise before the first section is a third-level heading, as all exercises are

html_context = {"default_mode": "auto"}
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_theme = "sphinx_book_theme"
html_title = "allatt: pruning attention heads, layer by layer"
html_show_sourcelink = True
html_copy_source = True
html_theme_options = {
    "show_navbar_depth": 1,
    "home_page_in_toc": True,
    "use_download_button": True,
    "use_fullscreen_button": False,
    "show_toc_level": 2,
    "navbar_persistent": [],
}
repository = os.environ.get("ALLATT_REPOSITORY", "").removesuffix("/").removesuffix(".git")
if repository:
    html_theme_options |= {
        "repository_url": repository, "use_repository_button": True, "path_to_docs": "notebooks",
        "launch_buttons": {"colab_url": "https://colab.research.google.com", "binderhub_url": "https://mybinder.org"},
    }

FORMULA = re.compile(r'([("]?)(<span class="math[^>]*>[^<]{1,40}</span>)([^\s<]*)')
IMAGE = re.compile(r'(<a\b[^>]*>\s*)?(<img\b[^>]*\bsrc="([^"]+)"[^>]*>)')


def improve(app, page, template, context, doctree) -> None:
    """A short formula is not parted from the mark before or after it; an image is a link to itself, for a small window."""
    def together(found: re.Match) -> str:
        before, formula, after = found.groups()
        return f'<span class="together">{found.group(0)}</span>' if before or after else formula

    def linked(found: re.Match) -> str:
        link, image, source = found.groups()
        return found.group(0) if link else f'<a class="figure-itself" href="{source}">{image}</a>'

    if "body" in context:
        context["body"] = IMAGE.sub(linked, FORMULA.sub(together, context["body"]))


def setup(app) -> None:
    app.connect("html-page-context", improve)
