"""Mathematics as MathML, which browsers draw themselves: no script, no fonts, no network.

Sphinx's own choices load MathJax from elsewhere or run LaTeX. What the converter does not know it
would pass on as it stands, so that is looked for here and ends the build.
"""

from __future__ import annotations

import re
from typing import Any

from docutils import nodes
from latex2mathml.converter import convert
from sphinx.errors import ExtensionError


def converted(tex: str, display: str) -> str:
    """A formula as MathML; its lines are aligned at their & as Sphinx's other renderers do."""
    tex = tex.strip().replace("{aligned}", "{align*}")
    if r"\\" in tex and r"\begin" not in tex:
        tex = rf"\begin{{align*}}{tex}\end{{align*}}"
    made = convert(tex, display=display)
    unknown = re.findall(r">(\\\w+|&(?:amp;)?)<", made)
    if unknown:
        raise ValueError(f"unknown: {', '.join(unknown)}")
    return made


def _formula(node: nodes.Element, display: str) -> str:
    try:
        return converted(node.astext(), display)
    except Exception as error:
        raise ExtensionError(f"{node.source}: {node.astext()!r}: {error!r}") from error


def _inline(translator: Any, node: nodes.Element) -> None:
    translator.body.append(_formula(node, "inline"))
    raise nodes.SkipNode


def _block(translator: Any, node: nodes.Element) -> None:
    translator.body.append(f'<div class="formula">{_formula(node, "block")}</div>\n')
    raise nodes.SkipNode


def setup(app: Any) -> dict[str, bool]:
    """Called by Sphinx."""
    app.add_html_math_renderer("mathml", (_inline, None), (_block, None))
    return {"parallel_read_safe": True, "parallel_write_safe": True}
