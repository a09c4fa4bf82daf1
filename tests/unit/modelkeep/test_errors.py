"""One class per reason; an error is the same wherever it is caught."""

import copy
import pickle

import pytest
from modelkeep import errors
from modelkeep.errors import BY_REASON, Code, ModelkeepError

CLASSES = list(BY_REASON.values())


@pytest.mark.parametrize("cls", CLASSES, ids=lambda c: c.__name__)
def test_an_error_survives_pickling(cls):
    """M-UP-4: an error that a worker process raises must not be swallowed on its way to the parent."""
    error = cls("there is no v9 of digits", version="v9", count=3)
    error.request_id = "r-1"
    for twin in (pickle.loads(pickle.dumps(error)), copy.copy(error)):
        assert type(twin) is cls
        assert (twin.message, twin.metadata, twin.request_id) == (error.message, {"version": "v9", "count": "3"}, "r-1")
        assert str(twin) == "there is no v9 of digits (request r-1)"


def test_an_abstract_error_survives_pickling():
    twin = pickle.loads(pickle.dumps(errors.NotFound("gone", name="x")))
    assert (type(twin), twin.metadata) == (errors.NotFound, {"name": "x"})


@pytest.mark.parametrize("cls", CLASSES, ids=lambda c: c.__name__)
def test_an_error_from_the_wire_is_the_same_class(cls):
    assert type(errors.rebuild(int(cls.code), cls.reason, "m", {})) is cls


@pytest.mark.parametrize("code", Code)
def test_a_reason_from_a_newer_server_is_still_an_error_of_its_code(code):
    error = errors.rebuild(int(code), "REASON_OF_TOMORROW", "m", {"a": "b"}, "r")
    assert isinstance(error, ModelkeepError)
    assert error.code == code
    assert (error.metadata, error.request_id) == ({"a": "b"}, "r")
    for twin in (error, pickle.loads(pickle.dumps(error)), errors.rebuild(int(code), error.reason, "m", {})):
        assert twin.reason == "REASON_OF_TOMORROW"


def test_an_error_without_a_reason_has_an_empty_one():
    assert errors.NotFound("gone").reason == errors.rebuild(int(Code.NOT_FOUND), "", "m", {}).reason == ""
    assert errors.rebuild(int(Code.INVALID_ARGUMENT), "", "m", {}).reason == "INVALID_ARGUMENT"


@pytest.mark.parametrize("code", [0, 2, 17, -1])
def test_a_code_that_nobody_knows_is_an_internal_error(code):
    assert type(errors.rebuild(code, "", "m", {})) is errors.InternalError


def test_codes_are_those_of_grpc():
    grpc = pytest.importorskip("grpc")
    assert {code.name: code.value for code in Code} == {
        status.name: status.value[0] for status in grpc.StatusCode if status.name not in {"OK", "UNKNOWN"}
    }
