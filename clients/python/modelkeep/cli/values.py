"""What the command line shows of things: as JSON for scripts, whose names never change, and as words for people."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from modelkeep.cli.output import files, shown_when, size, when

if TYPE_CHECKING:
    from modelkeep import (
        Alias,
        AliasChange,
        AliasRule,
        ApiKey,
        Collection,
        CollectionChange,
        Draft,
        File,
        Folder,
        Project,
        Signature,
        Version,
    )
    from modelkeep._version import Tombstone


def version_json(version: Version) -> dict[str, Any]:
    """A version."""
    uses = version.uses
    return {
        "name": version.name,
        "resource_name": version.resource_name,
        "uid": version.uid,
        "version": version.version,
        "collection": version.collection,
        "type": version.type,
        "state": version.state,
        "digest": version.digest,
        "aliases": list(version.aliases),
        "tags": list(version.tags),
        "description": version.description,
        "notes": version.notes,
        "metadata": dict(version.metadata),
        "entry_count": version.entry_count,
        "stored_bytes": version.stored_bytes,
        "referenced_bytes": version.referenced_bytes,
        "total_bytes": version.total_bytes,
        "create_time": when(version.create_time),
        "update_time": when(version.update_time),
        "verified_time": when(version.verified_time),
        "creator": version.creator,
        "run": version.run,
        "run_display_name": version.run_display_name,
        "origin": version.origin,
        "origin_uid": version.origin_uid,
        "uses": {
            "run_count": uses.run_count,
            "first_use_time": when(uses.first_use_time),
            "last_use_time": when(uses.last_use_time),
        },
        "tombstone": version.tombstone and _tombstone_json(version.tombstone),
    }


def _tombstone_json(tombstone: Tombstone) -> dict[str, Any]:
    return {
        "actor": tombstone.actor,
        "reason": tombstone.reason,
        "delete_time": when(tombstone.delete_time),
        "purge_time": when(tombstone.purge_time),
    }


def version_details(version: Version) -> dict[str, str]:
    """A version, line by line."""
    uses, tombstone = version.uses, version.tombstone
    used = f"by {uses.run_count:,} runs, last {shown_when(uses.last_use_time)}" if uses.run_count else ""
    stored, referenced, total = map(size, (version.stored_bytes, version.referenced_bytes, version.total_bytes))
    sizes = f"{stored} stored, {referenced} referenced, {total} in all" if version.referenced_bytes else stored
    return {
        "name": f"{version.name}  ({version.type}, {version.state.lower()})",
        "digest": str(version.digest),
        "aliases": ", ".join(version.aliases),
        "tags": ", ".join(version.tags),
        "content": f"{files(version.entry_count)}, {sizes}",
        "created": f"{shown_when(version.create_time)} by {version.creator}",
        "run": version.run_display_name or version.run,
        "copied from": version.origin,
        "used": used,
        "deleted": f"{shown_when(tombstone.delete_time)} by {tombstone.actor}: {tombstone.reason}" if tombstone else "",
        "metadata": json.dumps(version.metadata, indent=2, ensure_ascii=False) if version.metadata else "",
        "description": version.description,
        "notes": version.notes,
    }


def first_line(text: str) -> str:
    """As much of a longer text as a table holds."""
    line = text.strip().partition("\n")[0]
    return line if len(line) <= 60 else line[:59] + "…"


def logged_json(logged: Version) -> dict[str, Any]:
    """A version that was just logged, and what logging it took."""
    compared = logged.comparison and asdict(logged.comparison)
    return version_json(logged) | {
        "deduplicated": logged.deduplicated,
        "sent_bytes": logged.sent_bytes,
        "comparison": compared,
    }


def logged_words(logged: Version, verb: str, about: str) -> str:
    """What became of a version that was to be logged, and more `about` it: one that is worse than the best one was not."""
    if logged.comparison and not logged.comparison.is_better:
        return f"nothing was {verb}, {logged.name} stays the best: {logged.comparison}"
    return f"{logged.name} {'was there already' if logged.deduplicated else verb}{about}"


def collection_json(collection: Collection) -> dict[str, Any]:
    """A collection."""
    return {
        "name": collection.name,
        "resource_name": collection.resource_name,
        "type": collection.type,
        "description": collection.description,
        "latest_version": collection.latest_version,
        "version_count": collection.version_count,
        "create_time": when(collection.create_time),
        "update_time": when(collection.update_time),
    }


def file_json(file: File) -> dict[str, Any]:
    """A file of a version."""
    return {"path": file.path, "size_bytes": file.size_bytes, "digest": str(file.digest), "executable": file.executable}


def is_folder(item: File | Folder) -> bool:
    """Whether a line of a folder is a folder."""
    return not hasattr(item, "digest")


def content_json(item: File | Folder) -> dict[str, Any]:
    """A line of a folder: a file, or a folder, whose path ends with a slash."""
    return {"path": f"{item.path}/", "folder": True} if is_folder(item) else file_json(item)  # type: ignore[arg-type]


def draft_json(draft: Draft) -> dict[str, Any]:
    """A draft."""
    return {
        "id": draft.id,
        "resource_name": draft.resource_name,
        "collection": draft.collection,
        "type": draft.type,
        "state": draft.state,
        "base": draft.base,
        "distributed_id": draft.distributed_id,
        "version": draft.version,
        "create_time": when(draft.create_time),
        "expire_time": when(draft.expire_time),
        "creator": draft.creator,
    }


def draft_details(draft: Draft) -> dict[str, str]:
    """A draft, line by line."""
    return {
        "draft": f"{draft.id}  ({draft.state.lower()}{f' as {draft.version}' if draft.version else ''})",
        "collection": f"{draft.collection}  ({draft.type})",
        "base": short_version(draft.base),
        "distributed id": draft.distributed_id,
        "created": f"{shown_when(draft.create_time)} by {draft.creator}",
        "ends": shown_when(draft.expire_time) if draft.state == "OPEN" else "",
    }


def short_version(resource_name: str) -> str:
    """A version as people write it, of its resource name: `project/name:v3`."""
    parts = resource_name.split("/")
    return f"{parts[3]}/{parts[5]}:{parts[7]}" if len(parts) == 8 else ""


def name_change_json(change: CollectionChange) -> dict[str, Any]:
    """A line of the history of the names of a collection."""
    return {
        "from_collection": change.from_collection,
        "to_collection": change.to_collection,
        "change_time": when(change.change_time),
        "actor": change.actor,
    }


def alias_json(alias: Alias) -> dict[str, Any]:
    """An alias."""
    return {
        "alias": alias.alias,
        "collection": alias.collection,
        "version": alias.version,
        "seq": alias.seq,
        "update_time": when(alias.update_time),
        "actor": alias.actor,
        "reason": alias.reason,
    }


def rule_json(rule: AliasRule) -> dict[str, Any]:
    """A rule that keeps an alias."""
    return {
        "alias": rule.alias,
        "collection": rule.collection,
        "expression": rule.expression,
        "version": rule.version,
        "create_time": when(rule.create_time),
        "creator": rule.creator,
    }


def change_json(change: AliasChange) -> dict[str, Any]:
    """A line of the history of an alias."""
    return {
        "alias": change.alias,
        "seq": change.seq,
        "from_version": change.from_version,
        "to_version": change.to_version,
        "change_time": when(change.change_time),
        "actor": change.actor,
        "reason": change.reason,
    }


def signature_json(signature: Signature) -> dict[str, Any]:
    """A signature."""
    return {
        "key_id": signature.key_id,
        "algorithm": signature.algorithm,
        "public_key": signature.public_key.hex(),
        "value": signature.value.hex(),
        "comment": signature.comment,
        "create_time": when(signature.create_time),
        "creator": signature.creator,
    }


def project_json(project: Project) -> dict[str, Any]:
    """A project."""
    return {
        "name": project.name,
        "resource_name": project.resource_name,
        "description": project.description,
        "create_time": when(project.create_time),
        "update_time": when(project.update_time),
    }


def project_details(project: Project) -> dict[str, str]:
    """A project, line by line."""
    return {
        "name": project.name,
        "created": shown_when(project.create_time),
        "edited": shown_when(project.update_time),
        "description": project.description,
    }


def key_json(key: ApiKey) -> dict[str, Any]:
    """An API key, without its secret."""
    return {
        "id": key.id,
        "resource_name": key.resource_name,
        "display_name": key.display_name,
        "role": key.role,
        "readable_teams": list(key.readable_teams),
        "create_time": when(key.create_time),
        "expire_time": when(key.expire_time),
        "revoke_time": when(key.revoke_time),
    }
