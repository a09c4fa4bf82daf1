"""Beginning a run."""

from __future__ import annotations

import os
import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal

from modelkeep import _capture, _code, _plain_json
from modelkeep import config as settings
from modelkeep._channel import connect
from modelkeep._ledger import open_ledger
from modelkeep._log import parse_tags
from modelkeep._metric import decode_values
from modelkeep._redact import Redactor
from modelkeep._run import Run
from modelkeep.api.lineage.v1 import run_pb2
from modelkeep.errors import InvalidArgument
from modelkeep.names import RunName, parse_identifier, parse_text

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from modelkeep._ledger import Begun

Resume = Literal["allow", "must", "never"]

_ADJECTIVES: Final = (
    "amber bold brisk calm clear coral crisp dapper eager early fair fine gentle glad golden keen kind lively lucky mellow"
    " merry mild noble proud quick quiet rapid sunny swift vivid warm witty"
)
_ANIMALS: Final = (
    "badger bear bison crane dingo eagle egret falcon ferret finch fox gecko heron ibex jackal koala lark lemur lynx marten"
    " moose newt otter owl panda puffin raven robin seal stork tapir wren"
)


def init(
    project: str | None = None,
    *,
    team: str | None = None,
    name: str | None = None,
    job_type: str | None = None,
    config: Mapping[str, Any] | None = None,
    group: str | None = None,
    tags: Iterable[str] = (),
    notes: str | None = None,
    id: str | None = None,  # noqa: A002 - the word that users know
    resume: Resume | None = None,
    capture: str | Iterable[str] | None = None,
    save_code: bool | None = None,
    url: str | None = None,
    api_key: str | None = None,
    mode: Literal["online", "offline"] | None = None,
    dir: str | os.PathLike[str] | None = None,  # noqa: A002 - the word that users know
) -> Run:
    """Begin a run. Use it as a context manager, or call `finish` at its end.

    `name` is what people call it; without one it gets one that is easy to remember, after `job_type` if that is given.
    `config`, `group`, `tags` and `notes` are kept with it, and may be changed while it runs. What else is not given comes from
    the environment, from `modelkeep login`, or from the server that runs here. The server is asked once, so that a wrong key
    shows now and not after hours of training.

    `id` (or MODELKEEP_RUN_ID) names the run, so that it can be resumed: with `resume` (or MODELKEEP_RESUME) `"allow"` a run of
    that id goes on, or is begun when there is none; with `"must"` it has to be there; with `"never"`, as without `resume`, it
    must not. What is given besides then changes what the run had; its job type stays.

    The run keeps its code, its command line, its packages and its machine, but nothing that looks like a secret. `capture` (or
    MODELKEEP_CAPTURE) says what of it: names of `git`, `diff`, `script`, `arguments`, `packages`, `host`, `user`, `platform`,
    or `none`; or with a `-` what not: `"-user,-host"`. `save_code=False` (or MODELKEEP_SAVE_CODE=false) keeps no script and
    no changes.

    With `mode="offline"`, or MODELKEEP_MODE=offline, no server is needed and none is asked: what the run logs and uses is
    recorded in a folder of its own under `dir` (MODELKEEP_OFFLINE_DIR, else ./modelkeep-offline), for `modelkeep sync`.

    Raises NotConfigured, ApiKeyInvalid, ApiKeyExpired, ServiceUnavailable, RunExists, RunNotFound, RunDeleted, InvalidTag,
    LimitExceeded (the config is too large); offline TargetUnusable, DiskFull.
    """
    identity = _identity(id, resume)
    is_offline = _is_offline(mode)
    items = _capture.chosen(capture, save_code)
    kind = parse_identifier(job_type, "job type") if job_type is not None else ""
    settled = _plain_json.as_mapping(config if config is not None else {}, "config")
    for what, text in (("name", name), ("group", group), ("notes", notes)):
        if text is not None:
            parse_text(text, what)
    words = _Words(name, kind, settled, group, parse_tags(tags), notes)
    if is_offline:
        where = os.fspath(dir or settings.offline_dir())
        run = _offline(where, settings.place(team or "", project or ""), identity, words, items)
    else:
        run = _online(settings.load(url or "", api_key or "", team=team or "", project=project or ""), identity, words, items)
    run.begin()
    run.keep_code(items, _code.entry_point())
    return run


def _online(chosen: settings.Config, identity: tuple[str, str], words: _Words, items: frozenset[str]) -> Run:
    run_id, how = identity
    connection = connect(chosen)
    redactor = Redactor.of_process(chosen.api_key)
    parent = connection.project
    name = RunName(parent.team, parent.project, run_id or secrets.token_hex(8))
    ledger, begun = open_ledger(connection, name, words.message(items, redactor), how)
    run = Run(connection, name, ledger, begun, config=words.config_of(begun), redactor=redactor)
    if begun.resumed:
        words.apply(begun, run)
    return run


def _offline(where: str, place: tuple[str, str], identity: tuple[str, str], words: _Words, items: frozenset[str]) -> Run:
    from modelkeep._offline import begin_offline  # noqa: PLC0415 - only runs that need it

    redactor = Redactor.of_process(os.environ.get("MODELKEEP_API_KEY", ""))
    message = words.message(items, redactor)
    run_id, how = identity
    return begin_offline(
        where, place, message, run_id=run_id, resume=how, given=words.given, config=words.config, redactor=redactor
    )


@dataclass(frozen=True)
class _Words:
    """What is said about a run when it begins; checked before a server is asked."""

    name: str | None
    job_type: str
    config: dict[str, Any]
    group: str | None
    tags: tuple[str, ...]
    notes: str | None

    def message(self, items: frozenset[str], redactor: Redactor) -> run_pb2.Run:
        """The run to create."""
        source = run_pb2.Source()
        if "arguments" in items:
            source.arguments.extend(_capture.arguments(redactor))
        return run_pb2.Run(
            display_name=self.name or memorable_name(self.job_type),
            job_type=self.job_type,
            group=self.group or "",
            tags=self.tags,
            notes=self.notes or "",
            config_json=_plain_json.encode(redactor.json(_plain_json.plain(self.config, "config"))),
            source=source,
            environment=_capture.environment(items),
        )

    @property
    def given(self) -> list[str]:
        """Which of name, group and notes were said: they change what a resumed run had."""
        said = {"name": self.name, "group": self.group, "notes": self.notes}
        return [name for name, value in said.items() if value is not None]

    def config_of(self, begun: Begun) -> dict[str, Any]:
        """The config that the run has then."""
        if not begun.resumed:
            return self.config
        said = set(map(str, self.config))  # of keys that are no texts the server has the texts
        had = decode_values(begun.run.config_json)
        return {key: value for key, value in had.items() if key not in said} | self.config

    def apply(self, begun: Begun, run: Run) -> None:
        """Change what a resumed run had, where something else is said now."""
        for field, value, had in (
            ("name", self.name, begun.run.display_name),
            ("group", self.group, begun.run.group),
            ("notes", self.notes, begun.run.notes),
        ):
            if value is not None and value != had:
                setattr(run, field, value)
        if set(self.tags) - set(begun.run.tags):
            run.add_tags(*self.tags)
        run.config.update(self.config)


def _identity(given: str | None, resume: str | None) -> tuple[str, str]:
    """The id that was given, or none; and whether a run of that id may, must, or must not be there. Raises InvalidArgument."""
    run_id = given or os.environ.get("MODELKEEP_RUN_ID", "")
    resume = resume or os.environ.get("MODELKEEP_RESUME", "") or "never"
    if resume not in {"allow", "must", "never"}:
        message = f"{resume!r:.100} is no way to resume; use 'allow', 'must' or 'never' (MODELKEEP_RESUME is one too)"
        raise InvalidArgument(message, field="resume", value=resume[:100])
    if resume == "must" and not run_id:
        raise InvalidArgument("resume='must' needs the id of the run to go on with: id=… or MODELKEEP_RUN_ID", field="id")
    return (parse_identifier(run_id, "run id") if run_id else ""), resume


def _is_offline(mode: str | None) -> bool:
    mode = mode or os.environ.get("MODELKEEP_MODE", "") or "online"
    if mode not in {"online", "offline"}:
        message = (
            f"{mode[:100]!r} is no mode of a run; use 'online', or 'offline' to record to disk (MODELKEEP_MODE is one too)"
        )
        raise InvalidArgument(message, field="mode", value=mode[:100])
    return mode == "offline"


def memorable_name(job_type: str = "") -> str:
    """A display name for a run. Drawn by the operating system: a fork, or a seed, never gives one twice."""
    words = [job_type] if job_type else []
    return "-".join(
        (*words, secrets.choice(_ADJECTIVES.split()), secrets.choice(_ANIMALS.split()), str(secrets.randbelow(900) + 100))
    )
