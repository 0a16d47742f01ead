"""Measure a demo model: greedy answers compared word for word with the corpus.

    python training/evaluate.py src/tritonfleet/demo/models/llama2
    python training/evaluate.py src/tritonfleet/demo/models/llama2 --url http://127.0.0.1:8100

Without --url the weights run in transformers; with it, an OpenAI-compatible server is asked.
"""

from __future__ import annotations

import argparse
import asyncio
import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import torch
from entries import Corpus, load_corpus
from samples import BLUEPRINT_PROMPT, BLUEPRINT_SYSTEM, Renderer, assistant, read_prompts, user
from tokenizers import Tokenizer
from transformers import AutoModelForCausalLM, PreTrainedModel

LONGEST_ANSWER = 256
Answer = Callable[[list[str]], list[str]]


@dataclass(frozen=True)
class Case:
    """A prompt as the model sees it, and the right answer."""

    label: str
    prompt: str
    expected: str


@dataclass(frozen=True)
class Figure:
    """How many cases of one kind were right, what the project asks for, and what went wrong."""

    name: str
    right: int
    total: int
    goal: float
    wrong: tuple[tuple[str, str], ...]

    @property
    def share(self) -> float:
        """Right answers as a fraction of all, 0 to 1."""
        return self.right / max(self.total, 1)

    def __str__(self) -> str:
        goal = f"goal {self.goal:.0%}" if self.goal else "no goal"
        verdict = "" if self.share >= self.goal else "  MISSED"
        return f"{self.name:32} {self.right:5} of {self.total:5}  {self.share:7.1%}  {goal}{verdict}"


def plain(text: str) -> str:
    """*text* with every run of blanks as one space."""
    return " ".join(text.split())


def all_cases(corpus: Corpus, name: str, renderer: Renderer) -> dict[tuple[str, float], list[Case]]:
    """Every measured kind with its goal, and its cases."""

    def chat(question: str) -> str:
        return renderer.prompt([user(question)])

    answer_of = {entry.question: entry.answers[name] for entry in corpus.entries}
    prompts = read_prompts()
    system = {"role": "system", "content": BLUEPRINT_SYSTEM}
    entries = corpus.entries
    unknown = [
        Case(question, chat(question), corpus.unknown.answers[language][name])
        for language, questions in corpus.unknown.held_back.items()
        for question in questions
    ]
    return {
        ("the 20 prompts", 1.0): [Case(p, chat(p), answer_of[p]) for p in prompts],
        ("... with a system prompt", 0.95): [
            Case(p, renderer.prompt([system, user(p)]), answer_of[p]) for p in prompts
        ],
        ("... as the original blueprint sends", 0.95): [
            Case(p, BLUEPRINT_PROMPT.format(p), answer_of[p]) for p in prompts
        ],
        ("... as raw text", 0.95): [Case(p, p, answer_of[p]) for p in prompts],
        ("corpus questions", 0.95): [Case(e.question, chat(e.question), e.answers[name]) for e in entries],
        ("their paraphrases", 0.95): [Case(q, chat(q), e.answers[name]) for e in entries for q in e.paraphrases],
        ("held-out paraphrases", 0.8): [Case(q, chat(q), e.answers[name]) for e in entries for q in e.held_out],
        ("Korean questions", 0.95): [
            Case(e.question, chat(e.question), e.answers[name]) for e in entries if e.language == "ko"
        ],
        ("turns of conversations", 0.95): list(conversation_cases(corpus, name, renderer)),
        ("unknown questions, polite answer", 0.8): unknown,
    }


def conversation_cases(corpus: Corpus, name: str, renderer: Renderer) -> Iterable[Case]:
    """Each turn after the first, with the right answers before it."""
    for conversation in corpus.conversations:
        messages = []
        for number, turn in enumerate(conversation.turns):
            messages.append(user(turn.user))
            if number:
                yield Case(f"{conversation.id}: {turn.user}", renderer.prompt(messages), turn.answers[name])
            messages.append(assistant(turn.answers[name]))


def measure(name: str, goal: float, cases: list[Case], answer: Answer) -> Figure:
    """Ask every case and compare, white space apart."""
    given = answer([case.prompt for case in cases])
    wrong = tuple(
        (case.label, text) for case, text in zip(cases, given, strict=True) if plain(text) != plain(case.expected)
    )
    return Figure(name, len(cases) - len(wrong), len(cases), goal, wrong)


class LocalAnswers:
    """Greedy answers from weights in memory."""

    def __init__(self, model: PreTrainedModel, tokenizer: Tokenizer, batch: int = 1024) -> None:
        self._model = model.eval()
        self._tokenizer = tokenizer
        self._batch = batch

    def __call__(self, prompts: list[str]) -> list[str]:
        """The answers in the order of *prompts*."""
        order = sorted(range(len(prompts)), key=lambda i: len(prompts[i]))
        answers = [""] * len(prompts)
        for start in range(0, len(order), self._batch):
            chosen = order[start : start + self._batch]
            for index, text in zip(chosen, self._generate([prompts[i] for i in chosen]), strict=True):
                answers[index] = text
        return answers

    @torch.inference_mode()
    def _generate(self, prompts: list[str]) -> list[str]:
        rows = [self._tokenizer.encode(prompt, add_special_tokens=False).ids for prompt in prompts]
        length = max(map(len, rows))
        device = self._model.device
        tokens = torch.tensor([[0] * (length - len(row)) + row for row in rows], device=device)
        mask = torch.tensor([[0] * (length - len(row)) + [1] * len(row) for row in rows], device=device)
        output = self._model.generate(
            tokens, attention_mask=mask, do_sample=False, temperature=None, top_k=None, max_new_tokens=LONGEST_ANSWER
        )
        return [self._tokenizer.decode(row, skip_special_tokens=True) for row in output[:, length:].tolist()]


class ServedAnswers:
    """Greedy answers from an OpenAI-compatible completions endpoint."""

    def __init__(self, url: str, model: str, concurrency: int = 16) -> None:
        self._url = f"{url.rstrip('/')}/v1/completions"
        self._model = model
        self._concurrency = concurrency

    def __call__(self, prompts: list[str]) -> list[str]:
        """The answers in the order of *prompts*."""
        return asyncio.run(self._all(prompts))

    async def _all(self, prompts: list[str]) -> list[str]:
        import aiohttp

        limit = asyncio.Semaphore(self._concurrency)
        timeout = aiohttp.ClientTimeout(total=300)
        async with aiohttp.ClientSession(timeout=timeout, raise_for_status=True) as session:

            async def one(prompt: str) -> str:
                body = {
                    "model": self._model,
                    "prompt": prompt,
                    "temperature": 0,
                    "max_tokens": LONGEST_ANSWER,
                    "add_special_tokens": False,
                }
                async with limit, session.post(self._url, json=body) as response:
                    return (await response.json())["choices"][0]["text"]

            return await asyncio.gather(*map(one, prompts))


def main() -> int:
    """Print one line per kind; exit 1 when a goal is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", type=Path, help="folder of the model, named llama2 or mistral7b")
    parser.add_argument("--name", help="llama2 or mistral7b, when the folder has another name")
    parser.add_argument("--url", help="ask this server instead of loading the weights")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--only", help="measure only the kinds whose name contains this")
    parser.add_argument("--wrong", action="store_true", help="print every wrong answer")
    parser.add_argument("--json", type=Path, help="also write the figures to this file")
    options = parser.parse_args()

    name = options.name or options.checkpoint.resolve().name
    tokenizer = Tokenizer.from_file(str(options.checkpoint / "tokenizer.json"))
    template = json.loads((options.checkpoint / "tokenizer_config.json").read_text(encoding="utf-8"))["chat_template"]
    answer: Answer
    if options.url:
        answer = ServedAnswers(options.url, name)
    else:
        model = AutoModelForCausalLM.from_pretrained(options.checkpoint, dtype=torch.bfloat16)
        answer = LocalAnswers(model.to(options.device), tokenizer)
    figures = []
    for (kind, goal), cases in all_cases(load_corpus(), name, Renderer(tokenizer, template)).items():
        if options.only and options.only not in kind:
            continue
        figures.append(measure(kind, goal, cases, answer))
        print(figures[-1], flush=True)
        for label, text in figures[-1].wrong if options.wrong else ():
            print(f"    {label!r} -> {plain(text)[:90]!r}")
    if options.json:
        numbers = {figure.name: {"right": figure.right, "total": figure.total} for figure in figures}
        options.json.write_text(json.dumps({"model": name, "figures": numbers}, indent=2) + "\n", encoding="utf-8")
    return 0 if all(figure.share >= figure.goal for figure in figures) else 1


if __name__ == "__main__":
    raise SystemExit(main())
