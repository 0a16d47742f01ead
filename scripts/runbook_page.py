"""Make the console's page of docs/runbook.md, which alerts link to; with --check, only say whether it is current.

python scripts/runbook_page.py [--check]
"""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from html import escape
from itertools import pairwise
from pathlib import Path

from markdown_it import MarkdownIt
from markdown_it.token import Token

ROOT = Path(__file__).resolve().parents[1]
SOURCE = ROOT / "docs" / "runbook.md"
PAGE = ROOT / "src/tritonfleet/gateway/console/static/runbook.html"
CONSOLE = PAGE.with_name("index.html")
_HEAD = """\
<!doctype html>
<html lang="en">
  <head>
    <meta charset="utf-8">
    <meta name="viewport" content="width=device-width, initial-scale=1">
    <title>tritonfleet: runbook</title>
    <link rel="icon" href="assets/icon.svg">
    <link rel="stylesheet" href="assets/console.css">
    <script src="assets/theme.js"></script>
  </head>
  <!-- Made by scripts/runbook_page.py from docs/runbook.md; changes are lost. -->
  <body>
    <a class="skip" href="#main">Skip to the content</a>
    <header>
      <h1><img src="assets/icon.svg" alt="" width="24" height="24"> Runbook</h1>
      <nav aria-label="Parts of the console"><a href="../">Console</a></nav>
      <div class="tools">
{theme}      </div>
    </header>
    <main id="main" class="book" tabindex="-1">
"""
_TAIL = """\
    </main>
  </body>
</html>
"""


def page(text: str, console: str) -> str:
    """Return the page of the runbook *text*: every alert's heading has its name in small letters as its id.

    The choice of the theme is that of the page *console*.
    """
    theme = re.search(r"^ *<label>Theme\n.*?</label>\n", console, re.DOTALL | re.MULTILINE)
    if theme is None:
        raise ValueError(f"{CONSOLE} has no choice of the theme")
    markdown = MarkdownIt("commonmark", {"html": False})
    tokens = markdown.parse(text.partition("\n")[2])  # the first line is the title, which the page has itself
    names = []
    for token, content in pairwise(tokens):
        if token.type == "heading_open":
            token.attrSet("id", content.content.lower())
            names.append(content.content)
        elif token.type == "inline":
            token.children = _without_other_pages(token.children or [])
        elif token.type == "fence":
            token.info = ""
    body = markdown.renderer.render(tokens, markdown.options, {})
    return f"{_HEAD.format(theme=theme[0])}{_contents(names)}{body}{_TAIL}"


def _contents(names: Sequence[str]) -> str:
    lines = "".join(f'<li><a href="#{name.lower()}">{escape(name)}</a></li>\n' for name in names)
    return f'<nav class="contents" aria-label="Alerts"><ul>\n{lines}</ul></nav>\n'


def _without_other_pages(tokens: Sequence[Token]) -> list[Token]:
    """Leave links to other pages of the documentation out, which a fleet does not serve; their texts stay."""
    kept, dropped = [], False
    for token in tokens:
        if token.type == "link_open" and ".md" in str(token.attrGet("href")):
            dropped = True
        elif token.type == "link_close" and dropped:
            dropped = False
        else:
            kept.append(token)
    return kept


def main(words: Sequence[str]) -> int:
    """Write the page, or check it."""
    new = page(SOURCE.read_text(encoding="utf-8"), CONSOLE.read_text(encoding="utf-8"))
    if "--check" in words:
        if PAGE.exists() and PAGE.read_text(encoding="utf-8") == new:
            return 0
        print(f"{PAGE} is not current; run python scripts/runbook_page.py", file=sys.stderr)
        return 1
    PAGE.write_text(new, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
