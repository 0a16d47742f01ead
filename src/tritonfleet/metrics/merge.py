"""Make one page of many: labels added, families renamed and put together under one header each. Pure.

Which series a process has hardly ever changes, only their numbers do. So ``families`` reads a page line by line, and
``Reader`` remembers what a page without its numbers became, and from then on only puts the numbers in.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from tritonfleet.metrics.table import METRICS
from tritonfleet.metrics.text import header, label_text

#: Families that tell of an engine's Python, or of when a counter was made, not of the fleet.
_LEFT_OUT = re.compile(r"python_\w+|.*_created")
_HEADER = re.compile(r"#[ \t]+(?P<what>HELP|TYPE)[ \t]+(?P<name>[a-zA-Z_:][a-zA-Z0-9_:]*)[ \t]*(?P<rest>.*)")
_SAMPLE = re.compile(
    r"[ \t]*(?P<name>[a-zA-Z_:][a-zA-Z0-9_:]*)[ \t]*"
    r"(?:\{(?P<labels>(?:[^\"}]|\"(?:[^\"\\]|\\.)*\")*)\})?"
    r"(?P<value>(?<=\})[ \t]*[^ \t}]+|[ \t]+[^ \t]+)(?P<time>[ \t]+-?\d+)?[ \t]*"
)
_LABEL = re.compile(r"[ \t]*(?P<name>[a-zA-Z_][a-zA-Z0-9_]*)[ \t]*=[ \t]*(?P<value>\"(?:[^\"\\]|\\.)*\")[ \t]*(?:,|$)")
#: The number at the end of a line; no kind of metric is spelled with these letters only.
_NUMBER = re.compile(r" ([-+0-9.eInfNa]+)\n")
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
    pools: Mapping[str, str] = field(default_factory=dict)
    """Pool of each model: added as ``pool`` to every series whose ``model`` is one of them."""


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
    found: list[Family] = []
    for name, kind, text, lines in _parsed(page):
        if not (changes.only and not name.startswith(changes.only)) and not _LEFT_OUT.fullmatch(name):
            for target in changes.renamed.get(name, (name,)):
                samples = "".join(_changed(line, name, target, changes) for line in lines)
                found.append(Family(target, kind, text, samples))
    return found


class Reader:
    """Reads the pages of one process, one after the other."""

    def __init__(self, changes: Changes) -> None:
        self._changes = changes
        self._texts: list[str] | None = None
        self._shapes: list[_Shape] = []

    def read(self, page: str) -> list[Family]:
        """Return what ``families`` does, in a fraction of its time; raise Malformed."""
        if not page.endswith("\n"):
            raise Malformed("it ends in the middle of a line" if page else "it is empty")
        pieces = _NUMBER.split(page)
        texts, numbers = pieces[::2], pieces[1::2]
        if texts != self._texts:
            self._shapes = self._learned(texts, numbers)
            self._texts = texts
        return [shape.filled(numbers) for shape in self._shapes]

    def _learned(self, texts: Sequence[str], numbers: Sequence[str]) -> list[_Shape]:
        """Read the page with each sample's number replaced by its place, to see where it goes."""
        lines = []
        for place, (text, number) in enumerate(zip(texts, numbers, strict=False)):
            is_comment = text.rpartition("\n")[2].startswith("#")
            lines.append(f"{text} {number if is_comment else place}\n")
        return [_Shape.of(family) for family in families("".join(lines) + texts[-1], self._changes)]


@dataclass(frozen=True)
class _Shape:
    """A family without its numbers."""

    name: str
    kind: str
    help: str
    pieces: tuple[str, ...]
    """Text before each number, and after the last."""
    numbers: tuple[int, ...]
    """Which of the page's numbers stands after each text."""

    @classmethod
    def of(cls, family: Family) -> _Shape:
        pieces = _NUMBER.split(family.samples)
        texts = [f"{piece} " for piece in pieces[::2][:-1]]
        return cls(family.name, family.kind, family.help, (*texts, pieces[-1]), tuple(map(int, pieces[1::2])))

    def filled(self, numbers: Sequence[str]) -> Family:
        parts = [""] * (2 * len(self.numbers) + 1)
        parts[::2] = self.pieces
        parts[1::2] = [f"{numbers[number]}\n" for number in self.numbers]
        return Family(self.name, self.kind, self.help, "".join(parts))


class Page:
    """Families of many pages, each under one header."""

    def __init__(self) -> None:
        self._families: dict[str, tuple[str, str, list[str]]] = {}

    def add(self, found: Sequence[Family]) -> None:
        """Add a page's families; one whose kind is not that of an earlier page is left out."""
        for entry in found:
            known = self._families.get(entry.name)
            if known is None:
                metric = METRICS.get(entry.name)
                known = (entry.kind, metric.help if metric else entry.help, [])
                self._families[entry.name] = known
            if known[0] == entry.kind:
                known[2].append(entry.samples)

    def text(self) -> str:
        """Return the page."""
        parts = []
        for name, (kind, text, samples) in self._families.items():
            parts += [header(name, kind, text), *samples]
        return "".join(parts)


def _parsed(page: str) -> Iterator[tuple[str, str, str, list[re.Match[str]]]]:
    """Yield name, kind, help and samples of each family; raise Malformed."""
    kinds: dict[str, str] = {}
    texts: dict[str, str] = {}
    found: dict[str, list[re.Match[str]]] = {}
    for line in page.split("\n"):
        if line.startswith("#"):
            _note(line, kinds, texts)
        elif line.strip():
            sample = _matched(line)
            found.setdefault(_owner(sample["name"], kinds), []).append(sample)
    for name, lines in found.items():
        yield name, kinds.get(name, "untyped"), texts.get(name, ""), lines


def _note(line: str, kinds: dict[str, str], texts: dict[str, str]) -> None:
    """Take what a comment says of a family."""
    about = _HEADER.fullmatch(line)
    if about is None:
        return
    if about["what"] == "HELP":
        texts[about["name"]] = about["rest"].replace("\\n", "\n").replace("\\\\", "\\")
    elif about["rest"].strip() in _KINDS:
        kinds[about["name"]] = about["rest"].strip()
    else:
        raise Malformed(f"{line[:100]!r} is not the type of a metric")


def _owner(name: str, kinds: Mapping[str, str]) -> str:
    """Return the family of the series called *name*."""
    for ending in ("_bucket", "_sum", "_count"):
        family = name.removesuffix(ending)
        if family != name and ending in _ENDINGS.get(kinds.get(family, ""), ()):
            return family
    return name


def _matched(line: str) -> re.Match[str]:
    found = _SAMPLE.fullmatch(line)
    if found is None:
        raise Malformed(f"{line[:100]!r} is not a sample")
    try:
        float(found["value"])
    except ValueError:
        raise Malformed(f"{line[:100]!r} has no number") from None
    return found


def _changed(sample: re.Match[str], family: str, target: str, changes: Changes) -> str:
    """Return the line of a sample under its new name with its new labels; raise Malformed."""
    labels = changes.labels
    added = labels.keys() | ({"pool"} if changes.pools else set())
    shown = [label_text(labels)] if labels else []
    rest = sample["labels"] or ""
    while rest.strip():
        label = _LABEL.match(rest)
        if label is None:
            raise Malformed(f"{sample.string[:100]!r} has labels that cannot be read")
        own, value = label["name"], label["value"]
        shown.append(f"{_kept(own) if own in added else own}={value}")
        if own == "model" and (pool := changes.pools.get(value[1:-1])):
            shown.append(label_text({"pool": pool}))
        rest = rest[label.end() :]
    time = f" {sample['time'].strip()}" if sample["time"] else ""
    return f"{target}{sample['name'][len(family) :]}{{{','.join(shown)}}} {sample['value'].strip()}{time}\n"


def _kept(label: str) -> str:
    """Return the name under which a page's own label stays; vLLM's `engine` is the index of an engine core."""
    return "engine_index" if label == "engine" else f"exported_{label}"
