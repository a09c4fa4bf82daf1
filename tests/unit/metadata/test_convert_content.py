"""Entries, drafts, versions and collections on the wire: checked once at the door, and nothing lost on the way."""

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from google.protobuf.field_mask_pb2 import FieldMask
from hypothesis import given
from hypothesis import strategies as st
from modelkeep.api.blob.v1.digest_pb2 import Digest as DigestMessage
from modelkeep.api.metadata.v1 import collection_pb2, draft_pb2, entry_pb2, project_pb2, version_pb2
from modelkeep.api.metadata.v1 import metadata_service_pb2 as pb
from modelkeep.digest import EMPTY, Digest
from modelkeep.errors import (
    InvalidAlias,
    InvalidArgument,
    InvalidEntry,
    InvalidMetadata,
    InvalidName,
    InvalidPath,
    InvalidReference,
    InvalidTag,
    LimitExceeded,
    ModelkeepError,
)
from modelkeep.manifest import ChangeTokenKind, Entry, Reference, Segment
from modelkeep.names import DraftName, RunName
from modelkeep_server.metadata.convert.collection import collection_edit_from_pb, collection_from_pb, collection_to_pb
from modelkeep_server.metadata.convert.commit import commit_from_pb, committed_to_pb
from modelkeep_server.metadata.convert.draft import draft_from_pb, draft_to_pb
from modelkeep_server.metadata.convert.entry import part_from_pb, part_to_pb, pieces_from_pb, pieces_to_pb
from modelkeep_server.metadata.convert.project import project_edit_from_pb, project_from_pb, project_to_pb
from modelkeep_server.metadata.convert.version import tags_from_pb, version_to_pb, words_from_pb
from modelkeep_server.metadata.domain.collection import Collection
from modelkeep_server.metadata.domain.draft import Commit, Committed, Draft, DraftState, Outcome
from modelkeep_server.metadata.domain.entry import Assembler, EntryPart
from modelkeep_server.metadata.domain.page import Line, is_file
from modelkeep_server.metadata.domain.project import Project
from modelkeep_server.metadata.domain.version import Origin, Tombstone, UseSummary, Version, VersionState, Words

from tests.unit.metadata.rig import DIGITS, PROJECT

NOON = datetime(2026, 3, 1, 12, 0, 0, 123456, tzinfo=UTC)
LATER = datetime(2026, 3, 2, 12, tzinfo=UTC)
DIGEST = Digest.of(b"x")
V3 = DIGITS.version(3)
LONG = "x" * (64 * 1024 + 1)

VERSION = Version(
    name=V3,
    uid="uid",
    state=VersionState.DELETED,
    digest=DIGEST,
    layout=Digest.of(b"layout"),
    type="model",
    description="d",
    notes="n",
    metadata_json="{}",
    tags=("a",),
    aliases=("best", "latest"),
    entry_count=1,
    stored_bytes=2,
    referenced_bytes=3,
    create_time=NOON,
    update_time=LATER,
    verified_time=None,
    creator="teams/acme/apiKeys/k1",
    run="teams/acme/projects/vision/runs/r1",
    run_display_name="fox",
    etag="7",
    tombstone=Tombstone("teams/acme/apiKeys/k2", "old", NOON, LATER),
    origin=Origin("o", "uid"),
    uses=UseSummary(2, NOON, LATER),
)


def test_a_version_is_shown_whole_but_for_its_layout() -> None:
    message = version_to_pb(VERSION)
    assert {field.name for field, _ in message.ListFields()} == {f.name for f in message.DESCRIPTOR.fields} - {"verified_time"}
    assert (message.name, message.digest, message.state) == (str(V3), str(DIGEST), version_pb2.VERSION_STATE_DELETED)
    assert message.create_time.ToMicroseconds() == int(NOON.timestamp()) * 1_000_000 + 123456
    assert (message.tombstone.reason, message.uses.run_count) == ("old", 2)
    assert Digest.of(b"layout").hex not in str(message)
    assert not version_to_pb(replace(VERSION, tombstone=None)).HasField("tombstone")


def test_a_commit_is_answered_whole() -> None:
    """SEM-11."""
    message = committed_to_pb(Committed(VERSION, deduplicated=True, ignored_fields=("tags",)))
    assert (message.version.name, message.deduplicated, list(message.ignored_fields)) == (str(V3), True, ["tags"])


@pytest.mark.parametrize("state", DraftState)
def test_a_draft_is_shown_in_each_state(state: DraftState) -> None:
    name = DraftName("acme", "vision", "5f2b9a30-2d54-4c8e-9d0a-2c6a3a5a9b11")
    outcome = Outcome(V3, b"", deduplicated=False, ignored_fields=()) if state is DraftState.COMMITTED else None
    message = draft_to_pb(Draft(name, DIGITS, "model", state, NOON, LATER, 1, None, outcome))
    assert draft_pb2.DraftState.Name(message.state) == f"DRAFT_STATE_{state.name}"
    assert message.version == (str(V3) if outcome else "")
    assert (message.name, message.collection, message.type) == (str(name), str(DIGITS), "model")


def test_projects_and_collections_are_shown_whole() -> None:
    project = project_to_pb(Project(PROJECT, "d", NOON, LATER, "3"))
    assert {field.name for field, _ in project.ListFields()} == {field.name for field in project.DESCRIPTOR.fields}
    collection = collection_to_pb(Collection(DIGITS, "model", "d", V3, 4, NOON, LATER, "3", "u"))
    assert {field.name for field, _ in collection.ListFields()} == {field.name for field in collection.DESCRIPTOR.fields}
    assert collection_to_pb(Collection(DIGITS, "model", "d", None, 0, NOON, LATER, "3")).latest_version == ""


def test_what_is_to_be_made_is_read() -> None:
    assert project_from_pb(
        pb.CreateProjectRequest(parent="teams/acme", project_id="vision", project=project_pb2.Project(description="d"))
    ) == (PROJECT, "d")
    assert collection_from_pb(
        pb.CreateCollectionRequest(
            parent=str(PROJECT), collection_id="digits", collection=collection_pb2.Collection(type="model", description="d")
        )
    ) == (DIGITS, "model", "d")
    draft = draft_pb2.Draft(collection=str(DIGITS), type="model")
    assert draft_from_pb(pb.CreateDraftRequest(parent=str(PROJECT), draft=draft)) == ((PROJECT, DIGITS, "model"), None, "")


@pytest.mark.parametrize("text", ["a\0b", LONG])
def test_texts_are_bounded_and_have_no_nul(text: str) -> None:
    for read in (
        lambda: project_from_pb(
            pb.CreateProjectRequest(parent="teams/acme", project_id="p", project=project_pb2.Project(description=text))
        ),
        lambda: commit_from_pb(pb.CommitDraftRequest(description=text)),
        lambda: commit_from_pb(pb.CommitDraftRequest(notes=text)),
        lambda: commit_from_pb(pb.CommitDraftRequest(run_display_name=text)),
        lambda: words_from_pb(edit("notes", notes=text)),
    ):
        with pytest.raises(InvalidArgument):
            read()


def edit(*paths: str, **fields: Any) -> pb.UpdateVersionRequest:
    version = version_pb2.Version(name=str(V3), etag="7", **fields)
    return pb.UpdateVersionRequest(version=version, update_mask=FieldMask(paths=paths))


def test_a_mask_says_what_an_edit_changes() -> None:
    """AIP-134: what it does not name stays as it is, what it names and is not given becomes empty."""
    assert words_from_pb(edit("notes", description="ignored", notes="n")) == (V3, Words(notes="n"), "7")
    assert words_from_pb(edit("description")) == (V3, Words(description=""), "7")
    assert words_from_pb(edit("metadata_json", metadata_json=' {"b": 1, "a": NaN} ')) == (
        V3,
        Words(metadata_json='{"a":null,"b":1}'),
        "7",
    )
    collection = collection_pb2.Collection(name=str(DIGITS), type="x", description="d", etag="1")
    for paths, expected in ((["type"], ("x", None)), (["description", "type"], ("x", "d"))):
        request = pb.UpdateCollectionRequest(collection=collection, update_mask=FieldMask(paths=paths))
        assert collection_edit_from_pb(request) == (DIGITS, *expected, "1")
    project = project_pb2.Project(name=str(PROJECT), description="d", etag="1")
    request = pb.UpdateProjectRequest(project=project, update_mask=FieldMask(paths=["description"]))
    assert project_edit_from_pb(request) == (PROJECT, "d", "1")


@pytest.mark.parametrize("paths", [[], ["digest"], ["notes", "tags"], ["*"], ["nonsense" * 100]])
def test_a_mask_names_only_what_can_be_edited(paths: list[str]) -> None:
    """SEM-15: content is immutable."""
    with pytest.raises(InvalidArgument, match="update_mask"):
        words_from_pb(edit(*paths))


def test_a_commit_has_one_form() -> None:
    """SEM-14: what means the same is the same body."""
    one = pb.CommitDraftRequest(
        aliases=["b", "latest", "a", "b"], tags=["y", "x", "x"], metadata_json='{"b":1,"a":2}', run=f"{PROJECT}/runs/r1"
    )
    commit = commit_from_pb(one)
    assert commit == Commit(("a", "b"), ("x", "y"), metadata_json='{"a":2,"b":1}', run=RunName("acme", "vision", "r1"))
    other = pb.CommitDraftRequest(aliases=["a", "b"], tags=["x", "y"], metadata_json='{"a": 2, "b": 1}', run=one.run)
    assert commit_from_pb(other).fingerprint == commit.fingerprint
    assert commit_from_pb(pb.CommitDraftRequest()) == Commit()
    assert commit_from_pb(pb.CommitDraftRequest(notes="n")).fingerprint != Commit().fingerprint


@pytest.mark.parametrize(
    ("fields", "error"),
    [
        ({"aliases": ["v1"]}, InvalidAlias),
        ({"aliases": ["a/b"]}, InvalidAlias),
        ({"tags": [" x"]}, InvalidTag),
        ({"metadata_json": "[1]"}, InvalidMetadata),
        ({"metadata_json": '{"a":Infinity}'}, InvalidMetadata),
        ({"run": "r1"}, InvalidName),
    ],
)
def test_bad_bodies_are_refused(fields: dict[str, Any], error: type[Exception]) -> None:
    with pytest.raises(error):
        commit_from_pb(pb.CommitDraftRequest(**fields))


def test_tags_are_read_once_each() -> None:
    assert tags_from_pb(["b", "a", "b"]) == ("a", "b")
    with pytest.raises(InvalidTag):
        tags_from_pb(["a:b"])


SEGMENTS = st.lists(st.builds(Segment, st.just(DIGEST), st.integers(0, 1 << 40), st.integers(1, 1 << 40)), max_size=3).map(
    tuple
)
REFERENCES = st.builds(
    Reference,
    st.just("s3://b/k"),
    st.text(max_size=5),
    st.text(max_size=5),
    st.none() | st.sampled_from(ChangeTokenKind),
    st.integers(0, 1 << 52),
)
ENTRIES = st.builds(
    Entry,
    st.text(max_size=9),
    st.just(DIGEST),
    st.none() | st.integers(0, 1 << 60),
    st.booleans(),
    reference=st.none() | REFERENCES,
)


@given(ENTRIES, SEGMENTS, st.booleans(), st.booleans())
def test_a_part_survives_the_wire(entry: Entry, segments: tuple[Segment, ...], goes_on: bool, is_head: bool) -> None:
    part = EntryPart(entry.path, entry if is_head else None, segments, goes_on)
    message = entry_pb2.Entry.FromString(part_to_pb(part).SerializeToString())
    assert part_from_pb(message) == part


FILES = st.builds(
    Entry,
    st.sampled_from(["w", "a/b.bin", "é", "..", "a//b", "%2e%2e", "a" * 300]),
    st.sampled_from([DIGEST, EMPTY]),
    st.none() | st.integers(0, 9),
    st.booleans(),
    st.lists(st.builds(Segment, st.just(DIGEST), st.integers(0, 1 << 32), st.integers(0, 4)), max_size=3).map(tuple),
    st.none() | st.just(Reference("s3://b/k")),
)


@given(FILES, st.booleans())
def test_a_simple_file_becomes_its_line_at_once_and_all_else_a_part(entry: Entry, goes_on: bool) -> None:
    """The line is the one that the slow way gives, and nothing gets in that the slow way refuses."""
    part = EntryPart(entry.path, replace(entry, segments=()), entry.segments, goes_on)
    request = pb.AddEntriesRequest(entries=pieces_to_pb([part]).entries)
    try:
        entry.check()
    except InvalidPath:
        with pytest.raises(InvalidPath):
            Assembler().add(*pieces_from_pb(request))
    except ModelkeepError:
        assert pieces_from_pb(request) == [part]
    else:
        line = Line.of(entry)
        is_simple = not goes_on and entry.reference is None
        assert pieces_from_pb(request) == [(line.path, line.encode()) if is_simple else part]
        assert is_file(line.path, line.encode()) == (entry.reference is None)
        assert not is_simple or pieces_to_pb(pieces_from_pb(request)) == pieces_to_pb([part])


@pytest.mark.parametrize(
    ("message", "error"),
    [
        (entry_pb2.Entry(path="w", digest=DigestMessage()), InvalidEntry),
        (entry_pb2.Entry(path="w", digest=DigestMessage(sha256=b"short")), InvalidArgument),
        (entry_pb2.Entry(path="w", segments=[entry_pb2.Segment(length=1)]), InvalidEntry),
        (
            entry_pb2.Entry(
                path="w",
                digest=DigestMessage(sha256=bytes(32)),
                reference=entry_pb2.Reference(uri="s3://b", change_token="t", change_token_kind=99),  # type: ignore[arg-type]
            ),
            InvalidReference,
        ),
    ],
)
def test_bad_entries_are_refused_at_the_door(message: entry_pb2.Entry, error: type[Exception]) -> None:
    with pytest.raises(error):
        part_from_pb(message)


def test_names_are_read_where_they_come_in() -> None:
    for read in (
        lambda: draft_from_pb(
            pb.CreateDraftRequest(parent=str(PROJECT), draft=draft_pb2.Draft(collection=str(DIGITS), type=""))
        ),
        lambda: draft_from_pb(pb.CreateDraftRequest(parent="acme", draft=draft_pb2.Draft(collection=str(DIGITS), type="t"))),
        lambda: collection_from_pb(pb.CreateCollectionRequest(parent=str(PROJECT), collection_id="a/b")),
        lambda: project_from_pb(pb.CreateProjectRequest(parent="teams/acme", project_id="..")),
    ):
        with pytest.raises(InvalidName):
            read()
    with pytest.raises(LimitExceeded):
        commit_from_pb(pb.CommitDraftRequest(description=LONG))
