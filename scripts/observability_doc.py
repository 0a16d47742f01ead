"""Write the lists of panels and alerts in docs/observability.md; with --check, only say whether they are current.

python scripts/observability_doc.py [--check]
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from tritonfleet.observe import all_alerts, boards

PAGE = Path(__file__).resolve().parents[1] / "docs" / "observability.md"


def _panels() -> Iterator[str]:
    for board in boards():
        yield f"**{board.title}** ({board.uid}.json). {board.description}"
        yield ""
        yield "| row | panels |"
        yield "| --- | --- |"
        for row in board.rows:
            yield f"| {row.title} | {'; '.join(panel.title for panel in row.panels)} |"
        yield ""


def _alerts() -> Iterator[str]:
    yield "| alert | severity | when |"
    yield "| --- | --- | --- |"
    for alert in all_alerts():
        yield f"| [{alert.name}](runbook.md#{alert.name.lower()}) | {alert.severity} | {_plain(alert.summary)} |"
    yield ""


def _plain(text: str) -> str:
    """Return a summary with words for its labels."""
    model = "{{ $labels.model }} in fleet {{ $labels.fleet }}"
    text = re.sub(r"\{\{ if .*?\}\}(.*?)\{\{ else \}\}(.*?)\{\{ end \}\}", r"\1, or \2", text)
    text = re.sub(r" (of|for) fleet \{\{ \$labels\.fleet \}\}", "", text.replace(model, "a model"))
    text = re.sub(r"(share group|part|pool|replica) \{\{ \$labels\.\w+ \}\}", r"a \1", text, flags=re.IGNORECASE)
    return text[:1].upper() + text[1:].replace("Replica", "replica").replace("Share", "share")


def page(text: str) -> str:
    """Return the page with its lists made new."""
    for name, lines in (("panels", _panels()), ("alerts", _alerts())):
        parts = re.split(rf"<!-- {name}: .*?<!-- end of {name} -->", text, flags=re.DOTALL)
        if len(parts) != 2:
            raise SystemExit(f"{PAGE} has no place for the {name}")
        made = f"<!-- {name}: made by scripts/observability_doc.py -->\n\n" + "\n".join(lines)
        text = f"{parts[0]}{made}\n<!-- end of {name} -->{parts[1]}"
    return text


def main(words: Sequence[str]) -> int:
    """Write the page, or check it."""
    now = PAGE.read_text(encoding="utf-8")
    new = page(now)
    if "--check" in words and now != new:
        print(f"{PAGE} is not current; run: python scripts/observability_doc.py", file=sys.stderr)
        return 1
    if "--check" not in words:
        PAGE.write_text(new, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
