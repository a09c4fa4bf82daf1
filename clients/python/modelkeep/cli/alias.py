"""Aliases: `alias set`, `alias rm`, `alias ls`, the rules that keep them, and the `history` of where they pointed."""

from __future__ import annotations

from typing import Annotated

import typer

from modelkeep.cli import values
from modelkeep.cli.call import Call, command
from modelkeep.cli.output import shown_when
from modelkeep.cli.version import Address, Reason

Collection = Annotated[str, typer.Argument(help="[[team/]project/]name", show_default=False)]
Expect = Annotated[
    str | None,
    typer.Option(metavar="vN|none", help="Refuse unless the alias points there now, or does not exist.", show_default=False),
]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    noun = typer.Typer(help="Set, move and delete aliases.", no_args_is_help=True, rich_markup_mode=None)
    app.add_typer(noun, name="alias")
    command(noun, "set")(set_)
    command(noun, "rm")(rm)
    command(noun, "ls")(ls)
    rules = typer.Typer(help="Let rules keep aliases on the best version.", no_args_is_help=True, rich_markup_mode=None)
    noun.add_typer(rules, name="rule")
    command(rules, "set")(set_rule)
    command(rules, "rm")(rm_rule)
    command(rules, "ls")(ls_rules)
    command(app, "history")(history)


def set_(
    call: Call,
    address: Address,
    alias: Annotated[str, typer.Argument(help="The alias to set or move.", show_default=False)],
    expect: Expect = None,
    reason: Reason = "",
) -> None:
    """Point an alias to a version."""
    moved = call.api.promote(address, alias, expect=expect, reason=reason)
    call.out.answer(values.alias_json(moved), f"{moved.collection}:{moved.alias} is {moved.version} now")


def rm(
    call: Call,
    name: Collection,
    alias: Annotated[str, typer.Argument(help="The alias to delete.", show_default=False)],
    expect: Expect = None,
    reason: Reason = "",
) -> None:
    """Delete an alias; its history stays."""
    gone = call.api.delete_alias(name, alias, expect=expect, reason=reason)
    call.out.answer(values.alias_json(gone), f"{gone.collection}:{gone.alias} is gone")


def ls(call: Call, name: Collection) -> None:
    """List the aliases of a collection."""
    call.out.table(
        call.api.aliases(name),
        values.alias_json,
        {
            "ALIAS": lambda a: a.alias,
            "VERSION": lambda a: a.version,
            "MOVED": lambda a: shown_when(a.update_time),
            "BY": lambda a: a.actor,
            "REASON": lambda a: a.reason,
        },
        empty=f"{name} has no aliases",
    )


def set_rule(
    call: Call,
    name: Collection,
    alias: Annotated[str, typer.Argument(help="The alias to keep.", show_default=False)],
    rule: Annotated[str, typer.Argument(help="argmax(metadata.acc) or argmin(metadata.loss)", show_default=False)],
) -> None:
    """Keep an alias on the best version from now on. Nobody moves it by hand then."""
    made = call.api.set_alias_rule(name, alias, rule)
    where = f"is {made.version} now" if made.version else "is on no version: none has a number there"
    call.out.answer(values.rule_json(made), f"{made.collection}:{made.alias} {where}, by {made.expression}")


def rm_rule(
    call: Call,
    name: Collection,
    alias: Annotated[str, typer.Argument(help="The alias to keep no longer.", show_default=False)],
) -> None:
    """Take the rule of an alias away; the alias stays where it is."""
    gone = call.api.delete_alias_rule(name, alias)
    where = f"stays {gone.version}" if gone.version else "is free"
    call.out.answer(values.rule_json(gone), f"{gone.collection}:{gone.alias} {where}, without {gone.expression}")


def ls_rules(call: Call, name: Collection) -> None:
    """List the rules of a collection."""
    call.out.table(
        call.api.alias_rules(name),
        values.rule_json,
        {
            "ALIAS": lambda r: r.alias,
            "RULE": lambda r: r.expression,
            "VERSION": lambda r: r.version or "-",
            "SET": lambda r: shown_when(r.create_time),
            "BY": lambda r: r.creator,
        },
        empty=f"{name} has no rules",
    )


def history(
    call: Call,
    name: Collection,
    alias: Annotated[str, typer.Argument(help="Only this alias.")] = "",
) -> None:
    """List the changes of the aliases of a collection, newest first."""
    call.out.table(
        call.api.history(name, alias),
        values.change_json,
        {
            "WHEN": lambda c: shown_when(c.change_time),
            "ALIAS": lambda c: c.alias,
            "FROM": lambda c: c.from_version or "-",
            "TO": lambda c: c.to_version or "-",
            "BY": lambda c: c.actor,
            "REASON": lambda c: c.reason,
        },
        empty="no alias was ever set here",
    )
