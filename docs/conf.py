"""How Sphinx builds the site from docs/*.md, the results of the benchmarks and the docstrings: ``make docs``.

The source folder is the root of the repository, so that links between these files lead somewhere on the site as they do
in the repository. The pages need no network: there are no remote fonts or scripts, and formulas are MathML.
"""

from __future__ import annotations

import importlib
import logging
import pkgutil
import re
import sys
from pathlib import Path
from typing import Any

from docutils import nodes
from latex2mathml.converter import convert
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.util.docutils import SphinxDirective
from sphinx.util.nodes import get_node_source

import anmin
import anmin.datasets
import anmin.export
import anmin.inspection
import anmin.rows
import anmin.search
import anmin.solvers

project = "anmin"
author = "The anmin developers"
copyright = author
version = release = anmin.__version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.viewcode", "numpydoc"]
root_doc = "docs/index"
source_suffix = {".md": "markdown"}
include_patterns = ["docs/**", "benchmarks/results/*.md", "CHANGELOG.md"]
exclude_patterns = [".*", "build", "dist", "src", "tests", "shared", "docs/images"]
suppress_warnings = ["misc.highlighting_failure"]  # GLSL without its version line

myst_enable_extensions = ["dollarmath"]
myst_dmath_double_inline = True
myst_heading_anchors = 4
math_eqref_format = "({number})"
math_number_all = False

autodoc_default_options = {"members": True, "member-order": "bysource"}
autodoc_typehints = "none"  # the docstrings say more: shapes, units, and what None means
autosummary_generate = False
numpydoc_show_class_members = False
numpydoc_xref_param_type = False

html_theme = "furo"
html_title = f"anmin {release}"
html_static_path = ["static"]
html_css_files = ["site.css"]
html_additional_pages = {"index": "redirect.html"}
templates_path = ["templates"]
html_copy_source = False
html_theme_options = {"navigation_with_keys": True}

nitpick_ignore = [("py:class", "torch.nn.Module")]

_REFERENCE = Path(__file__).parent / "reference"
_PUBLIC = [anmin, anmin.datasets, anmin.export, anmin.inspection, anmin.rows, anmin.search, anmin.solvers]

# Of scikit-learn, whose docstrings refer to its own site.
_INHERITED = {"set_fit_request", "set_partial_fit_request", "set_score_request", "set_predict_request"}


class Submodules(SphinxDirective):
    """Document the modules of a package, but for what the package makes public, and modules that a page names."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        """Return what automodule makes of each module."""
        package = importlib.import_module(self.arguments[0])
        public = [getattr(package, name) for name in package.__all__]
        pages = "".join(page.read_text(encoding="utf-8") for page in _REFERENCE.glob("*.md"))
        named = {"anmin.__main__", *re.findall(r"automodule:: (\S+)", pages)}
        lines: list[str] = []
        for info in pkgutil.iter_modules(package.__path__, f"{package.__name__}."):
            if info.ispkg or info.name in named:
                continue
            module = importlib.import_module(info.name)
            excluded = [name for name, value in vars(module).items() if any(value is other for other in public)]
            excluded += ["Lock"]  # of threading, which autodoc takes for the module's own
            lines += [f".. automodule:: {info.name}", f"   :exclude-members: {', '.join(excluded)}", ""]
        return self.parse_text_to_nodes("\n".join(lines))


def formulas_as_they_stand(app: Sphinx, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    """Mark the indented paragraphs of a docstring as literal, since they are formulas; elsewhere | is no markup."""
    found: list[str] = []
    outer, inside = 0, False
    for number, line in enumerate(lines):
        indent = len(line) - len(line.lstrip())
        if line.strip():
            follows_blank = number > 0 and not lines[number - 1].strip()
            if inside and indent <= outer:
                inside = False
            if not inside and follows_blank and indent >= outer + 4:
                found += [" " * outer + "::", ""]
                inside = True
            if not inside:
                outer = indent
        found.append(line if inside else re.sub(r"(``.*?``)|[|]", lambda match: match[1] or r"\|", line))
    lines[:] = found


def without_scikit_learn(app: Sphinx, what: str, name: str, obj: Any, skip: bool, options: Any) -> bool | None:
    """Leave out the methods that scikit-learn makes."""
    return True if name in _INHERITED else None


def where_it_is_documented(app: Sphinx, env: BuildEnvironment, node: Any, content: Any) -> Any:
    """Resolve a name as the module of its docstring does; what is public is documented under its public name."""
    if node.get("refdomain") != "py":
        return None
    documented = env.domains["py"].data["objects"]
    docstring = re.search(r"docstring of ([\w.]+)", get_node_source(node))
    for name in _names(node["reftarget"], docstring[1] if docstring else ""):
        if name in documented:
            python = env.domains["py"]
            return python.resolve_xref(env, node["refdoc"], app.builder, node["reftype"], name, node, content)
    return None


def _names(target: str, docstring: str) -> list[str]:
    """Return the full names of what ``target`` means within the docstring of that name: as defined, and as public."""
    names = []
    home, own = _module_and_rest(docstring)[0], target.split(".")
    for module, (first, *rest) in ((home, own), _module_and_rest(target)):
        thing = getattr(module, first, None)
        places = [place.__name__ for place in _PUBLIC if getattr(place, first, None) is thing is not None]
        if hasattr(thing, "__qualname__"):
            places.append(thing.__module__)
        names += [".".join([place, first, *rest]) for place in places]
    return names


def _module_and_rest(name: str) -> tuple[Any, list[str]]:
    """Return the innermost module of a full name, None if there is none, and the names within it."""
    parts = name.split(".")
    for count in range(len(parts) - 1, 0, -1):
        module = sys.modules.get(".".join(parts[:count]))
        if module is not None:
            return module, parts[count:]
    return None, parts


def _mathml(translator: Any, node: nodes.Element, display: str) -> None:
    translator.body.append(convert(node.astext(), display=display))


def inline_formula(translator: Any, node: nodes.math) -> None:
    """Write a formula within a line."""
    _mathml(translator, node, "inline")
    raise nodes.SkipNode


def displayed_formula(translator: Any, node: nodes.math_block) -> None:
    """Write a formula on a line of its own, with its number if it has one."""
    translator.body.append(translator.starttag(node, "div", CLASS="formula"))
    _mathml(translator, node, "block")
    if node["number"]:
        translator.body.append(f'<span class="number">({node["number"]})</span>')
    translator.body.append("</div>\n")
    raise nodes.SkipNode


def setup(app: Sphinx) -> dict[str, bool]:
    """Connect the above; called by Sphinx."""
    app.add_directive("submodules", Submodules)
    app.connect("autodoc-process-docstring", formulas_as_they_stand, priority=400)  # before numpydoc
    app.connect("autodoc-skip-member", without_scikit_learn)
    # A folder of the table of contents may be empty; such a warning has no type by which to suppress it.
    logging.getLogger("sphinx.sphinx.directives.other").addFilter(lambda record: "toctree glob" not in record.msg)
    app.connect("missing-reference", where_it_is_documented)
    app.add_html_math_renderer("mathml", (inline_formula, None), (displayed_formula, None))
    return {"parallel_read_safe": True, "parallel_write_safe": True}


html_math_renderer = "mathml"
