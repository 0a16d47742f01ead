"""Raw tensors, against tritonclient's own reading of them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tritonclient.utils import deserialize_bytes_tensor, serialize_byte_tensor

from tritonfleet.client.tensors import pack_bool, pack_text, unpack_texts, unpack_uint32


@given(st.text())
def test_text_is_packed_as_tritonclient_packs_it(text: str) -> None:
    """Triton reads what we pack."""
    assert pack_text(text) == serialize_byte_tensor(np.array([text.encode()], dtype=np.object_)).item()
    assert deserialize_bytes_tensor(pack_text(text))[0].decode() == text


@given(st.lists(st.text()))
def test_texts_come_back(texts: list[str]) -> None:
    """Any number of texts are read back."""
    assert unpack_texts(b"".join(map(pack_text, texts))) == tuple(texts)


@given(st.lists(st.integers(0, 2**32 - 1)))
def test_numbers_come_back(numbers: list[int]) -> None:
    """Numbers are little-endian, as numpy writes them."""
    assert unpack_uint32(np.array(numbers, dtype="<u4").tobytes()) == tuple(numbers)


def test_bool() -> None:
    """A BOOL is one byte."""
    assert (pack_bool(True), pack_bool(False)) == (b"\x01", b"\x00")


@pytest.mark.parametrize("raw", [b"\x05", b"\x05\0\0\0abc"])
def test_cut_off_text(raw: bytes) -> None:
    """A tensor that is cut off is refused, not read short."""
    with pytest.raises(ValueError, match="ends inside"):
        unpack_texts(raw)


def test_cut_off_numbers() -> None:
    """Three bytes are no number."""
    with pytest.raises(ValueError, match="3 bytes"):
        unpack_uint32(b"abc")
