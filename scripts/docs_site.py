"""What mkdocs needs besides `docs/`: pages that lie elsewhere in the repository, links between them, and formulas.

The pages are written for the code host, where links are relative to the repository and `$...$` is a formula. Named by
`hooks` in mkdocs.yml.
"""

import posixpath
import re
from html import unescape
from pathlib import Path
from typing import Any

from latex2mathml.converter import convert
from mkdocs.structure.files import File, Files

ROOT = Path(__file__).resolve().parents[1]
# Of the repository, in the site at the same place.
OUTSIDE = ("CONTRIBUTING.md", "SECURITY.md", "cluster/README.md", "reproductions/README.md")
IMAGES = "reproductions/results/**/*.png"
_LINK = re.compile(r"(?<=\]\()(?!https?:|#|mailto:)([^)#\s]+)")
_FORMULA = re.compile(r'<(span|div) class="arithmatex">(.*?)</\1>', re.DOTALL)


def on_files(files: Files, config: Any) -> Files:
    """Adds the pages and images that lie outside `docs/`."""
    for path in [*(ROOT / name for name in OUTSIDE), *sorted(ROOT.glob(IMAGES))]:
        files.append(File.generated(config, path.relative_to(ROOT).as_posix(), abs_src_path=str(path)))
    return files


def on_page_markdown(markdown: str, page: Any, config: Any, **_: Any) -> str:
    """Links of the repository become links of the site."""
    inside = page.file.abs_src_path.startswith(config.docs_dir)
    folder = posixpath.dirname(f"docs/{page.file.src_uri}" if inside else page.file.src_uri)

    def relink(link: re.Match[str]) -> str:
        target = posixpath.normpath(posixpath.join(folder, link[1])).removeprefix("docs/")
        return posixpath.relpath(target, posixpath.dirname(page.file.src_uri) or ".")

    return _LINK.sub(relink, markdown)


def on_page_content(html: str, **_: Any) -> str:
    """Formulas become MathML, which browsers show without a script from elsewhere."""

    def formula(found: re.Match[str]) -> str:
        display = found[1] == "div"
        text = re.sub(r"^\\[(\[]|\\[)\]]$", "", unescape(found[2].strip()))
        return str(convert(text, display="block" if display else "inline"))

    return _FORMULA.sub(formula, html)
