"""Watching aliases: one tail of the event logs per process, however many watch.

A stream of state, not of events: who watches gets the present state, and from then on the newest one that it does not know.
One task reads the database for everybody, and only while somebody watches.
"""

from __future__ import annotations

import asyncio
import json
import random
import re
from collections.abc import AsyncGenerator, Collection, Iterator, Mapping
from contextlib import aclosing, contextmanager, suppress
from datetime import datetime
from typing import Final

import structlog
from modelkeep.errors import InternalError, InvalidName, ModelkeepError, NotFound, ServiceUnavailable, TooBusy
from modelkeep.names import AliasName, CollectionName, ProjectName

from modelkeep_server.metadata.domain.watch import AliasState, Heartbeat, Log, Pace
from modelkeep_server.metadata.ports.transactions import Transactions, Work
from modelkeep_server.runtime.callers import Caller

log = structlog.get_logger()

GATHER_SECONDS: Final = 0.02
"""How long a round waits for others to join it, so that writes and watchers that come in a burst cost one round."""
STATES_AT_ONCE: Final = 100
"""How many states one transaction reads."""
_COLLECTION: Final = re.compile(r"teams/[^/]+/projects/[^/]+/collections/[^/]+")


class Topic:
    """An alias that is watched."""

    def __init__(self, name: AliasName) -> None:
        self.name = name
        self.state: AliasState | None = None
        self.round = 0
        """The round that read the state."""
        self.error: ModelkeepError | None = None
        self.watchers = 0
        self.changed = asyncio.Event()

    def publish(self, state: AliasState, round_: int) -> None:
        """The state that a round read."""
        self.state, self.round = state, round_
        self._wake()

    def fail(self, error: ModelkeepError) -> None:
        """End all streams."""
        self.error = error
        self._wake()

    def _wake(self) -> None:
        self.changed.set()
        self.changed = asyncio.Event()


class Tail:
    """Reads the event logs of what is watched, and tells the topics."""

    def __init__(self, transactions: Transactions, tick_seconds: float) -> None:
        self._transactions = transactions
        self._tick_seconds = tick_seconds
        self.topics: dict[AliasName, Topic] = {}
        self.round = 0
        """Counts the rounds, each from its beginning on."""
        self.read_time: datetime | None = None
        """When the logs were last read, by the clock of the database."""
        self._seen: dict[ProjectName, int] = {}
        """The last event of each watched project that the topics know of."""
        self._stale: set[AliasName] = set()
        self._news = False
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    @contextmanager
    def topic(self, name: AliasName) -> Iterator[Topic]:
        """Watch an alias: its state is read after this call, whoever watches it already."""
        topic = self.topics.setdefault(name, Topic(name))
        topic.watchers += 1
        self._stale.add(name)
        self._wake.set()
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._run())
        try:
            yield topic
        finally:
            topic.watchers -= 1
            if not topic.watchers:
                self._forget(topic)

    def poke(self, projects: Collection[ProjectName]) -> None:
        """This process has written events of these projects."""
        if any(project in self._seen for project in projects):
            self._news = True
            self._wake.set()

    def fail(self, error: ModelkeepError) -> None:
        """End all streams."""
        for topic in list(self.topics.values()):
            self._end(topic, error)

    async def close(self) -> None:
        """Read no more."""
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task

    def _end(self, topic: Topic, error: ModelkeepError) -> None:
        topic.fail(error)
        self._forget(topic)

    def _forget(self, topic: Topic) -> None:
        if self.topics.get(topic.name) is topic:
            del self.topics[topic.name]
            self._stale.discard(topic.name)
        if not self.topics:
            self._wake.set()  # the task ends

    async def _run(self) -> None:
        clock = asyncio.get_running_loop().time
        tick = clock() + self._tick_seconds
        while self.topics:
            with suppress(TimeoutError):
                async with asyncio.timeout_at(tick):
                    await self._wake.wait()
                    await asyncio.sleep(GATHER_SECONDS)
            self._wake.clear()
            is_tick, self._news = self._news or clock() >= tick, False
            tick = clock() + self._tick_seconds if is_tick else tick
            try:
                await self._round(is_tick=is_tick)
            except ModelkeepError as error:
                self.fail(error)
            except Exception as error:
                log.exception("the watches of aliases failed")
                self.fail(InternalError(f"the watch failed: {type(error).__name__}; watch again"))
        self._seen.clear()

    async def _round(self, *, is_tick: bool) -> None:
        self.round += 1
        watched = {name.parent.parent for name in self.topics}
        self._seen = {project: last for project, last in self._seen.items() if project in watched}
        stale, self._stale = self._stale, set()  # who comes from here on is told what the next round reads
        if is_tick and self._seen:
            seen = dict(self._seen)
            news = await self._transactions.read(lambda work: work.watches.news(seen))
            stale |= self._touched(news, seen)
        names = sorted(stale)
        for start in range(0, len(names), STATES_AT_ONCE):
            await self._read(names[start : start + STATES_AT_ONCE])

    def _touched(self, news: Log, seen: Mapping[ProjectName, int]) -> set[AliasName]:
        """The aliases whose states may be others by now."""
        self.read_time = news.read_time
        gone = seen.keys() - news.heads.keys()
        touched = {name for _, payload in news.payloads for name in collections_in(payload)}
        for project in gone:
            del self._seen[project]
        self._seen |= news.heads
        doubtful = gone | news.crowded
        return {name for name in self.topics if name.parent.parent in doubtful or name.parent in touched}

    async def _read(self, names: list[AliasName]) -> None:
        async def step(work: Work) -> dict[AliasName, AliasState | ModelkeepError]:
            return {name: await _state(work, name) for name in names}

        round_ = self.round
        for name, state in (await self._transactions.read(step)).items():
            topic = self.topics.get(name)
            if topic is None:
                continue  # nobody watches it any more
            if isinstance(state, ModelkeepError):
                self._end(topic, state)
                continue
            self.read_time = state.read_time
            # What came after the first state that is known of a project is news.
            self._seen.setdefault(name.parent.parent, state.event_sequence)
            topic.publish(state, round_)


async def _state(work: Work, name: AliasName) -> AliasState | ModelkeepError:
    try:
        return await work.watches.state(name)
    except NotFound as error:
        return error


def collections_in(payload: str) -> Iterator[CollectionName]:
    """The collections that an event is about."""
    for value in json.loads(payload).values():
        if isinstance(value, str) and (found := _COLLECTION.match(value)):
            with suppress(InvalidName):  # the reason of a move may begin like a name
                yield CollectionName.parse(found[0])


class WatchApp:
    """The use case of watching."""

    def __init__(self, transactions: Transactions, pace: Pace | None = None) -> None:
        self._pace = pace or Pace()
        self._tail = Tail(transactions, self._pace.tick_seconds)
        self._watches = 0
        self._stopping = False
        self.poke = self._tail.poke
        self.close = self._tail.close

    def watching(self) -> float:
        """How many streams there are."""
        return float(self._watches)

    async def watch_alias(self, caller: Caller, name: AliasName) -> AsyncGenerator[AliasState | Heartbeat]:
        """The present state of an alias, then each newer one; heartbeats between. Ends by itself after a time.

        Raises CollectionNotFound, and so on, also when the collection goes away later; TooBusy; ServiceUnavailable.
        """
        caller.require(name.team)
        self._admit()
        self._watches += 1
        try:
            async with aclosing(self._stream(name)) as stream:
                async for said in stream:
                    yield said
        finally:
            self._watches -= 1

    def hush(self) -> None:
        """End all streams, and let none begin: the server stops."""
        self._stopping = True
        self._tail.fail(_stops())

    def _admit(self) -> None:
        if self._stopping:
            raise _stops()
        if self._watches >= self._pace.max_watches:
            most = self._pace.max_watches
            message = f"{most:,} streams watch aliases here, which is the limit of this server; try again in 10 s"
            raise TooBusy(message, retry_after_seconds=10)

    async def _stream(self, name: AliasName) -> AsyncGenerator[AliasState | Heartbeat]:
        clock = asyncio.get_running_loop().time
        end = clock() + self._pace.stream_seconds * random.uniform(0.9, 0.98)  # noqa: S311 - spreads load, hides nothing
        with self._tail.topic(name) as topic:
            known: AliasState | None = None
            after = self._tail.round  # what an earlier round read may be older than this call
            beat = clock() + self._pace.heartbeat_seconds
            while clock() < end:
                if topic.error is not None:
                    raise topic.error
                if topic.state is not None and topic.round > after and topic.state.differs(known):
                    known, beat = topic.state, clock() + self._pace.heartbeat_seconds
                    yield known
                elif clock() >= beat:
                    beat = clock() + self._pace.heartbeat_seconds
                    yield Heartbeat(self._tail.read_time)
                else:
                    with suppress(TimeoutError):
                        async with asyncio.timeout_at(min(beat, end)):
                            await topic.changed.wait()


def _stops() -> ServiceUnavailable:
    return ServiceUnavailable("the server stops; watch again, and another one will answer")
