"""Make one page of many: labels added, families renamed and put together. Pure.

A page is handled family by family as text, because a fleet of eight engines has some ten thousand lines and most of
them need the same change. Only families of an unusual form are taken apart line by line.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from tritonfleet.metrics.table import METRICS
from tritonfleet.metrics.text import header, label_text

#: Families that tell of an engine's Python or of when a counter was made, not of the fleet.
_LEFT_OUT = re.compile(r"python_\w+|.*_created")
_NAME = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*")
_LINE = re.compile(
    r"(?P<name>[a-zA-Z_:][a-zA-Z0-9_:]*)[ \t]*"
    r"(?:\{(?P<labels>(?:[^\"}]|\"(?:[^\"\\]|\\.)*\")*)\})?"
    r"[ \t]*(?<=[ \t}])(?P<value>\S+)(?P<time>[ \t]+-?\d+)?[ \t]*"
)
_LABEL = re.compile(r"[ \t]*(?P<name>[a-zA-Z_][a-zA-Z0-9_]*)[ \t]*=[ \t]*(?P<value>\"(?:[^\"\\]|\\.)*\")[ \t]*(?:,|$)")
#: The end of every sample.
_VALUE = re.compile(r" [-+]?(?:\d[\d.eE+-]*|[Ii]nf|NaN)(?: -?\d+)?$", re.MULTILINE)
_ENDINGS: Mapping[str, tuple[str, ...]] = {
    "histogram": ("_bucket", "_sum", "_count"),
    "summary": ("", "_sum", "_count"),
}
_KINDS = frozenset({"counter", "gauge", "histogram", "summary", "untyped"})


class Malformed(ValueError):
    """A page is not in Prometheus' text format; the message says where."""


@dataclass(frozen=True)
class Changes:
    """What happens to the page of one process."""

    labels: Mapping[str, str]
    """Added to every series. A label of the page with the same name is kept under another one."""
    renamed: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Family of the page to its names here; it is shown under each of them."""
    only: tuple[str, ...] = ()
    """Beginnings of the families that are taken; empty takes all."""


@dataclass(frozen=True)
class Family:
    """The samples of one family on one page."""

    name: str
    kind: str
    help: str
    samples: str
    """Lines, each with its line break."""


def families(page: str, changes: Changes) -> list[Family]:
    """Return the families of *page* with the changes made; raise Malformed."""
    if page and not page.endswith("\n"):
        raise Malformed("it ends in the middle of a line")
    added = label_text(changes.labels)
    found: list[Family] = []
    for name, kind, text, samples in _blocks(page):
        if (changes.only and not name.startswith(changes.only)) or _LEFT_OUT.fullmatch(name):
            continue
        for target in changes.renamed.get(name, (name,)):
            changed = _quickly(samples, name, kind, target, added, changes.labels)
            if changed is None:
                changed = "".join(_line(line, name, target, changes.labels) for line in samples.split("\n"))
            found.append(Family(target, kind, text, changed))
    return found


class Page:
    """Families of many pages, each under one header."""

    def __init__(self) -> None:
        self._families: dict[str, tuple[str, str, list[str]]] = {}

    def add(self, found: Sequence[Family]) -> None:
        """Add a page's families; one whose kind is not that of an earlier page is left out."""
        for entry in found:
            known = METRICS.get(entry.name)
            text = known.help if known else entry.help
            kind, _, samples = self._families.setdefault(entry.name, (entry.kind, text, []))
            if kind == entry.kind:
                samples.append(entry.samples)

    def text(self) -> str:
        """Return the page."""
        parts = []
        for name, (kind, text, samples) in self._families.items():
            parts += [header(name, kind, text), *samples]
        return "".join(parts)


def _blocks(page: str) -> Iterator[tuple[str, str, str, str]]:
    """Yield name, kind, help and samples (without the last line break) of each family."""
    texts: dict[str, str] = {}
    for number, piece in enumerate(f"\n{page}".split("\n# ")):
        head, _, rest = ("", "", piece) if number == 0 else piece.partition("\n")
        words = head.split(None, 2)
        name, kind = "", "untyped"
        if words[:1] == ["HELP"] and len(words) > 1:
            name = words[1]
            texts[name] = words[2].replace("\\n", "\n").replace("\\\\", "\\") if len(words) > 2 else ""
        elif words[:1] == ["TYPE"]:
            if len(words) < 3 or words[2].strip() not in _KINDS or not _NAME.fullmatch(words[1]):
                raise Malformed(f"{head[:100]!r} is not the type of a metric")
            name, kind = words[1], words[2].strip()
        if rest := rest.strip("\n"):
            yield from ((name, kind, texts.get(name, ""), rest),) if kind != "untyped" and name else _loose(rest, texts)


def _loose(samples: str, texts: Mapping[str, str]) -> Iterator[tuple[str, str, str, str]]:
    """Yield families of samples that have no type."""
    found: dict[str, list[str]] = {}
    for line in samples.split("\n"):
        if line and not line.startswith("#"):
            found.setdefault(_matched(line)["name"], []).append(line)
    for name, lines in found.items():
        yield name, "untyped", texts.get(name, ""), "\n".join(lines)


def _quickly(samples: str, name: str, kind: str, target: str, added: str, labels: Mapping[str, str]) -> str | None:
    """Return the changed samples, or None if a line among them has another form than engines write."""
    for label in labels:
        if f'{label}="' in samples and samples.count(f'{label}="') != samples.count(f'{{{label}="'):
            return None  # in the middle: a label of that name, or the end of a longer one
    lines = f"\n{samples}"
    expected = lines.count("\n")
    for ending in _ENDINGS.get(kind, ("",)):
        lines = lines.replace(f"\n{name}{ending}{{", f"\n{target}{ending}{{{added},")
        lines = lines.replace(f"\n{name}{ending} ", f"\n{target}{ending}{{{added}}} ")
    # Label values hold no bare quotation mark, so this text stands where it was put and nowhere else.
    if lines.count(f"{{{added}") != expected or f"{{{added},}}" in lines:
        return None
    if len(_VALUE.findall(lines)) != expected:
        return None
    for label in labels:
        lines = lines.replace(f'{{{added},{label}="', f'{{{added},{_kept(label)}="')
    return f"{lines[1:]}\n"


def _line(line: str, name: str, target: str, labels: Mapping[str, str]) -> str:
    """Return one changed line; raise Malformed."""
    if not line or line.startswith("#"):
        return ""
    found = _matched(line)
    if not found["name"].startswith(name):
        raise Malformed(f"{line[:100]!r} stands among the samples of {name}")
    all_labels = dict(labels)
    rest = found["labels"] or ""
    shown = [label_text(labels)]
    while rest.strip():
        label = _LABEL.match(rest)
        if label is None:
            raise Malformed(f"{line[:100]!r} has labels that cannot be read")
        own = label["name"]
        shown.append(f"{_kept(own) if own in all_labels else own}={label['value']}")
        rest = rest[label.end() :]
    ending = found["name"][len(name) :]
    return f"{target}{ending}{{{','.join(shown)}}} {found['value']}{(found['time'] or '').rstrip()}\n"


def _matched(line: str) -> re.Match[str]:
    found = _LINE.fullmatch(line)
    if found is None:
        raise Malformed(f"{line[:100]!r} is not a sample")
    try:
        float(found["value"])
    except ValueError:
        raise Malformed(f"{line[:100]!r} has no number") from None
    return found


def _kept(label: str) -> str:
    """Return the name under which a page's own label stays; vLLM's `engine` is the index of an engine core."""
    return "engine_index" if label == "engine" else f"exported_{label}"
