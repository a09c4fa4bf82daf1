"""What the command line prints: aligned, harmless to a terminal, and JSON that any program reads."""

import json
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st
from modelkeep._printable import printable
from modelkeep.cli.key import parse_duration
from modelkeep.cli.output import ROWS_AT_ONCE, Output, size, when
from modelkeep.errors import AliasNotFound, InvalidArgument, rebuild

COLUMNS = {"NAME": lambda row: row[0], "N": lambda row: str(row[1])}


def _to_json(row):
    return {"name": row[0], "n": row[1]}


def _table(rows, capsys, *, as_json):
    Output(as_json=as_json).table(rows, _to_json, COLUMNS, empty="nothing")
    return capsys.readouterr()


def test_columns_are_as_wide_as_a_terminal_shows_them(capsys):
    shown = _table([("模型", 1), ("a", 22)], capsys, as_json=False)
    assert shown.out == "NAME  N\n模型  1\na     22\n"


def test_columns_may_have_the_same_heading(capsys):
    pairs = [("A", lambda row: row[0]), ("A", lambda row: str(row[1]))]
    Output(as_json=False).table([("a", 1)], _to_json, pairs, empty="")
    assert capsys.readouterr().out == "A  A\na  1\n"


@pytest.mark.parametrize("count", [1, ROWS_AT_ONCE, ROWS_AT_ONCE + 1, 3 * ROWS_AT_ONCE])
def test_a_list_of_any_length_is_shown_whole(capsys, count):
    rows = [(f"row-{number}", number) for number in range(count)]
    lines = _table(iter(rows), capsys, as_json=False).out.splitlines()
    assert [line.split() for line in lines] == [["NAME", "N"], *([name, str(n)] for name, n in rows)]
    assert json.loads(_table(iter(rows), capsys, as_json=True).out) == [_to_json(row) for row in rows]


def test_an_empty_list_is_an_empty_array_or_a_note(capsys):
    assert json.loads(_table([], capsys, as_json=True).out) == []
    shown = _table([], capsys, as_json=False)
    assert (shown.out, shown.err) == ("", "nothing\n")


@given(st.text())
def test_no_text_steers_a_terminal(text):
    """M-SEC: names, tags and notes come from other people."""
    for shown in (printable(text), printable(text, lines=True).replace("\n", "")):
        assert shown.isprintable()


HOSTILE = "\x1b[31mred\x07\r\n\x9b\u202e"


@pytest.mark.parametrize(
    "show",
    [
        lambda out: out.answer({}, f"{HOSTILE} edited"),
        lambda out: out.details({}, {"notes": f"one{HOSTILE}two"}),
        lambda out: out.note(f"nothing is beside {HOSTILE}"),
        lambda out: out.table([("a", 1)], _to_json, {HOSTILE: lambda row: row[0]}, empty=""),
    ],
    ids=["answer", "details", "note", "heading"],
)
def test_no_answer_steers_a_terminal(capsys, show):
    """M-SEC: names, tags and notes come from other people."""
    show(Output(as_json=False))
    shown = capsys.readouterr()
    assert "red" in shown.out + shown.err
    assert (shown.out + shown.err).replace("\n", "").isprintable()


def test_an_answer_is_as_many_lines_as_it_was_given(capsys):
    out = Output(as_json=False)
    out.answer({}, "a\nb deleted", "c deleted")
    assert capsys.readouterr().out == "a\N{REPLACEMENT CHARACTER}b deleted\nc deleted\n"
    out.details({}, {"name": "n", "notes": "one\ntwo"})
    assert capsys.readouterr().out == "name   n\nnotes  one\n       two\n"
    out.note("one\ntwo")
    assert capsys.readouterr().err == "one\ntwo\n"


def test_json_holds_what_was_written_and_steers_no_terminal(capsys):
    out = Output(as_json=True)
    out.answer({"name": HOSTILE + "模型"})
    out.error(AliasNotFound(HOSTILE))
    shown = capsys.readouterr()
    assert json.loads(shown.out) == {"name": HOSTILE + "模型"}
    assert json.loads(shown.err)["error"]["message"] == HOSTILE
    assert (shown.out + shown.err).replace("\n", "").isprintable()
    assert "模型" in shown.out


@pytest.mark.parametrize(("reason", "told"), [("REASON_OF_TOMORROW", "REASON_OF_TOMORROW"), ("", "FAILED_PRECONDITION")])
def test_an_error_of_a_newer_server_keeps_its_reason(capsys, reason, told):
    Output(as_json=True).error(rebuild(9, reason, "not yet", {}))
    assert json.loads(capsys.readouterr().err)["error"]["reason"] == told


def test_an_error_is_one_line_or_one_object(capsys):
    error = AliasNotFound("there is no alias \x1b[31m'bset'", alias="bset", nearest="best")
    error.request_id = "r-1"
    Output(as_json=False).error(error)
    assert capsys.readouterr().err == "error: there is no alias \N{REPLACEMENT CHARACTER}[31m'bset' (request r-1)\n"
    Output(as_json=True).error(error)
    assert json.loads(capsys.readouterr().err)["error"] == {
        "code": "NOT_FOUND",
        "reason": "ALIAS_NOT_FOUND",
        "message": error.message,
        "metadata": {"alias": "bset", "nearest": "best"},
        "request_id": "r-1",
    }


@pytest.mark.parametrize(
    ("count", "shown"),
    [(0, "0 B"), (1023, "1023 B"), (1024, "1.0 KiB"), (1 << 20, "1.0 MiB"), (5 << 30, "5.0 GiB"), (1 << 60, "1048576.0 TiB")],
)
def test_sizes(count, shown):
    assert size(count) == shown


def test_times_are_utc_to_the_microsecond():
    moment = datetime(2026, 3, 1, 12, 0, 0, 5, tzinfo=timezone(timedelta(hours=2)))
    assert when(moment) == "2026-03-01T10:00:00.000005Z"
    assert when(datetime(2026, 3, 1, tzinfo=UTC)) == "2026-03-01T00:00:00Z"
    assert when(None) == ""


def test_durations():
    assert [parse_duration(text) for text in ("90s", "45m", "12h", "30d")] == [
        timedelta(seconds=90),
        timedelta(minutes=45),
        timedelta(hours=12),
        timedelta(days=30),
    ]
    for text in ("", "0d", "1", "d", "1y", "-1d", "1.5h", "1 d", "1d\n", "9999999d"):
        with pytest.raises(InvalidArgument):
            parse_duration(text)
