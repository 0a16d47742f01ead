"""Train a demo model from random weights and write it as a Hugging Face checkpoint.

    python training/train.py llama2 --out src/tritonfleet/demo/models/llama2

Seeded: the same versions of torch, tokenizers and corpus on the same kind of device give weights of the same
quality (GPU sums are not bit-exact). A GPU needs minutes; a CPU needs hours, see --steps.
"""

from __future__ import annotations

import argparse
import contextlib
import copy
import json
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from random import Random

import torch
import torch.nn.functional as F  # noqa: N812 (the name that PyTorch's own examples use)
from checkpoint import MODELS, build_model, save, tokenizer_config, train_tokenizer
from entries import Corpus, load_corpus
from evaluate import Case, LocalAnswers, measure
from samples import Batches, Renderer, SampleSource, user
from torch.utils.data import DataLoader
from transformers import PreTrainedModel


@dataclass(frozen=True)
class Recipe:
    """The numbers of one training run."""

    steps: int = 2400
    batch: int = 256
    learning_rate: float = 1.5e-3
    warmup: int = 300
    weight_decay: float = 0.1
    dropout: float = 0.2
    average: float = 0.998
    seed: int = 20
    workers: int = 6

    def rate(self, step: int) -> float:
        """Learning rate at *step*: linear warm-up, then a cosine down to a fiftieth."""
        if step < self.warmup:
            return self.learning_rate * (step + 1) / self.warmup
        done = (step - self.warmup) / max(self.steps - self.warmup, 1)
        return self.learning_rate * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * done)))


def validation_questions(corpus: Corpus) -> frozenset[str]:
    """The second paraphrase of every fourth entry: left out of training to choose the checkpoint by."""
    return frozenset(entry.paraphrases[1] for entry in corpus.entries[::4])


@contextlib.contextmanager
def dropout(model: PreTrainedModel, rate: float) -> Iterator[None]:
    """Drop out values of the embeddings and of every attention and feed-forward output while active.

    The Llama and Mistral classes have no such setting, so it is added from outside and leaves no trace.
    """

    def drop(_module: object, _inputs: object, output: torch.Tensor | tuple[torch.Tensor, ...]) -> object:
        if isinstance(output, tuple):
            return (F.dropout(output[0], rate), *output[1:])
        return F.dropout(output, rate)

    parts = [model.model.embed_tokens]
    for layer in model.model.layers:
        parts += [layer.self_attn, layer.mlp]
    handles = [part.register_forward_hook(drop) for part in parts]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def loss_of(model: PreTrainedModel, tokens: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """Weighted mean of the cross-entropy of each counted token.

    Padding is on the right and attention is causal, so no mask is needed. Only counted positions meet the
    output layer, which saves most of its work.
    """
    hidden = model.model(input_ids=tokens[:, :-1], use_cache=False).last_hidden_state
    targets, weights = tokens[:, 1:], weights[:, 1:]
    counted = weights > 0
    losses = F.cross_entropy(model.lm_head(hidden[counted]).float(), targets[counted], reduction="none")
    return (losses * weights[counted]).sum() / weights[counted].sum()


def parameter_groups(model: PreTrainedModel, decay: float) -> list[dict[str, object]]:
    """Weight decay for matrices only, not for the scales of the norms."""
    matrices = [p for p in model.parameters() if p.dim() >= 2]
    scales = [p for p in model.parameters() if p.dim() < 2]
    return [{"params": matrices, "weight_decay": decay}, {"params": scales, "weight_decay": 0.0}]


def fit(
    model: PreTrainedModel,
    batches: Iterator[tuple[torch.Tensor, torch.Tensor]],
    recipe: Recipe,
    score: Callable[[PreTrainedModel], float],
) -> PreTrainedModel:
    """Train *model* and return the averaged weights that scored best in the last third of the run."""
    device = model.device
    averaged = copy.deepcopy(model)
    best, best_score = averaged, -1.0
    optimizer = torch.optim.AdamW(
        parameter_groups(model, recipe.weight_decay), betas=(0.9, 0.98), fused=device.type == "cuda"
    )
    started = time.monotonic()
    for step in range(recipe.steps):
        tokens, weights = (tensor.to(device, non_blocking=True) for tensor in next(batches))
        for group in optimizer.param_groups:
            group["lr"] = recipe.rate(step)
        with torch.autocast(device.type, torch.bfloat16), dropout(model, recipe.dropout):
            loss = loss_of(model, tokens, weights)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        # A young average would remember the random start for long.
        keep = min(recipe.average, (step + 1) / (step + 10))
        with torch.no_grad():
            torch._foreach_lerp_(list(averaged.parameters()), list(model.parameters()), 1 - keep)
        done, part = step + 1, max(recipe.steps // 12, 1)
        if done % part == 0:
            print(f"step {done:6}  loss {loss.item():.4f}  {time.monotonic() - started:.0f} s", flush=True)
        if done == recipe.steps or (done % part == 0 and done >= recipe.steps * 2 // 3):
            value = score(averaged)
            print(f"step {done:6}  validation {value:.1%}  {time.monotonic() - started:.0f} s", flush=True)
            if value >= best_score:
                best, best_score = copy.deepcopy(averaged), value
    return best


def train(name: str, recipe: Recipe, device: str) -> tuple[PreTrainedModel, object]:
    """The trained model *name* on the CPU, and its tokenizer."""
    torch.manual_seed(recipe.seed)
    corpus = load_corpus()
    tokenizer = train_tokenizer(corpus.texts())
    renderer = Renderer(tokenizer, str(tokenizer_config(name)["chat_template"]))
    held = validation_questions(corpus)
    cases = [
        Case(question, renderer.prompt([user(question)]), entry.answers[name])
        for entry in corpus.entries
        for question in entry.paraphrases
        if question in held
    ]

    def score(model: PreTrainedModel) -> float:
        # Measured on bf16 weights, because those are what ships.
        shipped = copy.deepcopy(model).to(torch.bfloat16)
        return measure("validation", 0.0, cases, LocalAnswers(shipped, tokenizer, batch=512)).share

    source = SampleSource(corpus, name, renderer, held, Random(recipe.seed))
    loader = DataLoader(
        Batches(source, recipe.batch, recipe.seed),
        batch_size=None,
        num_workers=recipe.workers,
        pin_memory=device == "cuda",
        prefetch_factor=8 if recipe.workers else None,
    )
    model = build_model(name).to(device)
    return fit(model, iter(loader), recipe, score).cpu(), tokenizer


def main() -> None:
    """Train one model and save it."""
    defaults = Recipe()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", choices=MODELS)
    parser.add_argument("--out", type=Path, required=True, help="folder for the checkpoint")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    for field, value in vars(defaults).items():
        parser.add_argument(f"--{field.replace('_', '-')}", type=type(value), default=value)
    options = vars(parser.parse_args())
    name, out, device = (options.pop(key) for key in ("model", "out", "device"))
    recipe = Recipe(**options)
    print(json.dumps({"model": name, "device": device, **vars(recipe)}))
    model, tokenizer = train(name, recipe, device)
    save(out, name, model, tokenizer)


if __name__ == "__main__":
    main()
