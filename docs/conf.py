"""How Sphinx makes the site: `sphinx-build -W docs docs/_build`. Nothing is fetched.

Pages are the Markdown files beside this one, the scripts under gallery/, and what `generators`
makes from the code. Everything made lies in folders that git ignores.
"""

import re
import shutil
import sys
from pathlib import Path

HERE = Path(__file__).parent
# `generators` from here; `benchmarks` and `tests`, which are not installed, from the root.
sys.path[:0] = [str(HERE), str(HERE.parent)]

import numpydoc.xref  # noqa: E402
import sklearn  # noqa: E402
from generators import benchmarks, command_line, errors, reference  # noqa: E402

import fastmlp  # noqa: E402

project = "fastmlp"
author = "The fastmlp developers"
project_copyright = author
version = release = fastmlp.__version__

extensions = [
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "numpydoc",
    "myst_parser",
    "sphinx_design",
    "sphinx_gallery.gen_gallery",
    "generators.mathml",
]
exclude_patterns = ["_build", "backreferences", "gallery", "generators"]
templates_path = ["_templates"]
html_math_renderer = "mathml"
default_role = "py:obj"  # single backquotes in docstrings link where there is something to link to

# ---------------------------------------------------------------- Markdown
myst_enable_extensions = ["colon_fence", "dollarmath"]
myst_heading_anchors = 3  # links such as page.md#a-heading, as on GitHub
MORE_PAGES = {  # pages below others, which Markdown that is also read on GitHub cannot say itself
    "performance": ["performance-log", "benchmarks/results"],
    "tables": ["benchmarks/tables"],
    "learn/index": ["published-algorithm"],
    "architecture": ["extending"],
    "extending": [
        "extending/without-the-package",
        "extending/activation",
        "extending/loss",
        "extending/optimizer",
        "extending/per-column",
        "extending/normalisation",
        "extending/embedding",
        "extending/augmentation",
        "extending/averaging",
        "extending/gradients",
    ],
}

# ---------------------------------------------------------------- reference
autosummary_generate = True
autodoc_typehints = "none"  # numpydoc's sections say it in words
numpydoc_show_class_members = False  # the template has autodoc list them
numpydoc_xref_param_type = True
numpydoc_xref_aliases = {name: f"fastmlp.{name}" for name in fastmlp._ORIGIN}
numpydoc_xref_ignore = "all"  # other words are not names
numpydoc.xref.DEFAULT_LINKS.clear()  # they lead to other projects' pages

# Docstrings that classes inherit from scikit-learn refer to its glossary.
suppress_warnings = ["ref.term"]

# ---------------------------------------------------------------- gallery
GALLERIES = ["learn", "recipes"]
sklearn.set_config(display="text")  # its diagrams have links within buttons
sphinx_gallery_conf = {
    "examples_dirs": [f"gallery/{name}" for name in GALLERIES],
    "gallery_dirs": GALLERIES,
    "within_subsection_order": "FileNameSortKey",
    "backreferences_dir": "backreferences",
    "doc_module": ("fastmlp",),
    "download_all_examples": False,
    "remove_config_comments": True,
    "show_signature": False,
    "write_computation_times": False,
}

# ---------------------------------------------------------------- looks
html_context = {"default_mode": "auto"}
html_theme = "pydata_sphinx_theme"
html_title = "fastmlp"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_show_sourcelink = False
html_copy_source = False
# Pages without others below or beside them need no navigation of a section.
RESULTS = ["benchmarks/results", "benchmarks/tables"]
LONE = ["index", "get-started", "scikit-learn", "reliability", *RESULTS]
html_sidebars = {page: [] for page in LONE}
# Their lines of code and tables need the width more than a list of headings does.
SCRIPTS = [path for name in GALLERIES for path in (HERE / "gallery" / name).glob("plot_*.py")]
WIDE = ["index", *RESULTS, *(f"{path.parent.name}/{path.stem}" for path in SCRIPTS)]
toc_object_entries_show_parents = "hide"
html_favicon = "_static/logo.svg"
html_js_files = ["access.js"]
html_theme_options = {
    "logo": {
        "text": "fastmlp",
        "image_light": "_static/logo.svg",
        "image_dark": "_static/logo.svg",
    },
    "header_links_before_dropdown": 6,
    "navbar_end": ["theme-switcher"],
    "secondary_sidebar_items": {"**": ["page-toc"], **{page: [] for page in WIDE}},
    "show_toc_level": 2,
    "footer_start": ["copyright"],
    "footer_end": [],
}


def write_pages() -> None:
    """Make the reference anew, and drop pages of scripts that are gone from the gallery."""
    folder = HERE / "reference"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    (folder / "command-line.md").write_text(command_line.page(), encoding="utf-8")
    (folder / "messages.md").write_text(errors.page(), encoding="utf-8")
    for name, text in reference.pages():
        (folder / name).write_text(text, encoding="utf-8")
    for name in GALLERIES:
        scripts = {path.stem for path in (HERE / "gallery" / name).glob("*.py")}
        for made in (HERE / name).glob("plot_*"):
            if made.name.partition(".")[0] not in scripts:
                made.unlink()


write_pages()


# Pages that are also read on GitHub link to the gallery's scripts; here those are pages, too.
SCRIPT_LINKS = {
    r"\]\(gallery/(\w+/\w+)\.py\)": r"](\1.rst)",
    r"\]\(gallery/(\w+)\)": r"](\1/index.rst)",
}


def read_source(app, docname: str, source: list[str]) -> None:
    """Add what a page has only here: fresh tables, links to the gallery, the pages below it."""
    if app.env.doc2path(docname).suffix == ".md":
        for pattern, link in SCRIPT_LINKS.items():
            source[0] = re.sub(pattern, link, source[0])
    if docname == "benchmarks/results":
        source[0] = benchmarks.page()
        app.env.note_dependency("benchmarks/results.json")
    for page in MORE_PAGES.get(docname, ()):
        if app.env.doc2path(docname).suffix == ".md":
            source[0] += f"\n\n```{{toctree}}\n:hidden:\n\n/{page}\n```\n"
        else:  # a gallery, whose own list ends here
            source[0] += f"\n\n.. toctree::\n   :maxdepth: 1\n\n   /{page}\n"


def skip_member(app, what, name, value, skip, options) -> bool | None:
    """Leave out what scikit-learn adds to every estimator to route metadata."""
    return True if re.fullmatch(r"set_\w+_request|get_metadata_routing", name) else None


def shorten_docstring(app, what, name, value, options, lines: list[str]) -> None:
    """What estimators inherit is described at length where it comes from."""
    if (getattr(value, "__module__", None) or "").startswith("sklearn"):
        lines[:] = ["As in scikit-learn."]


def setup(app) -> None:
    app.connect("source-read", read_source)
    app.connect("autodoc-skip-member", skip_member)
    app.connect("autodoc-process-docstring", shorten_docstring, priority=400)  # before numpydoc
