"""The corpus as values: entries, conversations and unknown questions, read from corpus/*.yaml.

Not for choosing or changing what is trained on: see augment.py and samples.py.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

CORPUS = Path(__file__).parent / "corpus"


@dataclass(frozen=True)
class Entry:
    """One question with its answer per model; ``held_out`` ways of asking are never trained on."""

    id: str
    source: str
    language: str
    question: str
    paraphrases: tuple[str, ...]
    held_out: tuple[str, ...]
    answers: dict[str, str]


@dataclass(frozen=True)
class Turn:
    """What the user says in a conversation, and the answer of each model."""

    user: str
    answers: dict[str, str]


@dataclass(frozen=True)
class Conversation:
    """Several turns, each asked with the earlier ones before it."""

    id: str
    turns: tuple[Turn, ...]


@dataclass(frozen=True)
class Unknown:
    """Questions outside the corpus, and the polite answer per language and model."""

    answers: dict[str, dict[str, str]]
    templates: dict[str, tuple[str, ...]]
    subjects: dict[str, tuple[str, ...]]
    training: dict[str, tuple[str, ...]]
    held_back: dict[str, tuple[str, ...]]


@dataclass(frozen=True)
class Corpus:
    """Everything the demo models learn from and are measured on."""

    entries: tuple[Entry, ...]
    conversations: tuple[Conversation, ...]
    unknown: Unknown

    def texts(self) -> Iterator[str]:
        """Every text that training may see, for the tokenizer: held-out questions are left out."""
        for entry in self.entries:
            yield from (entry.question, *entry.paraphrases, *entry.answers.values())
        for conversation in self.conversations:
            for turn in conversation.turns:
                yield from (turn.user, *turn.answers.values())
        for answers in self.unknown.answers.values():
            yield from answers.values()
        for questions in (*self.unknown.training.values(), *self.unknown.subjects.values()):
            yield from questions


def _answers(raw: dict[str, Any]) -> dict[str, str]:
    return {name: raw[name].strip() for name in ("llama2", "mistral7b")}


def _entry(raw: dict[str, Any], source: str) -> Entry:
    return Entry(
        id=raw["id"],
        source=source,
        language=raw.get("lang", "en"),
        question=raw["question"],
        paraphrases=tuple(raw["paraphrases"]),
        held_out=tuple(raw.get("held_out", ())),
        answers=_answers(raw),
    )


def _conversation(raw: dict[str, Any], entries: dict[str, Entry]) -> Conversation:
    turns = (
        Turn(turn["user"], entries[turn["answer_of"]].answers if "answer_of" in turn else _answers(turn))
        for turn in raw["turns"]
    )
    return Conversation(raw["id"], tuple(turns))


def _by_language(raw: dict[str, Any], key: str) -> dict[str, tuple[str, ...]]:
    return {"en": tuple(raw[key]), "ko": tuple(raw[f"{key}_korean"])}


def _unknown(raw: dict[str, Any]) -> Unknown:
    return Unknown(
        answers={language: _answers(answers) for language, answers in raw["answers"].items()},
        templates=_by_language(raw, "templates"),
        subjects=_by_language(raw, "subjects"),
        training=_by_language(raw, "training"),
        held_back=_by_language(raw, "held_back"),
    )


def _read(path: Path) -> Any:
    return yaml.safe_load(path.read_text(encoding="utf-8"))


def load_corpus(folder: Path = CORPUS) -> Corpus:
    """Read every file of *folder*; entries may also carry ``turns`` and are then conversations."""
    entries: list[Entry] = []
    talks: list[dict[str, Any]] = []
    for path in sorted(folder.glob("*.yaml")):
        if path.stem == "unknown":
            continue
        for raw in _read(path):
            if "turns" in raw:
                talks.append(raw)
            else:
                entries.append(_entry(raw, path.stem))
    by_id = {entry.id: entry for entry in entries}
    return Corpus(
        entries=tuple(entries),
        conversations=tuple(_conversation(raw, by_id) for raw in talks),
        unknown=_unknown(_read(folder / "unknown.yaml")),
    )
