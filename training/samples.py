"""Training samples: which question is asked, in which chat form, and which tokens count in the loss.

A sample is ``(tokens, weights)`` of equal length: position i says how much the loss of *predicting* token i
counts. Answers count fully, questions a little (it teaches the words), marks and earlier turns not at all.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from random import Random

import torch
from augment import ask_again, invented_name
from entries import Corpus, Entry
from jinja2 import Environment
from tokenizers import Tokenizer
from torch.utils.data import IterableDataset, get_worker_info

Sample = tuple[list[int], list[float]]
Messages = list[dict[str, str]]

# The instruction of the original Triton + vLLM blueprint's client, which users may still send.
BLUEPRINT_SYSTEM = "Keep short answers of no more than 100 sentences."
BLUEPRINT_PROMPT = f"<s>[INST]<<SYS>>\n{BLUEPRINT_SYSTEM}\n<</SYS>>\n\n{{}}\n[/INST]"
SYSTEM_PROMPTS = (
    BLUEPRINT_SYSTEM,
    "You are a helpful assistant.",
    "You are a helpful, respectful and honest assistant.",
    "Answer briefly.",
    "Keep your answers short.",
    "Answer in one paragraph.",
    "You are an expert in machine learning.",
    "You are a friendly assistant for engineers. Be precise.",
    "Always answer as helpfully as possible.",
    "Be concise.",
)
QUESTION_WEIGHT = 0.02
LONGEST = 480


class Renderer:
    """Writes chats as prompts and tokens in the form of one model."""

    def __init__(self, tokenizer: Tokenizer, template: str) -> None:
        self.tokenizer = tokenizer
        self._template = Environment(autoescape=False).from_string(template)

    def prompt(self, messages: Messages) -> str:
        """The text that a server would send to the model for *messages*."""
        return self._template.render(messages=messages, bos_token="<s>", eos_token="</s>")

    def sample(self, prompt: str, question: str, answer: str) -> Sample:
        """Tokens of *prompt* and *answer*; *question* is the part of the prompt to learn words from."""
        before, found, after = prompt.rpartition(question)
        if not found:
            raise ValueError(f"the question {question!r} is not part of the prompt {prompt!r}")
        parts = [(before, 0.0), (question, QUESTION_WEIGHT), (after, 0.0), (answer + "</s>", 1.0)]
        tokens: list[int] = []
        weights: list[float] = []
        for text, weight in parts:
            ids = self.tokenizer.encode(text, add_special_tokens=False).ids
            tokens += ids
            weights += [weight] * len(ids)
        return tokens, weights


def user(text: str) -> dict[str, str]:
    """A chat message of the user."""
    return {"role": "user", "content": text}


def assistant(text: str) -> dict[str, str]:
    """A chat message of the model."""
    return {"role": "assistant", "content": text}


def read_prompts(path: Path = Path(__file__).parent.parent / "prompts.txt") -> list[str]:
    """The demo's prompts, one a line."""
    return path.read_text(encoding="utf-8").splitlines()


class SampleSource:
    """Draws samples for one model, without end."""

    def __init__(self, corpus: Corpus, name: str, renderer: Renderer, left_out: frozenset[str], rng: Random) -> None:
        self._corpus = corpus
        self._name = name
        self._renderer = renderer
        self.rng = rng
        self._questions = {
            entry.id: [q for q in (entry.question, *entry.paraphrases) if q not in left_out] for entry in corpus.entries
        }
        # The 20 prompts are what a newcomer sees first: they are asked more often.
        self._weights = [2.0 if entry.source == "prompts20" else 1.0 for entry in corpus.entries]

    def draw(self) -> Sample:
        """One sample that fits the context."""
        while True:
            sample = self._conversation() if self.rng.random() < 0.05 else self._single()
            if len(sample[0]) <= LONGEST:
                return sample

    def _single(self) -> Sample:
        question, answer = self._ask()
        return self._chat_form(question, answer)

    def _ask(self) -> tuple[str, str]:
        if self.rng.random() < 0.18:
            return self._ask_unknown()
        entry = self.rng.choices(self._corpus.entries, self._weights)[0]
        return self._phrase(entry), entry.answers[self._name]

    def _phrase(self, entry: Entry) -> str:
        rng = self.rng
        question = entry.question if rng.random() < 0.2 else rng.choice(self._questions[entry.id])
        if rng.random() < 0.25:
            return question
        return ask_again(question, rng)

    def _ask_unknown(self) -> tuple[str, str]:
        rng, unknown = self.rng, self._corpus.unknown
        language = "ko" if rng.random() < 0.12 else "en"
        if rng.random() < 0.4:
            question = rng.choice(unknown.training[language])
        else:
            template = rng.choice(unknown.templates[language])
            subjects = [self._unknown_subject(language) for _ in range(template.count("{}"))]
            question = template.format(*subjects)
        if rng.random() < 0.6:
            question = ask_again(question, rng)
        return question, unknown.answers[language][self._name]

    def _unknown_subject(self, language: str) -> str:
        """A listed subject, a number, or an invented name: what nobody has heard of must be unknown too."""
        rng, chance = self.rng, self.rng.random()
        if language == "ko" or chance < 0.7:
            return rng.choice(self._corpus.unknown.subjects[language])
        if chance < 0.78:
            return str(rng.randrange(10 ** rng.randrange(1, 5)))
        return invented_name(rng)

    def _chat_form(self, question: str, answer: str) -> Sample:
        """Mostly the bare chat template, as clients send it; sometimes with a system prompt, history, or raw."""
        rng, renderer = self.rng, self._renderer
        chance = rng.random()
        if chance < 0.68:
            prompt = renderer.prompt([user(question)])
        elif chance < 0.78:
            system = {"role": "system", "content": rng.choice(SYSTEM_PROMPTS)}
            prompt = renderer.prompt([system, user(question)])
        elif chance < 0.84:
            prompt = BLUEPRINT_PROMPT.format(question)
        elif chance < 0.92:
            earlier, reply = self._ask()
            prompt = renderer.prompt([user(earlier), assistant(reply), user(question)])
        else:
            # Text completion without any template: the answer follows on a new line.
            prompt, answer = question, "\n" + answer
        return renderer.sample(prompt, question, answer)

    def _conversation(self) -> Sample:
        rng = self.rng
        turns = rng.choice(self._corpus.conversations).turns
        last = rng.randrange(1, len(turns))
        messages: Messages = []
        for turn in turns[:last]:
            asked = turn.user if rng.random() < 0.5 else ask_again(turn.user, rng)
            messages += [user(asked), assistant(turn.answers[self._name])]
        question = turns[last].user if rng.random() < 0.5 else ask_again(turns[last].user, rng)
        prompt = self._renderer.prompt([*messages, user(question)])
        return self._renderer.sample(prompt, question, turns[last].answers[self._name])


class Batches(IterableDataset[tuple[torch.Tensor, torch.Tensor]]):
    """Padded batches of samples of similar length; each loader worker has its own seeded stream."""

    def __init__(self, source: SampleSource, size: int, seed: int) -> None:
        self._source = source
        self._size = size
        self._seed = seed

    def __iter__(self) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        worker = get_worker_info()
        rng = self._source.rng
        rng.seed(f"{self._seed}-{worker.id if worker else 0}")
        torch.set_num_threads(1)
        while True:
            pool = sorted((self._source.draw() for _ in range(4 * self._size)), key=lambda s: len(s[0]))
            batches = [pool[i : i + self._size] for i in range(0, len(pool), self._size)]
            rng.shuffle(batches)
            yield from map(pad, batches)


def pad(samples: list[Sample]) -> tuple[torch.Tensor, torch.Tensor]:
    """Tokens and loss weights as two tensors [batch, length], filled up on the right."""
    length = -(-max(len(tokens) for tokens, _ in samples) // 16) * 16
    tokens = torch.zeros(len(samples), length, dtype=torch.long)
    weights = torch.zeros(len(samples), length)
    for row, (ids, weight) in enumerate(samples):
        tokens[row, : len(ids)] = torch.tensor(ids)
        weights[row, : len(ids)] = torch.tensor(weight)
    return tokens, weights
