"""All tables of the first release."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

# SQLite numbers rows only in a column that is literally INTEGER.
ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    _teams()
    _projects()
    _manifests()
    _manifest_pages()
    _versions()
    _version_indexes()
    _words()
    _aliases()
    _drafts()
    _draft_entries()
    _log()


def _teams() -> None:
    op.create_table(
        "team",
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("create_time", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_team"),
    )
    op.create_table(
        "api_key",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("team", sa.String(), nullable=True),
        sa.Column("service", sa.String(), nullable=False),
        sa.Column("secret_hash", sa.LargeBinary(), nullable=False),
        sa.Column("display_name", sa.Text(), nullable=False),
        sa.Column("role", sa.Integer(), nullable=True),
        sa.Column("readable_teams", sa.Text(), nullable=False),
        sa.Column("create_time", sa.BigInteger(), nullable=False),
        sa.Column("expire_time", sa.BigInteger(), nullable=True),
        sa.Column("revoke_time", sa.BigInteger(), nullable=True),
        sa.ForeignKeyConstraint(["team"], ["team.name"], name="fk_api_key_team"),
        sa.PrimaryKeyConstraint("id", name="pk_api_key"),
    )
    op.create_index("ix_api_key_team_create_time_id", "api_key", ["team", "create_time", "id"])


def _projects() -> None:
    op.create_table(
        "project",
        sa.Column("id", ID, nullable=False),
        sa.Column("team", sa.String(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("description", sa.Text(), nullable=False),
        sa.Column("create_time", sa.BigInteger(), nullable=False),
        sa.Column("update_time", sa.BigInteger(), nullable=False),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.Column("event_sequence", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["team"], ["team.name"], name="fk_project_team"),
        sa.PrimaryKeyConstraint("id", name="pk_project"),
        sa.UniqueConstraint("team", "name", name="uq_project_team_name"),
    )
    op.create_table(
        "collection",
        sa.Column("id", ID, nullable=False),
        sa.Column("project_id", sa.BigInteger(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("type", sa.String(), nullable=False),
        sa.Column("description", sa.Text(), nullable=False),
        sa.Column("next_index", sa.Integer(), nullable=False),
        sa.Column("create_time", sa.BigInteger(), nullable=False),
        sa.Column("update_time", sa.BigInteger(), nullable=False),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(["project_id"], ["project.id"], name="fk_collection_project_id"),
        sa.PrimaryKeyConstraint("id", name="pk_collection"),
        sa.UniqueConstraint("project_id", "name", name="uq_collection_project_id_name"),
    )
    op.create_index("ix_collection_project_id_type_name", "collection", ["project_id", "type", "name"])


def _manifests() -> None:
    op.create_table(
        "page",
        sa.Column("digest", sa.LargeBinary(), nullable=False),
        sa.Column("data", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("digest", name="pk_page"),
    )
    op.create_table(
        "manifest",
        sa.Column("layout", sa.LargeBinary(), nullable=False),
        sa.Column("digest", sa.LargeBinary(), nullable=False),
        sa.Column("segments_digest", sa.LargeBinary(), nullable=False),
        sa.Column("entry_count", sa.BigInteger(), nullable=False),
        sa.Column("stored_bytes", sa.BigInteger(), nullable=False),
        sa.Column("referenced_bytes", sa.BigInteger(), nullable=False),
        sa.Column("create_time", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("layout", name="pk_manifest"),
    )


def _manifest_pages() -> None:
    op.create_table(
        "manifest_page",
        sa.Column("manifest", sa.LargeBinary(), nullable=False),
        sa.Column("ordinal", sa.Integer(), nullable=False),
        sa.Column("page", sa.LargeBinary(), nullable=False),
        sa.Column("first_path", sa.LargeBinary(), nullable=False),
        sa.Column("last_path", sa.LargeBinary(), nullable=False),
        sa.Column("entry_count", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(["manifest"], ["manifest.layout"], name="fk_manifest_page_manifest"),
        sa.ForeignKeyConstraint(["page"], ["page.digest"], name="fk_manifest_page_page"),
        sa.PrimaryKeyConstraint("manifest", "ordinal", name="pk_manifest_page"),
    )
    op.create_index("ix_manifest_page_page", "manifest_page", ["page"])
    op.create_table(
        "manifest_segment_page",
        sa.Column("manifest", sa.LargeBinary(), nullable=False),
        sa.Column("page", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(["manifest"], ["manifest.layout"], name="fk_manifest_segment_page_manifest"),
        sa.ForeignKeyConstraint(["page"], ["page.digest"], name="fk_manifest_segment_page_page"),
        sa.PrimaryKeyConstraint("manifest", "page", name="pk_manifest_segment_page"),
    )
    op.create_index("ix_manifest_segment_page_page", "manifest_segment_page", ["page"])


def _versions() -> None:
    op.create_table(
        "version",
        sa.Column("id", ID, nullable=False),
        sa.Column("uid", sa.String(), nullable=False),
        sa.Column("collection_id", sa.BigInteger(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("digest", sa.LargeBinary(), nullable=False),
        sa.Column("manifest", sa.LargeBinary(), nullable=False),
        sa.Column("is_target", sa.Boolean(), nullable=False),
        sa.Column("description", sa.Text(), nullable=False),
        sa.Column("notes", sa.Text(), nullable=False),
        sa.Column("metadata_json", sa.Text(), nullable=False),
        sa.Column("creator", sa.String(), nullable=False),
        sa.Column("run", sa.String(), nullable=False),
        sa.Column("run_display_name", sa.Text(), nullable=False),
        sa.Column("create_time", sa.BigInteger(), nullable=False),
        sa.Column("update_time", sa.BigInteger(), nullable=False),
        sa.Column("verified_time", sa.BigInteger(), nullable=True),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.Column("delete_actor", sa.String(), nullable=False),
        sa.Column("delete_reason", sa.Text(), nullable=False),
        sa.Column("delete_time", sa.BigInteger(), nullable=True),
        sa.Column("purge_time", sa.BigInteger(), nullable=True),
        sa.Column("use_count", sa.Integer(), nullable=False),
        sa.Column("first_use_time", sa.BigInteger(), nullable=True),
        sa.Column("last_use_time", sa.BigInteger(), nullable=True),
        sa.ForeignKeyConstraint(["collection_id"], ["collection.id"], name="fk_version_collection_id"),
        sa.ForeignKeyConstraint(["manifest"], ["manifest.layout"], name="fk_version_manifest"),
        sa.PrimaryKeyConstraint("id", name="pk_version"),
        sa.UniqueConstraint("collection_id", "number", name="uq_version_collection_id_number"),
        sa.UniqueConstraint("uid", name="uq_version_uid"),
    )


def _version_indexes() -> None:
    op.create_index("ix_version_collection_id_digest", "version", ["collection_id", "digest"])
    op.create_index("ix_version_collection_id_state_number", "version", ["collection_id", "state", "number"])
    op.create_index("ix_version_manifest", "version", ["manifest"])
    op.create_index(
        "uq_version_dedup_target",
        "version",
        ["collection_id", "digest"],
        unique=True,
        sqlite_where=sa.text("is_target = 1"),
        postgresql_where=sa.text("is_target"),
    )


def _words() -> None:
    op.create_table(
        "version_absence",
        sa.Column("version_id", sa.BigInteger(), nullable=False),
        sa.Column("from_time", sa.BigInteger(), nullable=False),
        sa.Column("to_time", sa.BigInteger(), nullable=True),
        sa.ForeignKeyConstraint(["version_id"], ["version.id"], name="fk_version_absence_version_id"),
        sa.PrimaryKeyConstraint("version_id", "from_time", name="pk_version_absence"),
    )
    op.create_table(
        "version_tag",
        sa.Column("version_id", sa.BigInteger(), nullable=False),
        sa.Column("tag", sa.String(), nullable=False),
        sa.ForeignKeyConstraint(["version_id"], ["version.id"], name="fk_version_tag_version_id"),
        sa.PrimaryKeyConstraint("version_id", "tag", name="pk_version_tag"),
    )
    op.create_index("ix_version_tag_tag_version_id", "version_tag", ["tag", "version_id"])
    op.create_table(
        "version_use",
        sa.Column("version_id", sa.BigInteger(), nullable=False),
        sa.Column("run", sa.String(), nullable=False),
        sa.Column("run_display_name", sa.Text(), nullable=False),
        sa.Column("alias_text", sa.Text(), nullable=False),
        sa.Column("first_time", sa.BigInteger(), nullable=False),
        sa.Column("actor", sa.String(), nullable=False),
        sa.ForeignKeyConstraint(["version_id"], ["version.id"], name="fk_version_use_version_id"),
        sa.PrimaryKeyConstraint("version_id", "run", name="pk_version_use"),
    )


def _aliases() -> None:
    op.create_table(
        "alias",
        sa.Column("collection_id", sa.BigInteger(), nullable=False),
        sa.Column("alias", sa.String(), nullable=False),
        sa.Column("version_id", sa.BigInteger(), nullable=True),
        sa.Column("seq", sa.BigInteger(), nullable=False),
        sa.Column("update_time", sa.BigInteger(), nullable=False),
        sa.Column("actor", sa.String(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["collection_id"], ["collection.id"], name="fk_alias_collection_id"),
        sa.ForeignKeyConstraint(["version_id"], ["version.id"], name="fk_alias_version_id"),
        sa.PrimaryKeyConstraint("collection_id", "alias", name="pk_alias"),
    )
    op.create_index("ix_alias_version_id", "alias", ["version_id"])
    op.create_table(
        "alias_change",
        sa.Column("collection_id", sa.BigInteger(), nullable=False),
        sa.Column("alias", sa.String(), nullable=False),
        sa.Column("seq", sa.BigInteger(), nullable=False),
        sa.Column("from_version_id", sa.BigInteger(), nullable=True),
        sa.Column("to_version_id", sa.BigInteger(), nullable=True),
        sa.Column("change_time", sa.BigInteger(), nullable=False),
        sa.Column("actor", sa.String(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["collection_id"], ["collection.id"], name="fk_alias_change_collection_id"),
        sa.ForeignKeyConstraint(["from_version_id"], ["version.id"], name="fk_alias_change_from_version_id"),
        sa.ForeignKeyConstraint(["to_version_id"], ["version.id"], name="fk_alias_change_to_version_id"),
        sa.PrimaryKeyConstraint("collection_id", "alias", "seq", name="pk_alias_change"),
    )
    op.create_index("ix_alias_change_collection_id_change_time", "alias_change", ["collection_id", "change_time", "alias"])


def _drafts() -> None:
    op.create_table(
        "draft",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("project_id", sa.BigInteger(), nullable=False),
        sa.Column("collection_id", sa.BigInteger(), nullable=False),
        sa.Column("type", sa.String(), nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("creator", sa.String(), nullable=False),
        sa.Column("create_time", sa.BigInteger(), nullable=False),
        sa.Column("expire_time", sa.BigInteger(), nullable=False),
        sa.Column("entry_count", sa.BigInteger(), nullable=False),
        sa.Column("manifest", sa.LargeBinary(), nullable=True),
        sa.Column("commit_fingerprint", sa.LargeBinary(), nullable=True),
        sa.Column("version_id", sa.BigInteger(), nullable=True),
        sa.Column("deduplicated", sa.Boolean(), nullable=False),
        sa.Column("ignored_fields", sa.Text(), nullable=False),
        sa.Column("is_swept", sa.Boolean(), nullable=False),
        sa.ForeignKeyConstraint(["collection_id"], ["collection.id"], name="fk_draft_collection_id"),
        sa.ForeignKeyConstraint(["manifest"], ["manifest.layout"], name="fk_draft_manifest"),
        sa.ForeignKeyConstraint(["project_id"], ["project.id"], name="fk_draft_project_id"),
        sa.ForeignKeyConstraint(["version_id"], ["version.id"], name="fk_draft_version_id"),
        sa.PrimaryKeyConstraint("id", name="pk_draft"),
    )
    op.create_index(
        "ix_draft_expire_time_unswept",
        "draft",
        ["expire_time"],
        sqlite_where=sa.text("is_swept = 0"),
        postgresql_where=sa.text("NOT is_swept"),
    )


def _draft_entries() -> None:
    op.create_table(
        "draft_entry",
        sa.Column("draft_id", sa.String(), nullable=False),
        sa.Column("path", sa.LargeBinary(), nullable=False),
        sa.Column("line", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(["draft_id"], ["draft.id"], name="fk_draft_entry_draft_id"),
        sa.PrimaryKeyConstraint("draft_id", "path", name="pk_draft_entry"),
    )
    op.create_table(
        "draft_page",
        sa.Column("draft_id", sa.String(), nullable=False),
        sa.Column("page", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(["draft_id"], ["draft.id"], name="fk_draft_page_draft_id"),
        sa.ForeignKeyConstraint(["page"], ["page.digest"], name="fk_draft_page_page"),
        sa.PrimaryKeyConstraint("draft_id", "page", name="pk_draft_page"),
    )
    op.create_index("ix_draft_page_page", "draft_page", ["page"])


def _log() -> None:
    op.create_table(
        "event",
        sa.Column("project_id", sa.BigInteger(), nullable=False),
        sa.Column("sequence", sa.BigInteger(), nullable=False),
        sa.Column("uid", sa.String(), nullable=False),
        sa.Column("event_time", sa.BigInteger(), nullable=False),
        sa.Column("actor", sa.String(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("payload", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["project_id"], ["project.id"], name="fk_event_project_id"),
        sa.PrimaryKeyConstraint("project_id", "sequence", name="pk_event"),
    )
    op.create_table(
        "request",
        sa.Column("team", sa.String(), nullable=False),
        sa.Column("method", sa.String(), nullable=False),
        sa.Column("request_id", sa.String(), nullable=False),
        sa.Column("fingerprint", sa.LargeBinary(), nullable=False),
        sa.Column("answer", sa.Text(), nullable=False),
        sa.Column("expire_time", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("team", "method", "request_id", name="pk_request"),
    )
    op.create_index("ix_request_expire_time", "request", ["expire_time"])
    op.create_table(
        "fence",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("gc_epoch", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_fence"),
    )
