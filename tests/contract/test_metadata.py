"""Projects, drafts, versions and entries as the contract says it, through generated stubs alone, in every topology."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import grpc
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from google.protobuf.field_mask_pb2 import FieldMask
from google.protobuf.message import Message
from modelkeep._signature import sign
from modelkeep._status import from_rpc_error
from modelkeep.api.blob.v1 import blob_service_pb2 as blob_pb
from modelkeep.api.blob.v1 import blob_service_pb2_grpc as blob_rpc
from modelkeep.api.blob.v1.digest_pb2 import Chunk, Digest
from modelkeep.api.metadata.v1 import metadata_service_pb2 as pb
from modelkeep.api.metadata.v1 import metadata_service_pb2_grpc as rpc
from modelkeep.api.metadata.v1.alias_pb2 import AliasMove
from modelkeep.api.metadata.v1.collection_pb2 import Collection
from modelkeep.api.metadata.v1.draft_pb2 import DRAFT_STATE_ABORTED, Draft
from modelkeep.api.metadata.v1.entry_pb2 import Entry, Segment
from modelkeep.api.metadata.v1.key_pb2 import ROLE_READ, ApiKey
from modelkeep.api.metadata.v1.project_pb2 import Project
from modelkeep.api.metadata.v1.signature_pb2 import Signature
from modelkeep.api.metadata.v1.version_pb2 import VERSION_STATE_DELETED, Version
from modelkeep.errors import ModelkeepError

from tests.suites import Suite


@dataclass
class Client:
    """A client of one team, in one project and collection."""

    team: str
    metadata: rpc.MetadataServiceStub
    blob: blob_rpc.BlobServiceStub
    auth: tuple[tuple[str, str], ...] = field(repr=False)
    project: str = field(default_factory=lambda: f"t-{uuid4().hex[:12]}")

    @property
    def parent(self) -> str:
        return f"{self.team}/projects/{self.project}"

    @property
    def collection(self) -> str:
        return f"{self.parent}/collections/digits"

    def call(self, method: str, request: Message) -> Any:
        """The answer; an error as the class that it stands for. A call that writes gets a request id unless it has one."""
        if "request_id" in request.DESCRIPTOR.fields_by_name and not getattr(request, "request_id"):  # noqa: B009
            request.request_id = str(uuid4())  # type: ignore[attr-defined]
        try:
            return getattr(self.metadata, method)(request, metadata=self.auth, timeout=60)
        except grpc.RpcError as error:
            raise from_rpc_error(error) from None

    def upload(self, data: bytes) -> Digest:
        digest = Digest(sha256=hashlib.sha256(data).digest())
        chunk = Chunk(digest=digest, size_bytes=len(data))
        request = blob_pb.PrepareUploadRequest(parent=self.team, chunks=[chunk], stream_only=True)
        prepared = self.blob.PrepareUpload(request, metadata=self.auth, timeout=60)
        write = blob_pb.WriteRequest(lease=prepared.lease.name, chunk=chunk, data=data)
        self.blob.Write(iter([write]), metadata=self.auth, timeout=60)
        return digest

    def draft(self, **files: bytes) -> Draft:
        draft = self.call(
            "CreateDraft", pb.CreateDraftRequest(parent=self.parent, draft=Draft(collection=self.collection, type="model"))
        )
        entries = []
        for path, data in files.items():
            digest = self.upload(data)
            segments = [Segment(chunk=digest, length=len(data))]
            entries.append(Entry(path=path, digest=digest, size_bytes=len(data), segments=segments))
        requests = [pb.AddEntriesRequest(draft=draft.name), *(pb.AddEntriesRequest(entries=[entry]) for entry in entries)]
        added = self.metadata.AddEntries(iter(requests), metadata=self.auth, timeout=60)
        assert added.entry_count == len(files)
        return draft

    def log(self, *aliases: str, **commit: Any) -> pb.CommitDraftResponse:
        draft = self.draft(weights=uuid4().bytes)
        return self.call("CommitDraft", pb.CommitDraftRequest(name=draft.name, aliases=aliases, **commit))

    def resolve(self, address: str) -> Version:
        return self.call("Resolve", pb.ResolveRequest(parent=self.parent, address=address))

    def move(self, alias: str, version: str, **expectation: Any) -> pb.MoveAliasesResponse:
        moves = [AliasMove(alias=alias, version=version, **expectation)]
        return self.call("MoveAliases", pb.MoveAliasesRequest(parent=self.collection, moves=moves))


@contextmanager
def connected(suite: Suite, key: str) -> Iterator[Client]:
    metadata_url, blob_url = (url.removeprefix("grpc://") for url in (suite.url, suite.blob_url or suite.url))
    with grpc.insecure_channel(metadata_url) as metadata, grpc.insecure_channel(blob_url) as blob:
        stub = rpc.MetadataServiceStub(metadata)
        token = stub.ExchangeApiKey(pb.ExchangeApiKeyRequest(secret=key), timeout=60)
        auth = (("authorization", f"Bearer {token.access_token}"),)
        yield Client(token.team, stub, blob_rpc.BlobServiceStub(blob), auth)


@pytest.fixture
def client(suite: Suite) -> Iterator[Client]:
    with connected(suite, suite.api_key) as connection:
        yield connection


def reason(work: Callable[[], object]) -> str:
    """The reason that something fails with."""
    with pytest.raises(ModelkeepError) as raised:
        work()
    return str(raised.value.reason)


def test_log_alias_and_fetch(client: Client) -> None:
    """The main job: I3, SEM-9, 16, 18."""
    logged = client.log("best", tags=["x"], description="d", metadata_json='{"acc": 0.9}')
    assert not logged.deduplicated
    version = client.resolve("digits:best")
    assert version == client.resolve("digits") == logged.version
    assert (version.name, version.type) == (f"{client.collection}/versions/v0", "model")
    assert list(version.aliases) == ["best", "latest"]
    assert list(version.tags) == ["x"]
    assert version.metadata_json == '{"acc":0.9}'
    stream = client.metadata.StreamEntries(pb.StreamEntriesRequest(parent=version.name), metadata=client.auth, timeout=60)
    (entry,) = [entry for message in stream for entry in message.entries]
    assert (entry.path, entry.size_bytes, len(entry.segments)) == ("weights", 16, 1)
    (listed,) = client.call("ListEntries", pb.ListEntriesRequest(parent=version.name)).entries
    assert (listed.path, len(listed.segments)) == ("weights", 0)


def test_names_around_versions(client: Client) -> None:
    project = client.call("CreateProject", pb.CreateProjectRequest(parent=client.team, project_id=client.project))
    assert project == client.call("GetProject", pb.GetProjectRequest(name=client.parent))
    edited = Project(name=project.name, description="new", etag=project.etag)
    update = pb.UpdateProjectRequest(project=edited, update_mask=FieldMask(paths=["description"]))
    assert client.call("UpdateProject", update).description == "new"
    stale = pb.UpdateProjectRequest(project=edited, update_mask=FieldMask(paths=["description"]))
    assert reason(lambda: client.call("UpdateProject", stale)) == "ETAG_MISMATCH"
    assert project.name in [
        one.name for one in client.call("ListProjects", pb.ListProjectsRequest(parent=client.team)).projects
    ]
    assert client.team in [team.name for team in client.call("ListTeams", pb.ListTeamsRequest()).teams]
    assert client.call("GetTeam", pb.GetTeamRequest(name=client.team)).name == client.team
    wish = pb.CreateCollectionRequest(parent=client.parent, collection_id="digits", collection=Collection(type="dataset"))
    made = client.call("CreateCollection", wish)
    assert made == client.call("GetCollection", pb.GetCollectionRequest(name=made.name))
    assert reason(client.draft) == "COLLECTION_TYPE_MISMATCH"
    retyped = Collection(name=made.name, type="model")
    client.call("UpdateCollection", pb.UpdateCollectionRequest(collection=retyped, update_mask=FieldMask(paths=["type"])))
    client.log()
    renamed = client.call("RenameCollection", pb.RenameCollectionRequest(name=made.name, new_collection_id="numbers"))
    assert renamed.latest_version == client.resolve("numbers:v0").name
    assert [
        one.name for one in client.call("ListCollections", pb.ListCollectionsRequest(parent=client.parent)).collections
    ] == [renamed.name]


def test_a_draft_may_be_given_up(client: Client) -> None:
    """SEM-8, SEM-14."""
    draft = client.draft(a=b"1")
    assert client.call("GetDraft", pb.GetDraftRequest(name=draft.name)).version == ""
    assert client.call("AbortDraft", pb.AbortDraftRequest(name=draft.name)).state == DRAFT_STATE_ABORTED
    assert reason(lambda: client.call("CommitDraft", pb.CommitDraftRequest(name=draft.name))) == "DRAFT_NOT_OPEN"
    again = client.draft(a=b"1")
    commit = pb.CommitDraftRequest(name=again.name, notes="n")
    assert client.call("CommitDraft", commit) == client.call("CommitDraft", commit)
    assert reason(lambda: client.call("CommitDraft", pb.CommitDraftRequest(name=again.name))) == "DRAFT_COMMITTED"


def test_a_commit_of_what_is_not_stored_names_it(client: Client) -> None:
    """I2, SEM-22."""
    draft = client.draft()
    digest = Digest(sha256=hashlib.sha256(uuid4().bytes).digest())
    entry = Entry(path="a", digest=digest, size_bytes=16, segments=[Segment(chunk=digest, length=16)])
    client.metadata.AddEntries(
        iter([pb.AddEntriesRequest(draft=draft.name, entries=[entry])]), metadata=client.auth, timeout=60
    )
    with pytest.raises(ModelkeepError) as raised:
        client.call("CommitDraft", pb.CommitDraftRequest(name=draft.name))
    assert raised.value.reason == "CHUNKS_MISSING"
    assert digest.sha256.hex() in raised.value.metadata["digests"]


def test_edit_delete_and_restore(client: Client) -> None:
    """SEM-15, 19, 40, 43, 44."""
    name = client.log("best").version.name
    words = Version(name=name, notes="good", etag=client.resolve("digits").etag)
    update = pb.UpdateVersionRequest(version=words, update_mask=FieldMask(paths=["notes"]))
    assert client.call("UpdateVersion", update).notes == "good"
    stale = pb.UpdateVersionRequest(version=words, update_mask=FieldMask(paths=["notes"]))
    assert reason(lambda: client.call("UpdateVersion", stale)) == "ETAG_MISMATCH"
    assert list(client.call("EditTags", pb.EditTagsRequest(name=name, add=["b", "a"], remove=["c"])).tags) == ["a", "b"]
    assert reason(lambda: client.call("DeleteVersion", pb.DeleteVersionRequest(name=name))) == "VERSION_ALIASED"
    gone = client.call("DeleteVersion", pb.DeleteVersionRequest(name=name, delete_aliases=True, reason="old"))
    assert (gone.state, gone.tombstone.reason, list(gone.aliases)) == (VERSION_STATE_DELETED, "old", [])
    assert reason(lambda: client.resolve("digits:v0")) == "VERSION_DELETED"
    assert reason(lambda: client.resolve("digits:best")) == "ALIAS_NOT_FOUND"
    shown = client.call("GetVersion", pb.GetVersionRequest(name=name, show_deleted=True))
    assert shown.tombstone == gone.tombstone
    lists = [
        client.call("ListVersions", pb.ListVersionsRequest(parent=client.collection, show_deleted=s)) for s in (False, True)
    ]
    assert [len(one.versions) for one in lists] == [0, 1]
    assert client.call("RestoreVersion", pb.RestoreVersionRequest(name=name)).name == client.resolve("digits").name


def test_aliases_move_by_expectation_and_remember(client: Client) -> None:
    """SEM-16, SEM-17."""
    v0, v1 = (client.log().version.name for _ in range(2))
    client.move("best", v0, must_not_exist=True)
    with ThreadPoolExecutor(8) as threads:
        tries = [threads.submit(client.move, "best", v1, expected_version=v0) for _ in range(8)]
    failed = [error for one in tries if (error := one.exception()) is not None]
    assert [getattr(error, "reason", "") for error in failed] == ["ALIAS_CHANGED"] * 7
    alias = client.call("GetAlias", pb.GetAliasRequest(name=f"{client.collection}/aliases/best"))
    assert (alias.version, alias.seq, alias.etag) == (v1, 2, "2")
    assert client.call("ListAliases", pb.ListAliasesRequest(parent=client.collection)).aliases == [alias]
    changes = client.call("ListAliasHistory", pb.ListAliasHistoryRequest(parent=client.collection, alias="best")).changes
    assert [(change.from_version, change.to_version) for change in changes] == [(v0, v1), ("", v0)]
    moment = changes[1].change_time.ToDatetime(UTC).isoformat()
    assert client.resolve(f"digits:best@{moment}").name == v0
    assert reason(lambda: client.move("latest", v0)) == "INVALID_ALIAS"


def test_a_use_is_recorded_once(client: Client) -> None:
    """SEM-39."""
    name = client.log().version.name
    use = {"version": name, "run": f"{client.parent}/runs/r1", "alias_text": "digits:latest"}
    first = [client.call("RecordUse", pb.RecordUseRequest(**use)).first for _ in range(3)]
    assert first == [True, False, False]
    assert client.resolve("digits").uses.run_count == 1


def test_the_log_tells_it_all(client: Client) -> None:
    """SEM-58."""
    client.log("best")
    events = client.call("ListEvents", pb.ListEventsRequest(parent=client.parent))
    kinds = [event.WhichOneof("happening") for event in events.events]
    assert kinds == ["project_created", "collection_created", "version_committed", "alias_moved"]
    assert [event.sequence for event in events.events] == [1, 2, 3, 4]
    rest = client.call("ListEvents", pb.ListEventsRequest(parent=client.parent, after_sequence=3))
    assert (list(rest.events), rest.head_sequence) == (list(events.events[3:]), 4)


def test_keys_are_made_shown_once_and_ended(client: Client, suite: Suite) -> None:
    """R14."""
    wish = ApiKey(role=ROLE_READ, display_name="ci")
    wish.expire_time.FromDatetime(datetime.now(UTC) + timedelta(days=1))
    request = pb.CreateApiKeyRequest(parent=client.team, api_key=wish, request_id=str(uuid4()))
    made, repeated = client.call("CreateApiKey", request), client.call("CreateApiKey", request)
    assert (made.api_key, repeated.secret) == (repeated.api_key, "")
    refused = pb.CreateProjectRequest(parent=client.team, project_id="x")
    with connected(suite, made.secret) as reader:
        assert reason(lambda: reader.call("CreateProject", refused)) == "PERMISSION_DENIED"
    listed = client.call("ListApiKeys", pb.ListApiKeysRequest(parent=client.team, page_size=1000)).api_keys
    assert made.api_key in listed
    assert client.call("RevokeApiKey", pb.RevokeApiKeyRequest(name=made.api_key.name)).HasField("revoke_time")
    with pytest.raises(grpc.RpcError) as raised:
        client.metadata.ExchangeApiKey(pb.ExchangeApiKeyRequest(secret=made.secret), timeout=60)
    assert from_rpc_error(raised.value).reason == "API_KEY_INVALID"


def test_every_call_that_writes_may_be_repeated(client: Client) -> None:
    """SEM-14, R12: the same id, the same answer; another body under it is refused; no id, or no UUID4, is refused."""
    version = client.log("best").version
    name = version.name
    public_key, value = sign(Ed25519PrivateKey.generate(), version.digest)
    requests: list[Message] = [
        pb.CreateProjectRequest(parent=client.team, project_id=f"{client.project}-2"),
        pb.UpdateProjectRequest(project=Project(name=client.parent), update_mask=FieldMask(paths=["description"])),
        pb.CreateCollectionRequest(parent=client.parent, collection_id="c", collection=Collection(type="model")),
        pb.UpdateCollectionRequest(collection=Collection(name=client.collection), update_mask=FieldMask(paths=["description"])),
        pb.RenameCollectionRequest(name=f"{client.parent}/collections/c", new_collection_id="d"),
        pb.MoveCollectionRequest(name=f"{client.parent}/collections/d", new_parent=f"{client.parent}-2"),
        pb.CreateDraftRequest(parent=client.parent, draft=Draft(collection=client.collection, type="model")),
        pb.AbortDraftRequest(name=client.draft().name),
        pb.RemoveEntriesRequest(draft=client.draft(a=b"a", b=b"b").name, paths=["a"]),
        pb.CopyVersionRequest(parent=f"{client.parent}/collections/copies", source=name),
        pb.UpdateVersionRequest(version=Version(name=name, notes="n"), update_mask=FieldMask(paths=["notes"])),
        pb.EditTagsRequest(name=name, add=["t"]),
        pb.MoveAliasesRequest(parent=client.collection, moves=[AliasMove(alias="new", version=name, must_not_exist=True)]),
        pb.SetAliasRuleRequest(alias=f"{client.collection}/aliases/top", expression="argmax(metadata.acc)"),
        pb.DeleteAliasRuleRequest(alias=f"{client.collection}/aliases/top"),
        pb.AddSignatureRequest(parent=name, signature=Signature(algorithm=1, public_key=public_key, value=value)),
        pb.RecordUseRequest(version=name, run=f"{client.parent}/runs/r"),
        pb.DeleteVersionRequest(name=name, delete_aliases=True),
        pb.RestoreVersionRequest(name=name),
        pb.RevokeApiKeyRequest(name=client.call("CreateApiKey", _new_key(client)).api_key.name),
        _new_key(client),
    ]
    service = pb.DESCRIPTOR.services_by_name["MetadataService"]
    writing = {m.name for m in service.methods if "request_id" in m.input_type.fields_by_name}
    assert writing == {type(request).__name__.removesuffix("Request") for request in requests}
    for request in requests:
        method = type(request).__name__.removesuffix("Request")
        for bad in ("", "7"):
            _with_id(request, bad)
            with pytest.raises(grpc.RpcError) as raised:
                getattr(client.metadata, method)(request, metadata=client.auth, timeout=60)
            assert from_rpc_error(raised.value).reason == "INVALID_ARGUMENT"
        _with_id(request, str(uuid4()))
        first, second = client.call(method, request), client.call(method, request)
        if method == "CreateApiKey":
            first.secret = ""
        assert first == second
        other = _another_body(request)
        assert reason(lambda method=method, other=other: client.call(method, other)) == "REQUEST_ID_REUSED"


def _new_key(client: Client) -> pb.CreateApiKeyRequest:
    return pb.CreateApiKeyRequest(parent=client.team, api_key=ApiKey(role=ROLE_READ))


def _with_id(request: Any, request_id: str) -> None:
    request.request_id = request_id


def _another_body(request: Any) -> Any:
    """A well-formed request of the same kind and id that says something else."""
    other = type(request)()
    other.CopyFrom(request)
    match other:
        case pb.CreateProjectRequest() | pb.UpdateProjectRequest():
            other.project.description = "other"
        case pb.CreateCollectionRequest() | pb.UpdateCollectionRequest():
            other.collection.description = "other"
        case pb.RenameCollectionRequest() | pb.MoveCollectionRequest():
            other.new_collection_id = "e"
        case pb.RemoveEntriesRequest():
            other.paths.append("b")
        case pb.CopyVersionRequest():
            other.tags.append("other")
        case pb.CreateDraftRequest():
            other.draft.type = "other"
        case pb.UpdateVersionRequest():
            other.version.notes = "other"
        case pb.EditTagsRequest():
            other.add.append("u")
        case pb.MoveAliasesRequest() | pb.DeleteVersionRequest():
            other.reason = "other"
        case pb.SetAliasRuleRequest() | pb.DeleteAliasRuleRequest():
            other.alias += "2"
        case pb.AddSignatureRequest():
            other.signature.comment = "other"
        case pb.RecordUseRequest():
            other.alias_text = "other"
        case pb.CreateApiKeyRequest():
            other.api_key.display_name = "other"
        case _:
            other.name = other.name[:-1] + ("1" if other.name[-1] == "0" else "0")
    return other


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("", "INVALID_ADDRESS"),
        ("a/b/c/d", "INVALID_ADDRESS"),
        ("digits:v1@2026-01-01", "INVALID_ADDRESS"),
        ("digits:a#b", "INVALID_ALIAS"),
        ("di gits", "INVALID_NAME"),
        ("x" * 10_000, "INVALID_NAME"),
        ("digits:v9", "VERSION_NOT_FOUND"),
        ("digits:bset", "ALIAS_NOT_FOUND"),
        ("digits@sha256:00000000", "VERSION_NOT_FOUND"),
        ("digit", "COLLECTION_NOT_FOUND"),
        ("nowhere/digits", "PROJECT_NOT_FOUND"),
        ("somebody/else/digits", "PERMISSION_DENIED"),
    ],
)
def test_what_cannot_be_resolved(client: Client, address: str, expected: str) -> None:
    client.log("best")
    assert reason(lambda: client.resolve(address)) == expected


def test_a_list_is_paged_and_its_tokens_are_its_own(client: Client) -> None:
    """SEM-53, M-DOS-1."""
    for _ in range(3):
        client.log()
    first = client.call("ListVersions", pb.ListVersionsRequest(parent=client.collection, page_size=2))
    rest = client.call(
        "ListVersions", pb.ListVersionsRequest(parent=client.collection, page_size=2, page_token=first.next_page_token)
    )
    names = [version.name.rpartition("/")[2] for version in (*first.versions, *rest.versions)]
    assert (names, rest.next_page_token) == (["v2", "v1", "v0"], "")
    for token in (first.next_page_token, "x", "e30="):
        foreign = pb.ListAliasesRequest(parent=client.collection, page_token=token)
        assert reason(lambda foreign=foreign: client.call("ListAliases", foreign)) == "PAGE_TOKEN_INVALID"
    negative = pb.ListVersionsRequest(parent=client.collection, page_size=-1)
    assert reason(lambda: client.call("ListVersions", negative)) == "INVALID_ARGUMENT"
