"""A toy tokenizer: a token is a short run of letters, a mark or a space, with the blanks before it.

The ids depend on the text alone, so every fake engine gives the same ones.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterable

_TOKEN = re.compile(r"\s*\w{1,8}|\s*[^\w\s]|\s+")
#: Ids below this one are special; END is the only one in use.
_FIRST_ID = 16
_IDS = 2**31 - _FIRST_ID
#: Id of the token that ends an answer.
END = 2


class Vocabulary:
    """Turns text into tokens and the ids it has seen back into text."""

    def __init__(self) -> None:
        self._texts: dict[int, str] = {}

    def split(self, text: str) -> list[str]:
        """Return the tokens of *text*; joined they are *text* again."""
        return _TOKEN.findall(text)

    def id_of(self, token: str) -> int:
        """Return the id of *token* and remember it."""
        identity = _FIRST_ID + zlib.crc32(token.encode("utf-8", "surrogatepass")) % _IDS
        self._texts[identity] = token
        return identity

    def encode(self, text: str) -> list[int]:
        """Return the ids of the tokens of *text*."""
        return [self.id_of(token) for token in self.split(text)]

    def text_of(self, identity: int) -> str:
        """Return the token behind an id; one that was never seen reads ``<id>``."""
        return self._texts.get(identity, f"<{identity}>")

    def decode(self, ids: Iterable[int]) -> str:
        """Return the text of *ids*."""
        return "".join(self.text_of(identity) for identity in ids)
