"""M-AUTHZ-1: who may call what stands in the contract, and the servers enforce exactly that."""

import pytest
from modelkeep_server.blob.module import ACCESS as BLOB
from modelkeep_server.lineage.module import ACCESS as LINEAGE
from modelkeep_server.metadata.module import ACCESS as METADATA
from modelkeep_server.runtime.callers import Access

from tests.house.repository import rpcs

RULES = {**BLOB, **METADATA, **LINEAGE}
FIRST_WORDS = {
    "no token": Access.ANONYMOUS,
    "any valid": Access.ANY,
    "read on": Access.READ,
    "write on": Access.WRITE,
    "admin on": Access.ADMIN,
    "a service": Access.SERVICE,
}


@pytest.mark.parametrize("rpc", rpcs(), ids=lambda rpc: rpc.path)
def test_the_server_asks_for_what_the_contract_says(rpc):
    assert RULES[rpc.path] is FIRST_WORDS[" ".join(rpc.needs.split()[:2])]


def test_no_rule_is_for_a_call_that_does_not_exist():
    assert set(RULES) == {rpc.path for rpc in rpcs()}
