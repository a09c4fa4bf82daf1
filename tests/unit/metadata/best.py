"""What the tests of rules and of comparisons share: versions with numbers, and where the alias points."""

from __future__ import annotations

import json
from typing import Any

from modelkeep.errors import AliasNotFound
from modelkeep.names import AliasName, CollectionName, VersionName
from modelkeep_server.metadata.domain.draft import Committed
from modelkeep_server.metadata.domain.rule import Goal, Rule, Yardstick
from modelkeep_server.metadata.domain.version import Words

from tests.unit.metadata.rig import CALLER, DIGITS, TEAM, Rig, call

BEST = AliasName(TEAM, "vision", "digits", "best")
ACC = Yardstick("acc", ("acc",), Goal.MAX)
LOSS = Yardstick("loss", ("loss",), Goal.MIN)
RULE = Rule("best", ACC)


async def logged(rig: Rig, *metadata: dict[str, Any], **commit: Any) -> list[VersionName]:
    return [(await rig.log(metadata_json=json.dumps(one), **commit)).version.name for one in metadata]


async def set_rule(rig: Rig, rule: Rule = RULE, collection: CollectionName = DIGITS) -> VersionName | None:
    made = await rig.rules.set_alias_rule(call("SetAliasRule"), collection.alias(rule.alias), rule)
    return made.version


async def pointed(rig: Rig, alias: str = "best") -> VersionName | None:
    try:
        return (await rig.aliases.get_alias(CALLER, DIGITS.alias(alias))).version
    except AliasNotFound:
        return None


async def edit(rig: Rig, name: VersionName, **metadata: Any) -> None:
    words = Words(metadata_json=json.dumps(metadata))
    await rig.versions.update_version(call("UpdateVersion"), name, words, "")


async def delete(rig: Rig, name: VersionName) -> None:
    await rig.versions.delete_version(call("DeleteVersion"), name, "", delete_aliases=True)


async def only_if_better(rig: Rig, yardstick: Yardstick = ACC, **metadata: Any) -> Committed:
    return await rig.log(metadata_json=json.dumps(metadata), only_if_better=yardstick)
