"""What every RPC of the contract keeps, checked on the descriptors: a new RPC without a rule fails the build."""

import re

import pytest
from google.api import field_behavior_pb2
from modelkeep.errors import BY_REASON, Code

from tests.house.repository import contract, messages, rpcs

RPCS = rpcs()
READS = re.compile(r"(Get|List|Stream|Watch|Resolve|Read|Stat$|PrepareDownload$|ExchangeApiKey$)")
PRESENT_STATE = {"PrepareUpload", "CompleteUpload", "RenewLease", "ConfirmChunks", "AdoptChunks", "Heartbeat"}
"""They answer with the present state of the world: safe to repeat, and never remembered (SEM-14)."""
IDEMPOTENT_BY_NAME = {"CommitDraft"}
"""A draft commits once: the draft is what makes a repetition harmless (SEM-14)."""
IDEMPOTENT_STREAMS = {"Write", "AddEntries"}
"""What is there already may come again."""
CURSORS = {"ListEvents": ("after_sequence", "head_sequence")}
"""Lists that never end; they go on from a number that the caller keeps."""
NEEDS = re.compile(
    r"no token|any valid token( of a user)?|a service token|(read|write|admin) on (it|the team)|"
    r"read on the team, or a service token|write on the team of the run, read on the team of the version|"
    r"write on the team( of the parent)?, read on (the team of the base|that of the source)"
)
WORDS = rf"\b(?:[A-Z]+(?:_[A-Z]+)+|{'|'.join(Code.__members__)})\b"
"""Codes and reasons, as comments write them."""
INTEGER = 5


def _ids(rpc):
    return f"{rpc.service.rsplit('.', 1)[1]}.{rpc.name}"


every_rpc = pytest.mark.parametrize("rpc", RPCS, ids=_ids)


def _fields(message):
    return {field.name: field for field in message.field}


def test_the_contract_was_read():
    assert {rpc.service.rsplit(".", 1)[1] for rpc in RPCS} >= {"BlobService", "MetadataService", "BlobMaintenanceService"}


@every_rpc
def test_what_writes_takes_a_request_id(rpc):
    """SEM-14."""
    if rpc.name in IDEMPOTENT_STREAMS:
        assert not rpc.is_unary
    elif READS.match(rpc.name) or rpc.name in PRESENT_STATE | IDEMPOTENT_BY_NAME:
        assert "request_id" not in _fields(rpc.request), "what is not remembered takes no request id"
    else:
        field = _fields(rpc.request)["request_id"]
        assert field_behavior_pb2.REQUIRED in field.options.Extensions[field_behavior_pb2.field_behavior]


@every_rpc
def test_what_lists_pages(rpc):
    """SEM-27, SEM-53."""
    if not rpc.name.startswith("List"):
        return
    request, response = _fields(rpc.request), _fields(rpc.response)
    assert request["page_size"].type == INTEGER
    for name, there in zip(CURSORS.get(rpc.name, ("page_token", "next_page_token")), (request, response), strict=True):
        assert name in there
    assert [f.name for f in response.values() if f.label == f.LABEL_REPEATED], "a list answers with a list"


@every_rpc
def test_a_comment_says_what_the_call_needs(rpc):
    """M-AUTHZ-1: the table of rights stands in the contract."""
    assert NEEDS.fullmatch(rpc.needs), f"{rpc.path} needs {rpc.needs!r}"


@every_rpc
def test_what_serves_services_takes_a_service_token_only(rpc):
    assert ("Maintenance" in rpc.service) == (rpc.needs == "a service token")


@every_rpc
def test_errors_in_a_comment_exist(rpc):
    """A comment names reasons that a caller can catch, under the code that they have."""
    listed = rpc.comment.partition("Errors:")[2]
    code = None
    for word in re.findall(WORDS, listed):
        if word in Code.__members__:
            code = Code[word]
        else:
            assert BY_REASON[word].code == code, f"{word} is a {BY_REASON[word].code.name}"
    assert code is not None or not listed


@every_rpc
def test_names_come_first(rpc):
    """AIP-131 to 135: what a call is about is field 1."""
    for name in ("name", "parent"):
        field = _fields(rpc.request).get(name)
        assert field is None or field.number == 1


@pytest.mark.parametrize("name", messages())
def test_every_field_says_how_it_behaves(name):
    for field in messages()[name].field:
        assert field.options.Extensions[field_behavior_pb2.field_behavior], f"{name}.{field.name}"


@pytest.mark.parametrize("file", contract().file, ids=lambda f: f.name)
def test_a_proto_lies_where_its_package_says(file):
    assert file.name.rpartition("/")[0] == file.package.replace(".", "/")
