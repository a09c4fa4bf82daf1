"""What a run tells has no secrets in it, and as little as possible is hidden besides (M-SEC-1)."""

from __future__ import annotations

import argparse
import dataclasses
import json
from types import SimpleNamespace
from typing import Any, NamedTuple

import numpy as np
import pytest
from modelkeep._plain_json import as_mapping, plain
from modelkeep._redact import HIDDEN, LONGEST_LINE, Redactor, secrets_in
from modelkeep.errors import InvalidArgument

CANARY = "hunter2canary"
RANDOM = "q7Zt9Kx2Lm4Vb8Nc1Rw6Yp3Sd5Gf0Hj"


@pytest.mark.parametrize(
    "arguments",
    [
        ["--hf-token", CANARY],
        [f"--hf-token={CANARY}"],
        ["--password", CANARY],
        ["-key", CANARY],
        [f"trainer.api_key={CANARY}"],
        [f"+secret={CANARY}"],
        ["--url", f"https://user:{CANARY}@host/path"],
        ["--url", f"https://{CANARY}@host/path"],
        ["--url", f"s3://bucket/x?X-Amz-Signature={CANARY}&part=1"],
        ["--url", f"https://host/x?sig={CANARY}"],
        ["--header", f"Authorization: Bearer {CANARY}"],
        ["--json", json.dumps({"password": CANARY})],
        ["--env", f"DB_PASSWORD={CANARY}"],
        ["--dsn", f"postgresql://app:{CANARY}@db/x"],
    ],
)
def test_a_command_line_keeps_no_secret(arguments: list[str]) -> None:
    redacted = Redactor().arguments(arguments)
    assert CANARY not in "".join(redacted)
    assert HIDDEN in "".join(redacted)
    assert len(redacted) == len(arguments)


def test_what_is_no_secret_in_a_command_line_stays() -> None:
    arguments = (
        "--lr 3e-4 --max-tokens 512 --key-dim 64 --pad-token <pad> --tokenizer bert-base --data s3://bucket/a?versionId=3 "
        f"--revision {'0123456789abcdef' * 2} --seed=1 model.dim=3 -v data/Train2020/ResNet50"
    ).split()
    assert Redactor().arguments(arguments) == arguments


@pytest.mark.parametrize(
    "secret",
    [
        "ghp_" + "a1B2" * 9,
        "github_pat_" + "a1B2" * 9,
        "hf_" + "aB" * 17,
        "sk-" + "aB3" * 10,
        "AKIA" + "ABCD" * 4,
        "xoxb-123456789012-abcdef",
        "eyJhbGciOiJIUzI1.eyJzdWIiOiIxMjM.c2lnbmF0dXJl",
        "mk_abcdefgh_" + "a" * 43,
        RANDOM,
        "0f1e2d3c4b5a69788796a5b4c3d2e1f00f1e2d3c",
    ],
)
def test_what_looks_like_a_key_is_hidden_wherever_it_stands(secret: str) -> None:
    redactor = Redactor()
    assert secret not in redactor.arguments([secret])[0]
    assert secret not in redactor.text(f'client = Client("{secret}")\n', is_code=True)
    assert secret not in redactor.patch(f"+++ b/x.py\n@@ -1 +1 @@\n+connect({secret!r})\n")


def test_values_of_the_environment_are_known() -> None:
    """Also where they are part of something, or written as a URL has them."""
    environment = {
        "MY_SERVICE_TOKEN": CANARY,
        "DATABASE_URL": "postgresql://app:pass%21word@db/x",
        "TOKENIZERS_PARALLELISM": "false",
        "HOME": "/home/me/x",
    }
    known = list(secrets_in(environment))
    assert known == [CANARY, "pass%21word", "pass!word"]
    redactor = Redactor([*known, "a b/c&d=e"])
    for text in (f"prefix-{CANARY}-suffix", "x pass%21word y", "x pass!word y", "q=a%20b%2Fc%26d%3De"):
        assert HIDDEN in redactor.text(text, is_code=False)
    assert CANARY not in redactor.text(f"f(x{CANARY})", is_code=True)


CODE = f"""
API_KEY = "{CANARY}"
token: str = '{CANARY}'
settings = {{"password": "{CANARY}", 'lr': 0.1}}
os.environ["HF_TOKEN"] = "{CANARY}"
login(secret="{CANARY}", user="me")
os.getenv("SERVICE_SECRET", "{CANARY}")
parser.add_argument("--token", default="{CANARY}")
requests.get(url, headers={{"Authorization": "Bearer {CANARY}"}})
engine = create_engine("postgresql://me:{CANARY}@host/db")
-----BEGIN OPENSSH PRIVATE KEY-----
{CANARY}
-----END OPENSSH PRIVATE KEY-----
key = b"{CANARY}"
"""


def test_code_keeps_no_secret() -> None:
    redacted = Redactor().text(CODE, is_code=True)
    assert CANARY not in redacted
    assert redacted.count("\n") == CODE.count("\n"), "a line is a line"


def test_code_that_has_none_stays() -> None:
    code = (
        'key = "loss"\nsort_key = "time"\npassword = args.password\ndef f(token: str, secret=None): ...\neos_token = "</s>"\n'
        'model = load("a/b", revision="0123456789abcdef0123456789abcdef01234567")\n'
        "sha256 = '9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08'\n"
        "a_long_name_that_says_what_it_is = AutoModelForSequenceClassification2()\n"
    )
    assert Redactor().text(code, is_code=True) == code


def test_a_patch_keeps_no_secret_and_its_form() -> None:
    patch = (
        f"diff --git a/.env b/.env\nindex {'0123456789abcdef' * 2}..{'89abcdef01234567' * 2} 100644\n"
        f"--- a/.env\n+++ b/.env\n@@ -1,2 +1,2 @@\n-DB_PASSWORD=old{CANARY}\n+DB_PASSWORD={CANARY}\n PLAIN=1\n"
        f"diff --git a/c.yaml b/c.yaml\n--- a/c.yaml\n+++ b/c.yaml\n@@ -1 +1 @@\n+  token: {CANARY}\n"
        f'diff --git a/t.py b/t.py\n--- a/t.py\n+++ b/t.py\n@@ -1 +1 @@\n+token = get_token()\n+secret = "{CANARY}"\n'
    )
    redacted = Redactor().patch(patch)
    assert CANARY not in redacted
    assert "index 0123456789abcdef" in redacted
    assert "+token = get_token()" in redacted
    assert [line[:1] for line in redacted.splitlines()] == [line[:1] for line in patch.splitlines()]


def test_what_looks_like_a_header_in_a_patch_is_read() -> None:
    patch = (
        "diff --git a/x.sql b/x.sql\n--- a/x.sql\n+++ b/x.sql\n@@ -1,2 +1,2 @@ password=here\n"
        f"--- admin password: {CANARY}\n-select 1\n+++ admin password: {CANARY}\n+select 2\n"
        f'diff --git a/t.py b/t.py\n--- a/t.py\n+++ b/t.py\n@@ -0,0 +1 @@\n+secret = "{CANARY}"\n'
        "\\ No newline at end of file\n"
    )
    redacted = Redactor().patch(patch)
    assert CANARY not in redacted
    assert [line[:4] for line in redacted.splitlines()] == [line[:4] for line in patch.splitlines()]


@pytest.mark.parametrize(
    ("name", "heading"),
    [
        ("t.py", f'OPENAI_SECRET = "{CANARY}"'),
        ("t.py", f'cfg = {{"db": {{"password": "{CANARY}'),  # git cuts a long one
        ("t.yaml", f"password: {CANARY}"),
        ("t.py", f"url = 'https://me:{CANARY}@host'"),
    ],
)
def test_the_heading_of_a_hunk_is_a_line_of_the_file(name: str, heading: str) -> None:
    redacted = Redactor().patch(f"--- a/{name}\n+++ b/{name}\n@@ -9 +9 @@ {heading}\n-x = 1\n+x = 2\n@@ -99 +99 @@\n-y\n+z\n")
    assert CANARY not in redacted
    assert redacted.endswith("\n-x = 1\n+x = 2\n@@ -99 +99 @@\n-y\n+z\n")
    assert f"@@ -9 +9 @@ {heading[:3]}" in redacted


@pytest.mark.parametrize(("name", "heading"), [("t.py", "credentials = {"), ("t.yaml", "credentials:")])
def test_what_stands_below_the_heading_of_a_hunk_is_hidden(name: str, heading: str) -> None:
    redacted = Redactor().patch(
        f"--- a/{name}\n+++ b/{name}\n@@ -9 +9 @@ {heading}\n-  'a': 'old{CANARY}'\n+  'a': '{CANARY}'\n"
    )
    assert CANARY not in redacted


@pytest.mark.parametrize("end", ["\f", "\r", "\u2028", "\x1c", "\x85"])
def test_only_a_newline_ends_a_line(end: str) -> None:
    text = f"x = 1{end}\nPASSWORD = 'a{end}{CANARY}'\n"
    patch = "--- a/x.py\n+++ b/x.py\n@@ -0,0 +1,2 @@\n" + "".join(f"+{line}\n" for line in text.split("\n")[:2])
    for redacted in (Redactor().text(text, is_code=True), Redactor().patch(patch)):
        assert CANARY not in redacted
        assert f"x = 1{end}\n" in redacted


BELOW = {
    f'API_KEY = (\n    "{CANARY}"\n    "{CANARY}"\n)\n': True,
    f"password = decode(\n\n    # here\n    '{CANARY}',\n)\n": True,
    f"secret: str = \\\n    b'{CANARY}'\n": True,
    f'credentials = {{\n    "openai": "{CANARY}",\n    "other": "{CANARY}",\n}}\n': True,
    f"db:\n  password: |\n    {CANARY}\n  user: me\n": False,
    f"credentials:\n  openai: {CANARY}\n  other: '{CANARY}'\nuser: me\n": False,
}


@pytest.mark.parametrize("text", BELOW)
def test_a_value_below_its_name_is_hidden(text: str) -> None:
    redacted = Redactor().text(text, is_code=BELOW[text])
    assert CANARY not in redacted
    assert [line.split()[:1] for line in redacted.splitlines() if ":" in line] == [
        line.split()[:1] for line in text.splitlines() if ":" in line
    ]
    assert redacted.count("user: me") == text.count("user: me")
    name = "x.py" if BELOW[text] else "x.yaml"
    changed = "".join(f"+{line}\n" for line in text.splitlines())
    assert CANARY not in Redactor().patch(f"--- a/{name}\n+++ b/{name}\n@@ -0,0 +1,{text.count(chr(10))} @@\n{changed}")


def test_what_stands_below_another_name_stays() -> None:
    code = 'names = (\n    "a",\n)\ntoken = get(\n    args,\n    "default",\n)\nx = "y"\n'
    assert Redactor().text(code, is_code=True) == code
    text = "token:\nother: x\n\nThe password:\n* it is read from a file\n"
    assert Redactor().text(text, is_code=False) == text


def test_a_line_without_an_end_is_left_out() -> None:
    redacted = Redactor().text("x" * (LONGEST_LINE + 1) + "\nnext\n", is_code=True)
    assert redacted == f"{HIDDEN} (a line of {LONGEST_LINE + 2} characters)\nnext\n"


def test_a_notebook_keeps_its_cells_and_nothing_that_it_printed() -> None:
    notebook = {
        "cells": [
            {
                "cell_type": "code",
                "source": [f'token = "{CANARY}"\n', "train()"],
                "outputs": [{"text": CANARY}],
                "execution_count": 3,
            },
            {"cell_type": "markdown", "source": "# Title", "attachments": {"a.png": CANARY}},
        ],
        "metadata": {"widgets": {"api_key": CANARY}},
    }
    redacted = Redactor().notebook(json.dumps(notebook))
    assert CANARY not in redacted
    cells = json.loads(redacted)["cells"]
    assert cells[0]["source"] == [f'token = "{HIDDEN}"\n', "train()"]
    assert cells[1]["source"] == ["# Title"]
    with pytest.raises(ValueError, match="no cells"):
        Redactor().notebook("[]")


@pytest.mark.parametrize(
    ("remote", "told"),
    [
        (f"https://user:{CANARY}@github.com/a/b.git", "https://github.com/a/b.git"),
        (f"https://{CANARY}@github.com/a/b.git", "https://github.com/a/b.git"),
        (f"https://host/a/b.git?access_token={CANARY}", "https://host/a/b.git"),
        ("git@github.com:a/b.git", "git@github.com:a/b.git"),
        ("ssh://git@host:22/a/b", "ssh://git@host:22/a/b"),
        (f"me:{CANARY}@host:a/b", "host:a/b"),
        ("/srv/git/b.git", "/srv/git/b.git"),
        ("", ""),
    ],
)
def test_the_address_of_a_remote_has_no_credentials(remote: str, told: str) -> None:
    assert Redactor().url(remote) == told


def test_a_config_keeps_no_secret() -> None:
    config = {
        "lr": 0.1,
        "key_dim": 64,
        "token": 3,
        "tokenizer": "bert",
        "hf_token": CANARY,
        "key": "loss",
        "nested": [{"api_key": CANARY, "data": f"https://me:{CANARY}@host"}],
    }
    redacted = Redactor().json(config)
    assert CANARY not in json.dumps(redacted)
    assert {**redacted, "hf_token": 0, "nested": 0} == {**config, "hf_token": 0, "nested": 0}


class Tuple(NamedTuple):
    user: str
    password: str


@dataclasses.dataclass(frozen=True)
class Data:
    user: str
    password: str


@pytest.mark.parametrize(
    "value",
    [
        Data("me", CANARY),
        Tuple("me", CANARY),
        argparse.Namespace(user="me", password=CANARY),
        SimpleNamespace(password=CANARY),
        {"credentials": {"openai": CANARY, "others": [{"name": CANARY}, CANARY]}},
        {"argv": ["train", "--api-key", CANARY]},
        {"argv": ["--password", [CANARY]]},
        f"train --password={CANARY}",
        f"train --password {CANARY} --lr 3",
        f"curl -H 'Authorization: Bearer {CANARY}'",
        "Authorization: Bearer c4n",
        f"first\n-----BEGIN PRIVATE KEY-----\n{CANARY}\n-----END PRIVATE KEY-----\nlast",
        f"key: {RANDOM}",
    ],
)
def test_a_config_keeps_no_secret_in_whatever_it_has(value: Any) -> None:
    sent = json.dumps(Redactor().json(plain({"nested": [value], "direct": value}, "config")))
    assert not any(secret in sent for secret in (CANARY, RANDOM, "c4n"))
    assert sent.count(HIDDEN) >= 2


def test_a_key_of_a_config_is_no_place_for_a_secret() -> None:
    config = {CANARY: 1, f"https://user:{CANARY}@host/": {"hf_" + "aB" * 17: 2, "lr": 3}}
    assert Redactor([CANARY]).json(config) == {HIDDEN: 1, f"https://{HIDDEN}@host/": {f"{HIDDEN} (2)": 2, "lr": 3}}


def test_keys_that_are_alike_without_their_secrets_stay_apart() -> None:
    redactor, urls = Redactor([CANARY, f"another-{CANARY}"]), [f"https://{user}:x@host" for user in "ab"]
    first = redactor.json({CANARY: 1, urls[0]: 2, "inner": {urls[1]: 3, urls[0]: 4}})
    kept = f"https://{HIDDEN}@host"
    assert first == {HIDDEN: 1, kept: 2, "inner": {f"{kept} (2)": 3, kept: 4}}
    assert [redactor.key(key) for key in (*urls, f"another-{CANARY}", CANARY)] == [kept, f"{kept} (2)", f"{HIDDEN} (2)", HIDDEN]


def test_numbers_of_a_config_are_secrets_where_they_are_passwords() -> None:
    config = {"password": 123456, "credentials": {"pin": 1234}, "token": 3, "use_secret": True, "secret": None, "lr": 0.1}
    hidden = {"password": HIDDEN, "credentials": {"pin": HIDDEN}}
    assert Redactor().json(config) == config | hidden


def test_what_is_no_secret_in_a_config_stays() -> None:
    config = {
        "optimizer": {"name": "AdamW", "betas": [0.9, 0.999]},
        "argv": ["--max-tokens", "512", "--data", "s3://bucket/a", "-v"],
        "git_commit": "0123456789abcdef0123456789abcdef01234567",
        "digests": {"sha256": ["9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"]},
        "prompt": "Answer in JSON: name = the name, city = the city.\nBe brief.\n",
        "version": "digits@sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
    }
    assert Redactor().json(config) == config


def test_a_class_in_a_config_is_text() -> None:
    config = {"array": np.ndarray, "tuple": Tuple, "data": Data, "dict": dict}
    assert plain(config, "config") == {name: str(value) for name, value in config.items()}
    with pytest.raises(InvalidArgument, match="expected a mapping"):
        as_mapping(dict, "config")


def test_a_filter_reads_any_text_in_time() -> None:
    """No pattern goes back and forth over a long line for ever."""
    redactor = Redactor([CANARY])
    for text in (
        "a" * 9_000,
        "token=" * 1_500,
        '"' * 9_000,
        "://" * 3_000,
        "a:" * 4_000,
        "('a', " * 1_500,
        "\\" * 9_000,
        "-a " * 3_000,
    ):
        redactor.text(text, is_code=True)
        redactor.text(text, is_code=False)
    # A config and its keys are read whole, not a line at a time.
    text = "a." * 400_000 + f"/ -http://user:{CANARY}@host"
    assert list(redactor.json({text: text})) == [text.replace(f"user:{CANARY}", HIDDEN)]


def test_a_long_line_of_a_config_is_kept_and_read() -> None:
    text = "word and text; " * 10_000
    assert Redactor().json({"prompt": text}) == {"prompt": text}
    assert CANARY not in json.dumps(Redactor().json({"prompt": f"{text} password={CANARY} {text}"}))
