"""Logs: JSON lines on stderr, or text on a terminal, with the id and the caller of the call that is being served.

No secret reaches a log. What is written passes `hide` as the last thing, whole lines with their tracebacks: the forms that
secrets have here (API keys, tokens, signed URLs, passwords in URLs, private keys), and the values of this process's own
secret settings, wherever they stand.
"""

from __future__ import annotations

import json
import logging
import re
import sys
from typing import TYPE_CHECKING, Any, Final, TextIO

import structlog

from modelkeep_server.runtime import callers

if TYPE_CHECKING:
    from collections.abc import Collection, MutableMapping

    from structlog.typing import Processor

    from modelkeep_server.runtime.settings import RuntimeSettings

HIDDEN: Final = "[hidden]"

_FORMS: Final = re.compile(
    r"""
      (?P<key>mk_[0-9A-Za-z]{1,16}_)[0-9A-Za-z_-]+                                # an API key; its id is no secret
    | eyJ[\w-]{4,}\.[\w-]+\.[\w-]*                                                # an access token
    | (?P<bearer>(?i:bearer)\s+)[^\s"',;]+
    | (?P<user>[a-z][a-z0-9+.-]*://[^\s:/@"']*:)[^\s/"']+(?=@)                    # a password in a URL
    | (?P<query>(?i:x-amz-(?:signature|credential|security-token)|signature|sig|awsaccesskeyid
        |token|api_key|password|secret)(?:=|%3D))[^&\s"'\\]+
    | -----BEGIN[ A-Z]*PRIVATE[ ]KEY-----.*?(?:-----END[ A-Z]*PRIVATE[ ]KEY-----|\Z)
    """,
    re.VERBOSE | re.DOTALL,
)
_SECRET_FIELDS: Final = frozenset({"secret", "password", "token", "access_token", "api_key", "authorization", "service_key"})


class Hiding:
    """Takes secrets out of text: those with a known form, and the given values."""

    def __init__(self, secrets: Collection[str] = ()) -> None:
        # As JSON and as a literal of Python write them, too.
        values = {
            form for secret in secrets if len(secret) >= 4 for form in (secret, json.dumps(secret)[1:-1], repr(secret)[1:-1])
        }
        longest_first = sorted(values, key=len, reverse=True)
        self._values = re.compile("|".join(map(re.escape, longest_first))) if values else None

    def __call__(self, text: str) -> str:
        """The text without them."""
        if self._values:
            text = self._values.sub(HIDDEN, text)
        return _FORMS.sub(_hidden_form, text)

    def rendered(self, _logger: object, _name: str, line: Any) -> Any:
        """The last processor: the line without them."""
        return self(line) if isinstance(line, str) else line


def _hidden_form(found: re.Match[str]) -> str:
    kept = found["key"] or found["bearer"] or found["user"] or found["query"] or ""
    return kept + HIDDEN


def configure(settings: RuntimeSettings, *, secrets: Collection[str] = (), stream: TextIO | None = None) -> None:
    """Set up the logs of this process, those of libraries too. `secrets` are values that must never appear."""
    stream = stream or sys.stderr
    as_text = settings.log_format == "console" or (settings.log_format == "auto" and stream.isatty())
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        _add_caller,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        _hide_fields,
    ]
    ending = [*_rendering(as_text, stream), Hiding(secrets).rendered]
    level = logging.getLevelNamesMapping()[settings.log_level.upper()]
    structlog.configure(
        processors=[*shared, *ending],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.WriteLoggerFactory(stream),
        cache_logger_on_first_use=False,
    )
    handler = logging.StreamHandler(stream)
    handler.setFormatter(structlog.stdlib.ProcessorFormatter(processors=[_drop_record, *ending], foreign_pre_chain=shared))
    logging.basicConfig(handlers=[handler], level=max(level, logging.WARNING), force=True)


def configure_as_library() -> None:
    """Let a server inside somebody else's program say only what is wrong, unless the program set structlog up itself."""
    if not structlog.is_configured():
        structlog.configure(
            processors=[
                _add_caller,
                structlog.processors.add_log_level,
                _hide_fields,
                *_rendering(True, sys.stderr),
                Hiding().rendered,
            ],
            wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING),
            logger_factory=structlog.WriteLoggerFactory(sys.stderr),
        )


def _rendering(as_text: bool, stream: TextIO) -> list[Processor]:
    if as_text:
        # Without the values of local variables, which may be secrets.
        plain = structlog.dev.plain_traceback
        return [structlog.dev.ConsoleRenderer(colors=stream.isatty(), exception_formatter=plain)]
    return [structlog.processors.format_exc_info, structlog.processors.JSONRenderer()]


def _add_caller(_logger: object, _name: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    caller = callers.serving()
    if caller is not None:
        event.setdefault("request_id", caller.request_id)
        if caller.actor:
            event.setdefault("actor", caller.actor)
    return event


def _hide_fields(_logger: object, _name: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    for field in _SECRET_FIELDS & event.keys():
        event[field] = HIDDEN
    return event


def _drop_record(_logger: object, _name: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Without what structlog keeps for its formatter."""
    event["logger"] = event.pop("_record").name
    event.pop("_from_structlog", None)
    return event
