"""KServe v2 tensors as the raw bytes that travel over gRPC, for the few types that a text model uses. Pure."""

from __future__ import annotations

import struct

_LENGTH = struct.Struct("<I")


def pack_text(text: str) -> bytes:
    """Return a BYTES tensor of one element: its length in 4 little-endian bytes, then UTF-8."""
    data = text.encode()
    return _LENGTH.pack(len(data)) + data


def unpack_texts(raw: bytes) -> tuple[str, ...]:
    """Return the elements of a BYTES tensor; raise ValueError if *raw* is cut off."""
    texts = []
    position = 0
    while position < len(raw):
        start = position + _LENGTH.size
        if start > len(raw):
            raise ValueError("a BYTES tensor ends inside a length")
        position = start + _LENGTH.unpack_from(raw, position)[0]
        if position > len(raw):
            raise ValueError("a BYTES tensor ends inside an element")
        texts.append(raw[start:position].decode(errors="replace"))
    return tuple(texts)


def pack_bool(value: bool) -> bytes:
    """Return a BOOL tensor of one element."""
    return b"\x01" if value else b"\x00"


def unpack_uint32(raw: bytes) -> tuple[int, ...]:
    """Return the elements of a UINT32 tensor; raise ValueError if *raw* is cut off."""
    if len(raw) % 4:
        raise ValueError(f"a UINT32 tensor cannot have {len(raw)} bytes")
    return struct.unpack(f"<{len(raw) // 4}I", raw)
