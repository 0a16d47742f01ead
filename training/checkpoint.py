"""What a demo checkpoint is made of: tokenizer, model configuration, chat template, and how they are written.

Not for the weights' values: train.py makes those.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

import torch
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import LlamaConfig, LlamaForCausalLM, MistralConfig, MistralForCausalLM, PreTrainedModel

HERE = Path(__file__).parent
MODELS = ("llama2", "mistral7b")
UNK, BOS, EOS = "<unk>", "<s>", "</s>"
MARKS = ("[INST]", "[/INST]", "<<SYS>>", "<</SYS>>")
VOCABULARY = 4096
CONTEXT = 1024
SLIDING_WINDOW = 256

# 5.4 million parameters, 10.9 MB in bf16; the embedding is shared with the output layer.
SHAPE = {
    "vocab_size": VOCABULARY,
    "hidden_size": 256,
    "intermediate_size": 704,
    "num_hidden_layers": 6,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 64,
    "max_position_embeddings": CONTEXT,
    "tie_word_embeddings": True,
    "attention_dropout": 0.0,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "pad_token_id": 0,
}

# Low temperature: a request that names no sampling parameters should get the answer that was trained.
GENERATION = {
    "bos_token_id": 1,
    "eos_token_id": 2,
    "pad_token_id": 0,
    "do_sample": True,
    "temperature": 0.1,
    "top_k": 20,
}


def train_tokenizer(texts: Iterable[str]) -> Tokenizer:
    """Byte-level BPE over *texts*: any input can be encoded, and nothing is ever unknown.

    There is no post-processor: BOS comes only from the chat template, so it cannot be doubled by a server
    that adds special tokens. The chat marks swallow the blanks around them: ``[INST] hi [/INST]`` and
    ``[INST]hi\\n[/INST]`` are the same tokens.
    """
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        min_frequency=2,
        special_tokens=[UNK, BOS, EOS],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    # Room for the chat marks, which are added after the merges.
    trainer.vocab_size = VOCABULARY - len(MARKS)
    tokenizer.train_from_iterator(texts, trainer)
    tokenizer.add_special_tokens([AddedToken(mark, lstrip=True, rstrip=True, special=True) for mark in MARKS])
    return tokenizer


def build_model(name: str) -> PreTrainedModel:
    """A model with random float32 weights; seed torch first for the same weights again."""
    if name == "llama2":
        return LlamaForCausalLM(LlamaConfig(**SHAPE))
    return MistralForCausalLM(MistralConfig(**SHAPE, sliding_window=SLIDING_WINDOW))


def write_json(path: Path, value: object) -> None:
    """Write *value* as indented JSON, Korean text readable."""
    path.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def tokenizer_config(name: str) -> dict[str, object]:
    """tokenizer_config.json: the special tokens and the chat template of model *name*."""
    return {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": BOS,
        "eos_token": EOS,
        "unk_token": UNK,
        "pad_token": UNK,
        "additional_special_tokens": list(MARKS),
        "add_bos_token": False,
        "add_eos_token": False,
        "clean_up_tokenization_spaces": False,
        "model_max_length": CONTEXT,
        "chat_template": (HERE / "templates" / f"{name}.jinja").read_text(encoding="utf-8"),
    }


def save(folder: Path, name: str, model: PreTrainedModel, tokenizer: Tokenizer) -> None:
    """Write a complete Hugging Face checkpoint with bf16 weights into *folder*."""
    folder.mkdir(parents=True, exist_ok=True)
    model.to(torch.bfloat16).save_pretrained(folder)
    (folder / "model.safetensors").chmod(0o644)
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    # What readers older than transformers 5 look for.
    config |= {"torch_dtype": "bfloat16", "rope_theta": config["rope_parameters"]["rope_theta"]}
    write_json(folder / "config.json", config)
    tokenizer.save(str(folder / "tokenizer.json"))
    write_json(folder / "tokenizer_config.json", tokenizer_config(name))
    write_json(
        folder / "special_tokens_map.json",
        {"bos_token": BOS, "eos_token": EOS, "unk_token": UNK, "pad_token": UNK},
    )
    write_json(folder / "generation_config.json", GENERATION)
    card = HERE / "cards" / f"{name}.md"
    if card.exists():
        (folder / "README.md").write_text(card.read_text(encoding="utf-8"), encoding="utf-8")
