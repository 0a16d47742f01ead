"""Which files of a remote model are downloaded."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tritonfleet.errors import SourceError
from tritonfleet.sources.model import METADATA_FILES, Want
from tritonfleet.sources.selection import choose_files


def choose(*names: str, want: Want = "model") -> set[str]:
    """Choose among *names*."""
    return set(choose_files(names, source="hf://org/name", want=want))


def test_safetensors_win_over_pickled_weights() -> None:
    """The same weights are not fetched twice."""
    assert choose("config.json", "model.safetensors", "pytorch_model.bin", "tokenizer.model") == {
        "config.json",
        "model.safetensors",
        "tokenizer.model",
    }


def test_pickled_weights_are_taken_where_there_are_no_others() -> None:
    """Older models have nothing else."""
    assert choose("config.json", "pytorch_model.bin", "training_args.bin", "optimizer.pt") == {
        "config.json",
        "pytorch_model.bin",
    }


def test_consolidated_weights_are_a_copy_unless_alone() -> None:
    """Mistral repositories hold the weights in two layouts."""
    both = choose("config.json", "params.json", "model-1.safetensors", "consolidated.safetensors")
    assert both == {"config.json", "params.json", "model-1.safetensors"}
    assert "consolidated.safetensors" in choose("params.json", "consolidated.safetensors")


def test_other_frameworks_are_left_out() -> None:
    """ONNX, TensorFlow, Flax, the original Llama checkpoint, pictures."""
    names = ["config.json", "model.safetensors", "tokenizer.json", "1_Pooling/config.json"]
    rest = [
        "onnx/model.onnx",
        "original/params.json",
        "tf_model.h5",
        "flax_model.msgpack",
        "a.pth",
        "plot.png",
        ".gitattributes",
    ]
    assert choose(*names, *rest) == set(names)


def test_one_gguf_file_is_the_model_and_several_are_refused() -> None:
    """Which one is meant cannot be guessed."""
    assert choose("README.md", "a.gguf") == {"a.gguf"}
    with pytest.raises(SourceError, match=r"holds 2 .gguf models; name one, for example hf://org/name/a.gguf"):
        choose("a.gguf", "b.gguf")


def test_no_model_names_what_is_there() -> None:
    """The person sees what the place holds."""
    with pytest.raises(SourceError, match=r"no config.json, so it is no model; it holds README.md"):
        choose("README.md")


@given(
    st.lists(
        st.sampled_from(
            ["config.json", "a.safetensors", "b.bin", "c/d.bin", "consolidated.safetensors", "x.gguf", "t.json"]
        )
    )
)
def test_a_choice_is_a_subset_and_keeps_metadata_and_weights(names: list[str]) -> None:
    """Nothing is invented, the config stays, and some weights stay where there were some."""
    names = ["config.json", *names]
    for want in ("model", "adapter", "metadata"):
        chosen = choose(*names, want=want)
        assert chosen <= set(names)
        assert "config.json" in chosen
        if want == "metadata":
            assert chosen <= set(METADATA_FILES)
        elif any("/" not in name and name.endswith((".safetensors", ".bin")) for name in names):
            assert any(name.endswith((".safetensors", ".bin")) for name in chosen)
