"""What a run tells about itself: metrics, summary, config, words and code; and that it lives, and how it ends."""

from __future__ import annotations

import logging
import os
import threading
import time
from typing import TYPE_CHECKING, Any, Final, Literal, NoReturn

from modelkeep import _plain_json, _run_end
from modelkeep._batch import Definition, Limits, Points, Set
from modelkeep._fork import gate
from modelkeep._ledger import CERTAINLY_SMALL_BYTES, require_small
from modelkeep._log import parse_tags
from modelkeep._metric import decode_values
from modelkeep._points import MAX_STEP, check_key, flatten, parse_step
from modelkeep._reporter import Reporter
from modelkeep._summary import Mirror, parse_rule
from modelkeep._tree import Tree
from modelkeep.api.lineage.v1 import run_pb2
from modelkeep.errors import InvalidArgument, ModelkeepError
from modelkeep.names import parse_text

if TYPE_CHECKING:
    from collections.abc import Mapping

    from modelkeep._code import Code
    from modelkeep._ledger import Begun, Ledger
    from modelkeep._redact import Redactor
    from modelkeep._summary import Goal, Rule
    from modelkeep.names import RunName

_log: Final = logging.getLogger("modelkeep")


class RunRecord:
    """The part of a run that lineage keeps. Any number of threads may use it; a forked child tells what it logs itself."""

    def __init__(self, name: RunName, ledger: Ledger, begun: Begun, *, config: Mapping[str, Any], redactor: Redactor) -> None:
        """Use `modelkeep.init`."""
        self._run = name
        self._ledger = ledger
        self._redactor = redactor
        self._begun = begun.run
        self._owner = os.getpid()
        self._finished = self._ended = False
        """Whether it takes nothing more; and whether its end was told, or could not be."""
        self._name, self._group, self._notes = begun.run.display_name, begun.run.group, begun.run.notes
        self._tags = tuple(begun.run.tags)
        self.job_type = begun.run.job_type
        self.resumed = begun.resumed
        """Whether it was there before, and goes on."""
        self._config = dict(config)
        self._summary: dict[str, Any] = decode_values(begun.run.summary_json)
        self._mirror = Mirror(self._summary, begun.seen)
        self._next_step = begun.next_step
        self._reporter = Reporter(ledger, f"the run {self._name!r}")
        self._reporter.replaces = self._mirror.replaces
        self.forget()
        gate.members.add(self)

    def forget(self) -> None:
        """Begin anew in a forked child: what its parent logged, its parent sends."""
        self._putting = threading.RLock()  # a signal handler may log, too, while the thread that it interrupts does
        self._ending = threading.RLock()
        self._reporter.forget()
        _run_end.ended(self)

    def __reduce__(self) -> NoReturn:
        message = (
            "a run cannot be copied, or sent to another process: send its id, and go on with it there by"
            f" modelkeep.init(id={self.id!r}, resume='allow'); a process that was forked can use it as it is"
        )
        raise InvalidArgument(message, field="run")

    def close_channels(self) -> bool:
        """There are none here; they are the connection's."""
        return False

    def begin(self) -> None:
        """Be alive, until `finish` or the end of the process."""
        _run_end.began(self)
        self._reporter.start()

    @property
    def id(self) -> str:
        """Given with `id=`, else drawn at random; unique without asking anybody."""
        return self._run.run

    @property
    def resource_name(self) -> str:
        """`teams/{team}/projects/{project}/runs/{id}`."""
        return str(self._run)

    @property
    def step(self) -> int:
        """The step that the next `log` gets when it is given none."""
        return self._next_step

    def log(self, metrics: Mapping[str, Any], step: int | None = None) -> None:
        """Keep numbers under keys, all at one step: `run.log({"loss": 0.3, "eval": {"acc": 0.9}})` keeps `loss` and `eval.acc`.

        Without `step` it is the one after the last. A step may be smaller than one before; all points are kept. NaN and
        infinities are kept as such. It only puts them down in memory: they are sent within a second, in the background. While
        the server is away they wait; when very many do (1,000,000), `log` waits for room.

        Raises InvalidArgument, naming the key, and then keeps nothing of this call. Raises what could not be kept of earlier
        calls, once; ServiceUnavailable when no room came in two minutes.
        """
        self._require_open()
        flat = flatten(metrics)
        self._reporter.reserve(len(flat))
        with self._putting:
            counts_on = step is None and self._next_step <= MAX_STEP
            at = self._next_step if counts_on else parse_step(self._next_step if step is None else step)
            self._next_step = at + 1
            self._mirror.take(flat)
            if flat:
                self._tell(Points(time.time_ns() // 1000, at, flat))

    def define_metric(self, key: str, *, summary: Rule = "last", goal: Goal | None = None) -> None:
        """Say what of a metric the summary keeps: its `last` value, the `min`, the `max`, the `best` for a goal, or `none`."""
        self._require_open()
        rule = parse_rule(summary, goal)
        check_key(key)
        with self._putting:
            self._mirror.define(key, rule)
            self._tell(Definition(key, rule))

    @property
    def summary(self) -> Tree:
        """What came out: set what you like in it, as in a dict. Of each metric it has the last value, or what `define_metric`
        says.

        It shows what this process did; what several processes of one run did together, a server tells.
        """
        return Tree(self._summary, self._summary_changed)

    @property
    def config(self) -> Tree:
        """What the run is configured with. Changes are sent in the background; what looks like a secret stays here."""
        return Tree(self._config, self._config_changed)

    @config.setter
    def config(self, config: Mapping[str, Any]) -> None:
        for key in [key for key in self._config if key not in config]:
            del self.config[key]
        self.config.update(config)

    def _summary_changed(self, key: str) -> None:
        self._require_open()
        text = self._json_of("summary", key, self._summary.get(key))
        with self._putting:
            self._tell(Set(self._redactor.key(str(key)), text))

    def _config_changed(self, key: str) -> None:
        self._require_open()
        is_gone = key not in self._config
        text = self._json_of("config", key, self._config.get(key))
        with self._putting:
            self._tell(Set(self._redactor.key(str(key)), text, is_config=True, is_gone=is_gone))

    def _json_of(self, what: str, key: str, value: Any) -> bytes:
        """The JSON of a value that was set, without what looks like a secret. Raises LimitExceeded, InvalidArgument."""
        plain = self._redactor.json(_plain_json.plain(value, f"{what}.{key}", 2), str(key))
        text = _plain_json.encode({self._redactor.key(str(key)): plain}).encode(errors="replace")
        if len(text) > CERTAINLY_SMALL_BYTES:
            try:
                most = self._ledger.limits().max_json_bytes
            except ModelkeepError:
                most = Limits.max_json_bytes  # nobody is there to ask
            require_small(what, len(text), most)
        self._reporter.make_room()
        return text

    @property
    def name(self) -> str:
        """What people call it. May be set."""
        return self._name

    @name.setter
    def name(self, name: str) -> None:
        self._require_open()
        self._ledger.edit(display_name=parse_text(name, "name"))
        self._name = name

    @property
    def group(self) -> str:
        """What it belongs to. May be set."""
        return self._group

    @group.setter
    def group(self, group: str) -> None:
        self._require_open()
        self._ledger.edit(group=parse_text(group, "group"))
        self._group = group

    @property
    def notes(self) -> str:
        """What people noted about it, in Markdown. May be set."""
        return self._notes

    @notes.setter
    def notes(self, notes: str) -> None:
        self._require_open()
        self._ledger.edit(notes=parse_text(notes, "notes"))
        self._notes = notes

    @property
    def tags(self) -> tuple[str, ...]:
        """Its labels, sorted; `add_tags` and `remove_tags` change them."""
        return self._tags

    def add_tags(self, *tags: str) -> None:
        """Add labels. Adding one that is there changes nothing. Raises InvalidTag."""
        self._edit_tags(parse_tags(tags), ())

    def remove_tags(self, *tags: str) -> None:
        """Take labels off. Taking one that is not there changes nothing."""
        self._edit_tags((), parse_tags(tags))

    def _edit_tags(self, add: tuple[str, ...], remove: tuple[str, ...]) -> None:
        self._require_open()
        told = self._ledger.edit_tags(add, remove)
        self._tags = tuple(sorted({*self._tags, *add}.difference(remove))) if told is None else told

    def _tell_code(self, code: Code) -> None:
        """Tell what was found out about the code; the command line and the machine were told when the run began."""
        if code.source.ByteSize():
            code.source.arguments.extend(self._begun.source.arguments)
            self._ledger.edit(source=code.source)
        if code.packages:
            environment = run_pb2.Environment(packages=code.packages)
            environment.MergeFrom(self._begun.environment)
            self._ledger.edit(environment=environment)

    def finish(self, state: Literal["finished", "failed"] = "finished") -> None:
        """End the run."""
        raise NotImplementedError

    def flush(self) -> None:
        """Wait until all that was logged so far is kept. Raises what could not be, and ServiceUnavailable after two minutes."""
        self._reporter.flush()

    def _tell(self, item: Points | Definition | Set) -> None:
        if not _run_end.is_open(self):
            _run_end.began(self)  # a forked child that tells something: at its end that is sent
        self._reporter.put(item)

    def _end(self, state: str) -> None:
        """Send what is left, and end the run, once. In a forked child the run goes on: only who began it ends it.

        Where that is interrupted, a second `finish` or the end of the process goes on with it.
        """
        with self._ending:
            if self._ended:
                return
            failures: list[Exception] = []
            try:
                self._reporter.close()
            except Exception as error:  # noqa: BLE001 - it is raised below
                failures.append(error)
            try:
                if os.getpid() == self._owner and not self._ended:  # a signal handler may have, meanwhile
                    self._ledger.finish(state)
            except Exception as error:  # noqa: BLE001 - what was lost before comes first
                failures.append(error)
            self._ended = True
            _run_end.ended(self)
        _run_end.raise_first(failures)

    def _require_open(self) -> None:
        if self._finished:
            message = (
                f"the run {self.name!r} is finished; begin another one with modelkeep.init(), or go on with it by"
                f" modelkeep.init(id={self.id!r}, resume='allow')"
            )
            raise InvalidArgument(message, field="run")
