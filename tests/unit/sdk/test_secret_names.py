"""Which names say that their value is a secret, and which values look like one."""

from __future__ import annotations

import random
import string

import pytest
from modelkeep._redact import Redactor, secrets_in
from modelkeep._secret_names import Naming, looks_random, naming

CANARY = "hunter2canary"
RANDOM = "q7Zt9Kx2Lm4Vb8Nc1Rw6Yp3Sd5Gf0Hj"

SECRET_NAMES = (
    "token hf_token hfToken HF_TOKEN --auth-token my-secret db.password apiKey API_KEY AWS_SECRET_ACCESS_KEY passwd"
    " pass PASS db_pass DB_PASS smtp.pass userpass SSHPASS --pass pw DB_PW rootpw pwd db_pwd mysqlpwd creds AWS_CREDS awscreds"
    " dbPass cred passcode otp totp jwt auth.jwt"
)
PLAIN_NAMES = (
    "tokenizer max_tokens pad_token eos_token num_tokens token_type_ids keypoints lr learning_rate batch_size seed"
    " forward_pass backwardPass n_pass num_pass NUM_PASS bypass attn.bypass by_pass first_pass multi_pass single_pass"
    " 2_pass lowpass high_pass compass pass_rate pass@1 passes conv_pw SSH_ASKPASS GIT_ASKPASS passenger jwt_ttl sacred"
)


@pytest.mark.parametrize("name", SECRET_NAMES.split())
def test_names_of_secrets(name: str) -> None:
    assert naming(name) is Naming.SECRET


@pytest.mark.parametrize("name", PLAIN_NAMES.split())
def test_names_of_other_things(name: str) -> None:
    assert naming(name) is Naming.NOTHING


def test_where_a_shell_is_is_no_secret() -> None:
    environment = {"PWD": "/runs/first/a1", "OLDPWD": "/runs/first", "DB_PWD": CANARY}
    assert list(secrets_in(environment)) == [CANARY]
    assert Redactor().text("docker run -v $PWD:/work x\n", is_code=False) == "docker run -v $PWD:/work x\n"


def test_tokens_of_any_length_look_random() -> None:
    """Also of 48 to 72 characters, where letters repeat because there are no more of them."""
    drawn = random.Random(7)
    for length in range(24, 129):
        tokens = ["".join(drawn.choices(string.ascii_letters + string.digits, k=length)) for _ in range(100)]
        found = sum(map(looks_random, tokens))
        assert found >= (80 if length < 40 else 95), f"of {length} characters {found} in 100"


@pytest.mark.parametrize(
    "text",
    [
        "AutoModelForSequenceClassification2",
        "data/Train2020/ResNet50_ImageNet1k/checkpoints/Epoch12",
        "/home/me/Projects/2024-05-17_Experiment3/outputs/run_12/Best",
        "meta-llama/Meta-Llama-3-70B-Instruct-GPTQ-Int4",
        "io/publications/papers/JMLR_2014_Volume15",
        "TestDatetime64OverflowHandlingOfTimedeltas",
        "6f1c2d3e-4b5a-4978-8796-a5b4c3d2e1f0",
    ],
)
def test_words_and_paths_do_not_look_random(text: str) -> None:
    assert not looks_random(text)


def test_what_looks_random() -> None:
    assert looks_random(RANDOM)
    assert not looks_random("AutoModelForSequenceClassification2")
    assert not looks_random("0" * 40)
