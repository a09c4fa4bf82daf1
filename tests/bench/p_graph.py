"""P11: walk a graph of a million nodes, against recursive SQL that somebody wrote by hand for ids alone.

The peer has a table of its own with nothing but the two ends of each edge, and both indexes; it answers ids. Ours answers by
gRPC, with access checked per node and names, times and types of all that it shows.
"""

from __future__ import annotations

import asyncio
import statistics
from collections.abc import Awaitable, Callable
from pathlib import Path
from time import perf_counter
from typing import Any

import asyncpg
import grpc
from modelkeep.api.lineage.v1 import graph_pb2 as graph_pb
from modelkeep.api.lineage.v1 import lineage_service_pb2 as pb
from modelkeep.api.lineage.v1 import lineage_service_pb2_grpc as rpc
from modelkeep.api.metadata.v1 import metadata_service_pb2 as metadata_pb
from modelkeep.api.metadata.v1 import metadata_service_pb2_grpc as metadata_rpc

from tests.bench.graph_material import BIG, Material
from tests.bench.measure import MIB, Result
from tests.bench.parts import Server, modelkeep_server
from tests.servers import postgres_url

_WALK = """
WITH RECURSIVE walk(id, depth) AS (
  SELECT $1::bigint, 0
  UNION
  SELECT e.{far}, walk.depth + 1 FROM walk JOIN bench_edge e ON e.{near} = walk.id WHERE walk.depth < $2
)
SELECT DISTINCT id FROM walk
"""
_CLOSURE = """
WITH RECURSIVE walk(id) AS (
  SELECT $1::bigint UNION SELECT e.{far} FROM walk JOIN bench_edge e ON e.{near} = walk.id
)
SELECT id FROM walk
"""
UP, DOWN = {"near": "target", "far": "source"}, {"near": "source", "far": "target"}


class _Sides:
    """The two sides of the comparison."""

    def __init__(self, channel: grpc.aio.Channel, secret: str, peer: asyncpg.Connection, rounds: int) -> None:
        self._stub = rpc.LineageServiceStub(channel)
        self._metadata = metadata_rpc.MetadataServiceStub(channel)
        self._secret = metadata_pb.ExchangeApiKeyRequest(secret=secret)
        self._auth: Any = ()
        self._peer = peer
        self._rounds = rounds

    async def renew(self) -> None:
        """Get an access token, which is good for a minute."""
        token = await self._metadata.ExchangeApiKey(self._secret, timeout=60)
        self._auth = (("authorization", f"Bearer {token.access_token}"),)

    async def ask(self, name: str, **more: Any) -> int:
        """How many nodes an answer shows; all of it is read."""
        request = pb.StreamLineageRequest(name=name, group_from=-1, **more)
        stream = self._stub.StreamLineage(request, metadata=self._auth, timeout=600)
        return sum([len(part.nodes) async for part in stream])

    async def first(self, name: str, **more: Any) -> float:
        """The time until the first part of an answer is here."""
        start = perf_counter()
        stream = self._stub.StreamLineage(pb.StreamLineageRequest(name=name, **more), metadata=self._auth, timeout=600)
        async for _ in stream:
            taken = perf_counter() - start
            stream.cancel()
            return taken
        raise RuntimeError("no answer")

    async def call(self, method: str, request: Any) -> Any:
        """The answer of another call."""
        return await getattr(self._stub, method)(request, metadata=self._auth, timeout=600)

    async def sql(self, query: str, *arguments: int) -> int:
        """How many ids the peer answers."""
        return len(await self._peer.fetch(query, *arguments))

    async def against(
        self, work: str, bar: float | None, ours: Callable[[], Awaitable[int]], peer: Callable[[], Awaitable[int]]
    ) -> Result:
        """Both, A B A B …: the medians, and the median of the ratios."""
        mine, theirs, counts = [], [], (0, 0)
        await self.renew()
        await ours()
        await peer()
        for _ in range(self._rounds):
            await self.renew()
            start = perf_counter()
            shown = await ours()
            middle = perf_counter()
            ids = await peer()
            mine.append((middle - start) * 1000)
            theirs.append((perf_counter() - middle) * 1000)
            counts = (shown, ids)
        ratio = statistics.median(a / b for a, b in zip(mine, theirs, strict=True))
        detail = {"ours_ms": mine, "peer_ms": theirs, "shown": counts[0], "ids": counts[1]}
        limit = "" if bar is None else f"≤ {bar:g}"
        met = None if bar is None else ratio <= bar
        label = f"{work} ({counts[1]:,} ids, {counts[0]:,} shown)"
        return Result("P11", label, statistics.median(mine), statistics.median(theirs), "SQL", "ms", ratio, limit, met, detail)

    async def alone(self, work: str, ours: Callable[[], Awaitable[float]], bar: float | None) -> Result:
        """The median time of something, in milliseconds."""
        await self.renew()
        await ours()
        taken = [await ours() * 1000 for _ in range(max(self._rounds, 9))]
        median = statistics.median(taken)
        met = None if bar is None else median <= bar
        limit = "" if bar is None else f"≤ {bar:g}"
        return Result("P11", work, median, None, "", "ms", None, limit, met, {"ours_ms": taken})

    async def timed(self, method: str, request: Any) -> float:
        """The time of a call."""
        start = perf_counter()
        await self.call(method, request)
        return perf_counter() - start


async def _measure(server: Server, url: str, nodes: int, rounds: int) -> list[Result]:
    peer = await asyncpg.connect(url)
    material = Material(nodes)
    await material.load(peer)
    async with grpc.aio.insecure_channel(server.address) as channel:
        sides = _Sides(channel, server.env["MODELKEEP_API_KEY"], peer, rounds)
        results = [*await _walks(sides, material), *await _pages(sides, material)]
    await peer.close()
    peak = server.peak_bytes / MIB
    results.append(Result("P11", "memory of the server, in all of it", peak, None, "", "MiB", None, "≤ 512", peak <= 512))
    return results


async def _walks(sides: _Sides, material: Material) -> list[Result]:
    up, down = graph_pb.DIRECTION_UPSTREAM, graph_pb.DIRECTION_DOWNSTREAM
    data = pb.NodeFilter(types=["dataset"])
    small, big, root = material.last_of(1), material.last_of(BIG), material.middle_of(BIG)
    five, closure = _WALK.format(**UP), _CLOSURE.format(**UP)
    return [
        await sides.against(
            "5 hops up, the data sets shown",
            3,
            lambda: sides.ask(big.name, direction=up, max_depth=5, filter=data),
            lambda: sides.sql(five, big.id, 5),
        ),
        await sides.against(
            "5 hops down, the data sets shown",
            3,
            lambda: sides.ask(root.name, direction=down, max_depth=5, filter=data),
            lambda: sides.sql(_WALK.format(**DOWN), root.id, 5),
        ),
        await sides.against(
            "5 hops down from what a fifth of all runs use, the rare ones shown",
            3,
            lambda: sides.ask(material.hub.name, direction=down, max_depth=5, filter=pb.NodeFilter(types=["rare"])),
            lambda: sides.sql(_WALK.format(**DOWN), material.hub.id, 5),
        ),
        await sides.against(
            "5 hops up, all shown",
            None,
            lambda: sides.ask(big.name, direction=up, max_depth=5),
            lambda: sides.sql(five, big.id, 5),
        ),
        await sides.against(
            "full ancestry in a project, the data sets shown",
            2.5,
            lambda: sides.ask(small.name, direction=up, filter=data),
            lambda: sides.sql(closure, small.id),
        ),
        await sides.against(
            "full ancestry of half of all, the data sets shown",
            2.5,
            lambda: sides.ask(big.name, direction=up, filter=pb.NodeFilter(types=["rare"])),
            lambda: sides.sql(closure, big.id),
        ),
        await sides.against(
            "full ancestry in a project, the first 10,000 shown",
            None,
            lambda: sides.ask(small.name, direction=up),
            lambda: sides.sql(closure, small.id),
        ),
    ]


async def _pages(sides: _Sides, material: Material) -> list[Result]:
    up, down = graph_pb.DIRECTION_UPSTREAM, graph_pb.DIRECTION_DOWNSTREAM
    big, hub = material.last_of(BIG), material.hub
    users = pb.ListNeighborsRequest(parent=hub.name, direction=down, page_size=50)
    typed = pb.ListNeighborsRequest(parent=hub.name, direction=down, page_size=50, types=["train-1"])
    groups = pb.StreamLineageRequest(name=hub.name, direction=down, max_depth=1)
    return [
        await sides.alone("first page of the ancestry of half of all", lambda: sides.first(big.name, direction=up), 50),
        await sides.alone("  the same, nothing grouped", lambda: sides.first(big.name, direction=up, group_from=-1), 50),
        await sides.alone(
            f"first page of {material.users:,} users of one version", lambda: sides.timed("ListNeighbors", users), 50
        ),
        await sides.alone("  of one type", lambda: sides.timed("ListNeighbors", typed), 50),
        await sides.alone("  as groups", lambda: sides.first(hub.name, direction=groups.direction, max_depth=1), 50),
    ]


def p11(folder: Path, nodes: int, rounds: int) -> list[Result]:
    """Lineage on PostgreSQL."""
    url = postgres_url(is_durable=True)
    with modelkeep_server(folder, lineage_database=url) as server:
        return asyncio.run(_measure(server, url, nodes, rounds))
