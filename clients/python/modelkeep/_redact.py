"""Text without secrets: what a run tells about its code and its call passes through here.

Too much is hidden rather than too little: the values of the secrets in the environment, whatever reads like a known kind of
key, what a name such as `password` is set to, the credentials and signatures of URLs, private keys, and long random texts.
"""

from __future__ import annotations

import json
import os
import re
from collections import defaultdict
from itertools import count
from typing import TYPE_CHECKING, Any, Final, Self
from urllib.parse import quote, unquote, urlsplit, urlunsplit

from modelkeep._secret_lines import HIDDEN, LITERAL, Below, lines_of, parts_of
from modelkeep._secret_names import Naming, looks_like_a_key, looks_random, naming

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

LONGEST_LINE: Final = 10_000
"""A longer line is data, such as a picture in a notebook; it is left out."""
SHORTEST_KNOWN: Final = 6
"""Shorter values of the environment are found everywhere."""

_KINDS: Final = re.compile(
    r"\b(?:gh[pousr]_\w{16,}|github_pat_\w{16,}|glpat-[\w-]{16,}|hf_[A-Za-z0-9]{16,}|sk-[\w-]{16,}|[rs]k_(?:live|test)_\w{10,}"
    r"|(?:AKIA|ASIA)[0-9A-Z]{16}|AIza[\w-]{30,}|ya29\.[\w-]{16,}|xox[a-z]-[\w-]{10,}|npm_\w{30,}|pypi-[\w-]{16,}|dop_v1_\w{16,}"
    r"|SG\.[\w-]{10,}\.[\w-]{10,}|mk_\w{16,}|eyJ[\w-]{8,}\.[\w-]{8,}\.[\w-]*)"
)
_PRIVATE_KEY: Final = re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----")
_PRIVATE_KEY_END: Final = re.compile(r"-----END [A-Z ]*PRIVATE KEY-----")
_USERINFO: Final = re.compile(r"(?P<scheme>(?<![A-Za-z0-9+.-])[A-Za-z0-9+.-]++://)(?!git@)[^\s/\"'<>]+@")
_QUERY: Final = re.compile(r"(?P<name>[?&;][\w.~-]+=)(?P<value>[^&;\s\"'<>#]+)")
_SIGNED: Final = frozenset({"sig", "signature", "awsaccesskeyid", "googleaccessid", "x-amz-credential", "x-goog-credential"})
_HEADER: Final = re.compile(
    r"(?i)(?P<name>\bauthorization[\"']?\s*[:=]\s*[\"']?(?:\w+\s+)?|\b(?:bearer|basic)\s+)(?P<value>[\w.~+/=-]{8,})"
)
_SHORT_HEADER: Final = re.compile(
    r"(?i)(?P<name>\bauthorization[\"']?\s*[:=]\s*[\"']?(?:bearer|basic|token|apikey)\s+)(?P<value>[\w.~+/=-]+)"
)
_NAME: Final = r"(?<![\w.])(?P<name>[A-Za-z_][\w.-]{0,99}+)[\"']?\]?\s*+"
_IN_CODE: Final = re.compile(rf"{_NAME}(?:(?::\s*[\w.\[\], |]+?)?\s*(?::=|==?|!=)|:|=>)\s*\(?\s*(?P<value>{LITERAL})")
_IN_TEXT: Final = re.compile(rf"{_NAME}(?:=>|=|:)\s*(?P<value>{LITERAL}|[^\s\"',;]+)")
_OPTION: Final = re.compile(rf"(?<!\S)(?P<name>--?[A-Za-z][\w-]*+)\s++(?P<value>{LITERAL}|[^\s\"',;-][^\s\"',;]*)")
"""`train --token …`, in one text"""
_FALLBACK: Final = re.compile(
    rf"[\"'](?P<name>[A-Z][A-Z0-9_]+|--?[\w-]+)[\"']\s*,(?:[^,]{{0,200}},){{0,5}}?\s*(?:default\s*=\s*)?(?P<value>{LITERAL})"
)
"""`getenv("API_KEY", "…")`, `add_argument("--token", default="…")`"""
_LONG: Final = re.compile(r"[A-Za-z0-9+/_=-]{20,}")
_DIGEST: Final = re.compile(
    r"(?i)(?:sha-?\d*|md5|hash|digest|checksum|commit|rev|revision|ref|etag|index|integrity)"
    r"[\"'\]]?\s*[:=@ ,(-]+\s*[\"']?(?:sha\d+[:-])?$"
)
"""What stands before a digest, which is no secret."""
_CUT: Final = "\0cut\n"
_PATCHED: Final = re.compile(r"(?:\+\+\+|---) (?:[ab]/)?(?P<path>.*)")
_WRITTEN_BY_GIT: Final = re.compile(
    r"diff |index |--- |\+\+\+ |(?:old|new|deleted file|new file) mode |(?:dis)?similarity index "
    r"|(?:rename|copy) (?:from|to) |Binary files |Submodule |\\ "
)
_HUNK: Final = re.compile(r"@@[^@]*@@ ?")
"""What git writes; behind it stands a line of the file, the nearest one above that looks like a heading."""
_CODE: Final = (
    ".py",
    ".pyi",
    ".ipynb",
    ".js",
    ".ts",
    ".tsx",
    ".go",
    ".rs",
    ".java",
    ".c",
    ".h",
    ".cc",
    ".cpp",
    ".cu",
    ".kt",
    ".scala",
)


class Redactor:
    """Hides secrets in texts."""

    def __init__(self, known: Iterable[str] = ()) -> None:
        """`known` are values that are secrets for sure."""
        values = {form for value in known if len(value) >= SHORTEST_KNOWN for form in (value, quote(value, safe=""))}
        longest_first = sorted(values, key=len, reverse=True)
        self._known = re.compile("|".join(map(re.escape, longest_first))) if values else None
        self._alike: defaultdict[str, defaultdict[str, int]] = defaultdict(lambda: defaultdict(count(1).__next__))
        """The keys that had a secret, by what is left of them, each with its number."""

    @classmethod
    def of_process(cls, *known: str) -> Self:
        """One that knows the secrets in the environment, and some more."""
        return cls((*known, *secrets_in(os.environ)))

    def arguments(self, arguments: Sequence[str]) -> list[str]:
        """A command line: an option that names a secret keeps its name alone."""
        done: list[str] = []
        option = ""
        for argument in arguments:
            done.append(self._argument(argument, option))
            option = argument if _is_option(argument) else ""
        return done

    def _argument(self, argument: str, option: str) -> str:
        if option and not argument.startswith("--") and _is_named(option, argument):
            return HIDDEN
        name, equals, value = argument.partition("=")
        if equals and re.fullmatch(r"[+~]*-*[\w.@/-]+", name) and "://" not in name and _is_named(name, value):
            return f"{name}={HIDDEN}"
        if option and _DIGEST.search(option + " "):
            return self.plain(argument)
        return self._line(argument, is_code=False)

    def text(self, text: str, *, is_code: bool) -> str:
        """A file. In code only what stands in quotes can be a value."""
        return "".join(self._lines(lines_of(text), is_code=is_code))

    def patch(self, text: str) -> str:
        """A patch: what git writes about files stays as it is."""
        return "".join(self._patch_lines(parts_of(text)))

    def _patch_lines(self, lines: Iterable[tuple[str, bool]]) -> Iterator[str]:
        is_code, in_key, below = True, False, Below(is_code=True)
        for line, is_changed in lines:
            if not is_changed:
                begins = _PATCHED.match(line)
                if begins is not None:
                    is_code = begins["path"].rstrip().rstrip('"').endswith(_CODE)
                in_key, below = False, Below(is_code=is_code)
                hunk = _HUNK.match(line)
                if hunk is not None:
                    yield hunk[0] + self._line(below.take(line[hunk.end() :]), is_code=is_code)
                else:
                    yield self.plain(line) if _WRITTEN_BY_GIT.match(line) else self._line(line, is_code=False)
                continue
            in_key = self._is_in_key(line, in_key)
            if in_key or _PRIVATE_KEY_END.search(line):
                yield f"{line[:1]}{HIDDEN}\n"
            else:
                yield line[:1] + self._line(below.take(line[1:]), is_code=is_code)

    def _lines(self, lines: Iterable[str], *, is_code: bool) -> Iterator[str]:
        in_key, below = False, Below(is_code=is_code)
        for line in lines:
            in_key = self._is_in_key(line, in_key)
            is_hidden = in_key or _PRIVATE_KEY_END.search(line)
            yield f"{HIDDEN}\n" if is_hidden else self._line(below.take(line), is_code=is_code)

    @staticmethod
    def _is_in_key(line: str, was: bool) -> bool:
        begin, end = _PRIVATE_KEY.search(line), _PRIVATE_KEY_END.search(line)
        return (was or begin is not None) and end is None

    def _line(self, line: str, *, is_code: bool) -> str:
        end = "\n" if line.endswith("\n") else ""  # it stays, also behind a quote that nothing closes
        if len(line) > LONGEST_LINE:
            return f"{HIDDEN} (a line of {len(line)} characters){end}"
        line = self.plain(line.removesuffix("\n"))
        line = _SHORT_HEADER.sub(_hide_value, _HEADER.sub(_hide_value, line))
        line = (_IN_CODE if is_code else _IN_TEXT).sub(_hide_named, line)
        line = (_FALLBACK if is_code else _OPTION).sub(_hide_named, line)
        return _LONG.sub(_hide_random, line) + end

    def plain(self, text: str) -> str:
        """Without what is a secret wherever it stands."""
        if self._known is not None:
            text = self._known.sub(HIDDEN, text)
        text = _KINDS.sub(HIDDEN, text)
        return _QUERY.sub(_hide_query, _USERINFO.sub(rf"\g<scheme>{HIDDEN}@", text)) if "/" in text or "?" in text else text

    def key(self, key: str) -> str:
        """A key of an object, always the same for the same key; those that are alike without their secrets get numbers."""
        left = self.plain(key)
        if left == key or (number := self._alike[left][key]) == 1:
            return left
        return f"{left} ({number})"

    def url(self, url: str) -> str:
        """The address of a git remote without credentials; `git@host:path` has none."""
        if "://" in url:
            try:
                parts = urlsplit(url)
                user = "git@" if parts.username == "git" and parts.password is None else ""
                url = urlunsplit((parts.scheme, user + parts.netloc.rpartition("@")[2], parts.path, "", ""))
            except ValueError:
                return ""
        elif "@" in url.partition("/")[0]:
            user, _, rest = url.partition("@")
            url = url if ":" not in user else rest
        return self.plain(url)

    def json(self, value: Any, name: str = "") -> Any:
        """A JSON value without secrets. What lies under a name that says it is one is hidden, however deep."""
        match value:
            case dict():
                return {self.key(key): self.json(item, _telling(key, name)) for key, item in value.items()}
            case list():
                return list(self._json_items(value, name))
            case str():
                return HIDDEN if value and _is_secret_in_config(name, value) else self._json_text(value, name)
            case int() | float() if name and not isinstance(value, bool):
                return HIDDEN if _is_named(name, str(value)) else value
        return value

    def _json_items(self, items: Iterable[Any], name: str) -> Iterator[Any]:
        """A list, which may be a command line where its own name says nothing."""
        is_told = naming(name) is not Naming.NOTHING or _DIGEST.search(f"{name}:") is not None
        option = ""
        for item in items:
            if is_told:
                yield self.json(item, name)
            elif isinstance(item, str) and "\n" not in item:
                yield self._argument(item, option)
                option = item if _is_option(item) else ""
            else:
                yield self.json(item, option)
                option = ""

    def _json_text(self, text: str, name: str) -> str:
        """A text of a config: of a long line nothing is left out, it is read in pieces."""
        text = self.plain(text)
        if _DIGEST.search(f"{name}:"):
            return text
        return self.text("\n".join(map(_in_pieces, text.split("\n"))), is_code=False).replace(_CUT, "")

    def notebook(self, text: str) -> str:
        """The cells of a notebook without what they printed. Raises ValueError when it is none."""
        notebook = json.loads(text)
        if not isinstance(notebook, dict) or not isinstance(notebook.get("cells"), list):
            raise ValueError("it has no cells")  # noqa: TRY004 - as the parser says it
        sources = [cell.pop("source", "") for cell in notebook["cells"]]  # they are code, and no texts of a config
        for cell in notebook["cells"]:
            cell.update({"outputs": [], "execution_count": None} if cell.get("cell_type") == "code" else {})
            cell.pop("attachments", None)
        notebook = self.json(notebook)
        for cell, source in zip(notebook["cells"], sources, strict=True):
            text = source if isinstance(source, str) else "".join(source)
            cell["source"] = list(lines_of(self.text(text, is_code=True)))
        return json.dumps(notebook, ensure_ascii=False, indent=1, sort_keys=True) + "\n"


def secrets_in(environment: Mapping[str, str]) -> Iterator[str]:
    """The values of variables whose names say that they are secrets, and the passwords in URLs."""
    for name, value in environment.items():
        said = naming(name)
        is_path = value.startswith(("/", "~")) and os.path.exists(os.path.expanduser(value))
        if not is_path and (said is Naming.SECRET or (said is Naming.PERHAPS and looks_like_a_key(value))):
            yield value
        if "://" in value and "@" in value:
            userinfo = value.partition("://")[2].partition("/")[0].rpartition("@")[0]
            for password in userinfo.split(":", 1)[1:]:
                yield from (password, unquote(password))


def _in_pieces(line: str) -> str:
    """A line, cut at spaces so that no piece is long, if it is."""
    if len(line) < LONGEST_LINE:
        return line
    return _CUT.join(re.findall(rf"(?s).{{1,{LONGEST_LINE // 2}}}(?:\s|$)|.{{1,{LONGEST_LINE // 2}}}", line))


def _is_option(argument: str) -> bool:
    return argument.startswith("-") and "=" not in argument and len(argument) > 1


def _telling(name: str, above: str) -> str:
    """Of the names of a value and of what it lies in, the one that tells more."""
    return above if naming(above) > naming(name) else name


def _is_named(name: str, value: str) -> bool:
    """Whether the value of an option is to be hidden for the option's name."""
    said = naming(name)
    is_plain = re.fullmatch(r"-?[\d.]+|true|false|none|null|yes|no|on|off", value.lower()) is not None
    if said is Naming.SECRET:
        return not is_plain or re.search("pass|secret|credential", name.lower()) is not None
    return said is Naming.PERHAPS and not is_plain and bool(value)


def _is_secret_in_config(name: str, value: str) -> bool:
    said = naming(name)
    if said is Naming.SECRET:
        return True
    return looks_like_a_key(value) if said is Naming.PERHAPS else False


def _hide_value(match: re.Match[str]) -> str:
    return match["name"] + HIDDEN


def _hide_query(match: re.Match[str]) -> str:
    name = match["name"][1:-1]
    said = naming(name)
    is_secret = said is not Naming.NOTHING or name.lower() in _SIGNED or looks_random(match["value"])
    return match["name"] + (HIDDEN if is_secret else match["value"])


def _hide_named(match: re.Match[str]) -> str:
    value = match["value"]
    bare = value.lstrip("bfruBFRU") if value[-1:] in {'"', "'"} or value[:1] in {'"', "'"} else value
    is_quoted = bare[:1] in {'"', "'"}
    inner = bare.strip("\"'") if is_quoted else bare
    said = naming(match["name"])
    is_secret = said is Naming.SECRET or (said is Naming.PERHAPS and looks_like_a_key(inner))
    if not is_secret or inner in {"", HIDDEN}:
        return match[0]
    hidden = f"{bare[0]}{HIDDEN}{bare[0]}" if is_quoted else HIDDEN
    start = match.start("value") - match.start()
    return match[0][:start] + hidden


def _hide_random(match: re.Match[str]) -> str:
    text = match[0]
    if not looks_random(text.rstrip("=")):
        return text
    before = match.string[max(0, match.start() - 40) : match.start()]
    return text if _DIGEST.search(before) else HIDDEN
