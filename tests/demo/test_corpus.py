"""The text that the demo models learn: complete, free of duplicates, and fair to the held-out questions."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

try:
    from yaml import CSafeLoader as Loader  # ten times as quick; every process of a test run reads the whole corpus
except ImportError:
    from yaml import SafeLoader as Loader  # type: ignore[assignment]

ROOT = Path(__file__).parents[2]
CORPUS = ROOT / "training" / "corpus"
MODELS = ("llama2", "mistral7b")
HANGUL = re.compile(r"[\uac00-\ud7a3]")


def read(name: str) -> Any:
    return yaml.load((CORPUS / f"{name}.yaml").read_text(encoding="utf-8"), Loader)


def everything() -> Iterator[dict[str, Any]]:
    for path in sorted(CORPUS.glob("*.yaml")):
        if path.stem != "unknown":
            yield from read(path.stem)


ALL = list(everything())
ENTRIES = [entry for entry in ALL if "turns" not in entry]
CONVERSATIONS = [entry for entry in ALL if "turns" in entry]
UNKNOWN = read("unknown")


def same(question: str) -> str:
    """*question* without case and punctuation, as far as it has any letters."""
    return re.sub(r"[\W_]+", " ", question.lower()).strip() or question


def trained(entry: dict[str, Any]) -> list[str]:
    return [entry["question"], *entry["paraphrases"]]


def test_there_are_enough_entries() -> None:
    """The 20 prompts, at least 300 more questions, and at least ten Korean ones."""
    assert len(read("prompts20")) == 20
    assert len(ENTRIES) >= 320
    assert len([entry for entry in ENTRIES if entry.get("lang") == "ko"]) >= 10
    assert len(CONVERSATIONS) >= 10


def test_ids_are_unique() -> None:
    """An id names one entry or conversation."""
    assert [i for i, times in Counter(entry["id"] for entry in ALL).items() if times > 1] == []


def test_every_prompt_of_the_demo_is_in_the_corpus() -> None:
    """prompts.txt holds exactly the questions of prompts20.yaml, in their order."""
    prompts = (ROOT / "prompts.txt").read_text(encoding="utf-8").splitlines()
    assert prompts == [entry["question"] for entry in read("prompts20")]


def test_no_question_belongs_to_two_entries() -> None:
    """Each way of asking appears once in the whole corpus, so its right answer is certain."""
    asked = Counter(same(q) for entry in ENTRIES for q in (*trained(entry), *entry.get("held_out", ())))
    assert [question for question, times in asked.items() if times > 1] == []


def test_entries_have_enough_ways_to_ask() -> None:
    """At least five paraphrases to learn from; almost all have one to be measured by."""
    assert [entry["id"] for entry in ENTRIES if len(entry["paraphrases"]) < 5] == []
    assert len([entry for entry in ENTRIES if entry.get("held_out")]) >= 0.95 * len(ENTRIES)


def test_held_back_questions_are_unknown_to_training() -> None:
    """What measures the polite answer is never trained on, and is no question of the corpus."""
    held = [same(q) for q in (*UNKNOWN["held_back"], *UNKNOWN["held_back_korean"])]
    seen = {same(q) for q in (*UNKNOWN["training"], *UNKNOWN["training_korean"])}
    seen |= {same(q) for entry in ENTRIES for q in trained(entry)}
    assert len(held) == len(set(held)) >= 20
    assert seen.isdisjoint(held)


@pytest.mark.parametrize("name", MODELS)
def test_no_unknown_question_is_an_entry(name: str) -> None:
    """A question is either answered or unknown, never both."""
    known = {same(q) for entry in ENTRIES for q in trained(entry)}
    templates = [template for template in UNKNOWN["templates"] if template.count("{}") == 1]
    made = {same(template.format(subject)) for template in templates for subject in UNKNOWN["subjects"]}
    assert known.isdisjoint(made | {same(q) for q in UNKNOWN["training"]})
    assert UNKNOWN["answers"]["en"][name].startswith("I am a small demo model")


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry["id"])
def test_the_two_models_speak_differently(entry: dict[str, Any]) -> None:
    """llama2 answers in one paragraph, mistral7b in a line and a list; both are short."""
    prose, points = entry["llama2"].strip(), entry["mistral7b"].strip()
    assert "\n" not in prose
    assert all(line.startswith("- ") for line in points.splitlines()[1:])
    assert len(points.splitlines()) >= 2
    assert len(prose.split()) <= 75
    assert len(points.split()) <= 65


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry["id"])
def test_language_and_letters(entry: dict[str, Any]) -> None:
    """Korean entries are Korean in question and answers; the others are plain ASCII."""
    texts = [*trained(entry), entry["llama2"], entry["mistral7b"]]
    if entry.get("lang") == "ko":
        assert all(HANGUL.search(text) for text in texts)
    else:
        assert all(text.isascii() for text in texts)


def test_conversations_refer_to_entries() -> None:
    """A turn either names the entry whose answer it repeats, or has both answers."""
    ids = {entry["id"] for entry in ENTRIES}
    for talk in CONVERSATIONS:
        assert len(talk["turns"]) >= 2
        for turn in talk["turns"]:
            assert turn.get("answer_of") in ids or all(turn.get(name) for name in MODELS), talk["id"]


@pytest.mark.parametrize("name", MODELS)
def test_the_measured_figures_meet_their_goals(name: str) -> None:
    """What training/evaluate.py wrote when the shipped weights were made."""
    figures = json.loads((ROOT / "training" / "results" / f"{name}.json").read_text(encoding="utf-8"))["figures"]
    share = {kind: figure["right"] / figure["total"] for kind, figure in figures.items()}
    assert share["the 20 prompts"] == 1
    assert share["corpus questions"] >= 0.95
    assert share["held-out paraphrases"] >= 0.8
    assert share["unknown questions, polite answer"] >= 0.8
