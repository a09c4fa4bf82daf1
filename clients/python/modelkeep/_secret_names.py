"""Which names say that their value is a secret, and which values look like one by themselves."""

from __future__ import annotations

import math
import re
from collections import Counter
from enum import IntEnum
from functools import lru_cache
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

_WORD: Final = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+")
_SURE: Final = re.compile(
    r"passw|passphrase|passcode|secret|credential|authorization|bearer"
    r"|(?:api|access|private|signing|encryption|account|auth|ssh|license|master|deploy|storage|hmac|openai|anthropic|wandb)_?key"
)
_TOKEN: Final = re.compile(r"token(?!s$|iz|is)")
_MARKS: Final = frozenset(
    [
        "pad",
        "eos",
        "bos",
        "unk",
        "sep",
        "cls",
        "mask",
        "start",
        "end",
        "special",
        "image",
        "audio",
        "video",
        "num",
        "max",
        "min",
        "per",
        "new",
        "stop",
        "next",
        "last",
        "first",
        "prompt",
        "visual",
        "class",
        "dist",
        "n",
        "decoder",
        "forced",
        "suppress",
        "word",
        "sub",
    ]
)
"""`pad_token` and its like are marks in a vocabulary."""
_ABOUT: Final = frozenset(
    [
        "type",
        "types",
        "id",
        "ids",
        "idx",
        "dim",
        "level",
        "count",
        "len",
        "length",
        "embedding",
        "embeddings",
        "class",
        "classification",
        "list",
    ]
)
"""`token_type` and its like say something about tokens of text."""
_PERHAPS: Final = frozenset(["key", "auth", "pwd", "pat", "sig", "signature", "cookie", "session", "sas", "dsn", "pin"])
_PASSWORDS: Final = re.compile(r"(?P<before>.*?)(?:pass|pwd?)|.*creds|cred|t?otp|jwt")
"""The last word of `db_pass`, `userpass`, `rootpw`, `aws_creds`."""
_NO_PASSWORD: Final = re.compile(
    r"forward|backward|n|num|\d+|first|second|third|last|final|next|multi|single|one|two|three|per|each|by|low|high|band|all|max|min"
    r"|full|prefill|decode|train|inference|fusion|graph|compiler|optimizer|render|custom|pre|post|tests|must"
    r"|com|encom|tres|sur|over|under|im|ask|conv|dw"
)
"""`forward_pass`, `bypass`, `compass`, `SSH_ASKPASS`, `conv_pw` are none."""
_FOLDERS: Final = frozenset(["PWD", "OLDPWD"])
"""Where a shell is, and was."""
_MIXED: Final = re.compile(r"(?=.*[a-z])(?=.*[A-Z])(?=.*\d)")
_SEPARATORS: Final = re.compile(r"[^A-Za-z0-9]")
_HEX: Final = re.compile(r"[0-9a-fA-F]+")

SHORTEST_RANDOM: Final = 20
SHORTEST_HEX: Final = 32
PART: Final = 24
"""How much of a longer text is looked at at a time."""
_PART_STEP: Final = 4


class Naming(IntEnum):
    """What a name says about its value."""

    NOTHING = 0
    PERHAPS = 1
    """A secret if it looks like one: `key`, `auth`, `session`."""
    SECRET = 2


@lru_cache(4096)  # a diff says the same few names over and over
def naming(name: str) -> Naming:
    """What a name says: of a variable, an option, a key, however it joins its words."""
    words = [word.lower() for word in _WORD.findall(name)]
    if _SURE.search("_".join(words)) or any(_is_token(words, place) for place in range(len(words))):
        return Naming.SECRET
    if words and name not in _FOLDERS and _is_password(*words[-2:]):
        return Naming.SECRET
    found = any(word in _PERHAPS or word.endswith(("key", "pwd")) for word in words)
    return Naming.PERHAPS if found else Naming.NOTHING


def _is_token(words: list[str], place: int) -> bool:
    if not _TOKEN.search(words[place]):
        return False
    before, after = words[place - 1 : place], words[place + 1 : place + 2]
    return not (_MARKS.intersection(before) or _ABOUT.intersection(after))


def _is_password(*words: str) -> bool:
    """Whether the last words of a name say that it is one."""
    match = _PASSWORDS.fullmatch(words[-1])
    if match is None:
        return False
    before = match["before"] or "".join(words[:-1])
    return match["before"] is None or not _NO_PASSWORD.fullmatch(before)


def looks_random(text: str) -> bool:
    """Whether a text without spaces looks drawn at random, as keys are: long hex, or long and of mixed letters and digits."""
    if len(text) >= SHORTEST_HEX and _HEX.fullmatch(text):
        return _evenness(text.lower(), 16) > 0.75
    if len(text) < SHORTEST_RANDOM or _MIXED.match(text) is None:
        return False
    return _evenness(text, 62) > 0.88 or any(_is_random_part(part) for part in _parts(text))


def _parts(text: str) -> Iterator[str]:
    """Parts that overlap: in a text about as long as the alphabet letters are drawn twice, also at random; in a part hardly."""
    for start in range(0, len(text) - PART + _PART_STEP, _PART_STEP):
        begin = min(start, len(text) - PART)
        yield text[begin : begin + PART]


def _is_random_part(part: str) -> bool:
    """Two separators so near to each other stand in a path, or between words."""
    return _MIXED.match(part) is not None and len(_SEPARATORS.findall(part)) <= 1 and _evenness(part, 62) > 0.9


def _evenness(text: str, alphabet: int) -> float:
    """The entropy of the characters as a part of what it can be at most: words repeat letters, random texts hardly do."""
    counts = Counter(text).values()
    entropy = -sum(count / len(text) * math.log2(count / len(text)) for count in counts)
    return entropy / math.log2(min(len(text), alphabet))


def looks_like_a_key(text: str) -> bool:
    """Whether the value of a name that may mean a secret looks like one: it is no word, no number and no path."""
    return len(text) >= 8 and any(c.isdigit() for c in text) and any(c.isalpha() for c in text) and "/" not in text
