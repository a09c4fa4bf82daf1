"""Signatures: `sign`, `signatures`, `signing-key create`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from modelkeep.cli import values
from modelkeep.cli.call import Call, command
from modelkeep.cli.output import shown_when
from modelkeep.cli.version import Address


def register(app: typer.Typer) -> None:
    """Add the commands."""
    command(app, "sign")(sign)
    command(app, "signatures")(signatures)
    noun = typer.Typer(help="Make keys that versions are signed with.", no_args_is_help=True, rich_markup_mode=None)
    app.add_typer(noun, name="signing-key")
    command(noun, "create")(create)


def sign(
    call: Call,
    address: Address,
    *,
    key: Annotated[
        Path, typer.Option(help="The private key (PEM); its passphrase: MODELKEEP_SIGNING_PASSPHRASE.", show_default=False)
    ],
    comment: Annotated[str, typer.Option(help="What the signature says besides; it is not signed itself.")] = "",
) -> None:
    """Sign a version: your word, by your key, that this is the one. Nothing of its content is read again."""
    version = call.api.artifact(address)
    signature = version.sign(key, comment=comment)
    answer = values.signature_json(signature) | {"version": version.name, "digest": version.digest}
    call.out.answer(answer, f"{version.name} is signed by the key {signature.key_id}: {version.digest}")


def signatures(call: Call, address: Address) -> None:
    """List who signed a version. Whether they count is for you to say: `verify --key`."""
    call.out.table(
        call.api.artifact(address).signatures(),
        values.signature_json,
        {
            "KEY": lambda s: s.key_id,
            "SIGNED": lambda s: shown_when(s.create_time),
            "BY": lambda s: s.creator,
            "COMMENT": lambda s: values.first_line(s.comment),
        },
        empty="nobody signed it",
    )


def create(
    call: Call,
    out: Annotated[Path, typer.Option(help="Where the private key goes; the public one beside it, as .pub.pem.")] = Path(
        "signing-key.pem"
    ),
) -> None:
    """Make an Ed25519 key to sign versions with. MODELKEEP_SIGNING_PASSPHRASE, if set, protects it."""
    from modelkeep import _signature  # noqa: PLC0415 - help needs no keys

    public, key_id = _signature.create_pair(out)
    answer = {"key_id": key_id, "private_key": str(out), "public_key": public}
    call.out.answer(answer, f"key {key_id}: keep {out} to yourself, and give {public} to those who verify")
