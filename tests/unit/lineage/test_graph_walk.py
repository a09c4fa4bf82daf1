"""Walks by ids against a naive reference: breadth first, each node once, also round in circles (SEM-52)."""

from __future__ import annotations

from collections import deque

import pytest
from hypothesis import given
from hypothesis import strategies as st
from modelkeep_server.lineage.app.graph_walk import Walk
from modelkeep_server.lineage.domain.graph import Direction
from modelkeep_server.lineage.domain.graph_ids import Depths, IdSet, Numbers, are_among, ints
from modelkeep_server.lineage.domain.graph_paths import Subgraph, Told
from modelkeep_server.lineage.domain.graph_walk import Batch, fold

from tests.unit.lineage.memory_steps import Drawn, MemorySteps

EDGES = st.lists(st.builds(Drawn, st.integers(1, 12), st.integers(1, 12), st.integers(0, 3)), max_size=40)
DIRECTIONS = st.sampled_from(list(Direction))


def reference(
    steps: MemorySteps, root: int, direction: Direction, as_of: int, group_from: int
) -> tuple[dict[int, int], set, set]:
    """Depths, edges and fans of a walk, the simple way."""
    depths, edges, fans = {root: 0}, set(), set()
    queue = deque([root])
    while queue:
        node = queue.popleft()
        by_label: dict[int, list[int]] = {}
        for _, far in steps.beside(node, direction, as_of):
            by_label.setdefault(steps.label(far), []).append(far)
        for label, members in by_label.items():
            if group_from and len(members) >= group_from:
                fans.add((node, label))
                continue
            for far in members:
                edges.add((node, far))
                if far not in depths:
                    depths[far] = depths[node] + 1
                    queue.append(far)
    return depths, edges, fans


async def walked(steps: MemorySteps, root: int, direction: Direction, as_of: int = 9, group_from: int = 0):
    walk = Walk(steps, root, direction, as_of=as_of, group_from=group_from)
    batches = []
    while not walk.is_over:
        batches += [batch async for batch in walk.level()]
    return walk, batches


def ends(batch: Batch) -> list[tuple[int, int]]:
    """The edges of a batch, as the node that was expanded and its neighbour."""
    return list(zip(batch.rows.near.tolist(), batch.rows.far.tolist(), strict=True))


@given(EDGES, DIRECTIONS, st.integers(0, 3), st.sampled_from([0, 2, 3]), st.tuples(st.booleans(), st.integers(1, 5)))
async def test_a_walk_meets_what_the_reference_meets(edges, direction, as_of, group_from, reading) -> None:
    reads_ahead, page = reading
    steps = MemorySteps(edges, reads_ahead=reads_ahead, page=page)
    depths, pairs, fans = reference(steps, 1, direction, as_of, group_from)
    walk, batches = await walked(steps, 1, direction, as_of, group_from)
    met = [(node, batch.depth) for batch in batches for node in batch.nodes.tolist()]
    assert len(met) == len(dict(met)), "each node once"
    assert {1: 0, **dict(met)} == depths
    assert {pair for batch in batches for pair in ends(batch)} == pairs
    assert {fan for batch in batches for fan in batch.fans} == fans
    assert [depth for _, depth in met] == sorted(depth for _, depth in met), "breadth first"
    assert len(walk) == len(depths)
    assert all(node in walk for node in depths)
    assert all(label == steps.label(node) for batch in batches for node, label in zip(batch.nodes, batch.labels, strict=True))


@given(EDGES, DIRECTIONS, st.sampled_from([0, 2]))
async def test_the_order_does_not_depend_on_how_it_was_read(edges, direction, group_from) -> None:
    """SEM-53: a continuation finds its place again."""

    def order(batches):
        return [(batch.depth, batch.number, batch.nodes.tolist()) for batch in batches]

    _, ahead = await walked(MemorySteps(edges), 1, direction, group_from=group_from)
    _, step_by_step = await walked(MemorySteps(edges, reads_ahead=False), 1, direction, group_from=group_from)
    assert order(ahead) == order(step_by_step)


@given(EDGES, st.integers(1, 12), st.integers(1, 12))
async def test_a_subgraph_holds_all_ways_and_nothing_else(edges, source, target) -> None:
    """Descendants of the source that are ancestors of the target, or the target."""
    steps = MemorySteps(edges)
    above, _, _ = reference(steps, target, Direction.UPSTREAM, 9, 0)
    below, _, _ = reference(steps, source, Direction.DOWNSTREAM, 9, 0)
    subgraph = Subgraph()
    walk, batches = await walked(steps, target, Direction.UPSTREAM)
    for batch in batches:
        subgraph.add((far, near) for near, far in ends(batch))
    if source not in walk:
        assert source not in above
        return
    steps_through = list(subgraph.reached(source))
    nodes = [(depth, node) for depth, node, edge in steps_through if edge is None]
    nodes = list(dict.fromkeys(nodes))
    assert nodes == sorted(nodes), "level by level, and by id"
    assert {node for _, node in nodes} == {*(above.keys() & below.keys()), source}
    told: set[int] = set()
    pairs = []
    answer, last = Told(), 0
    for depth, node, pair in steps_through:
        assert node not in told or node == last, "each node once"
        told.add(node)
        last = node
        answer.add(depth, node, pair)
        if pair is not None:
            assert {*pair} <= told, "an edge comes after both of its ends"
            pairs.append(pair)
    assert [(depth, node) for node, depth, _ in answer.nodes()] == nodes
    assert [pair for _, _, some in answer.nodes() for pair in some] == pairs
    assert len(pairs) == len(set(pairs))
    assert set(pairs) == {(e.source, e.target) for e in steps.edges if {e.source, e.target} <= told}


@given(st.lists(st.sets(st.integers(0, 200_000))))
def test_a_set_of_ids_is_a_set(groups) -> None:
    ids, known = IdSet(), set()
    for group in groups:
        some = ints(group)
        assert ids.among(some).tolist() == [id_ in known for id_ in group]
        assert are_among(some, ints(sorted(known))).tolist() == [id_ in known for id_ in group]
        assert ids.add_new(some).tolist() == sorted(group - known)
        known |= group
        assert len(ids) == len(known)
    assert all(id_ in ids for id_ in known)
    assert list(ids) == sorted(known)
    one_by_one = IdSet()
    assert [one_by_one.add(id_) for group in groups for id_ in sorted(group)].count(True) == len(known) == len(one_by_one)
    assert list(one_by_one) == list(ids)
    assert not any(id_ + 1 in ids for id_ in known if id_ + 1 not in known)


def test_depths_are_kept_in_two_bytes() -> None:
    depths = Depths()
    depths.set(ints([1, 70_000]), 7)
    depths.set(ints([2]), 1_000_000)
    assert depths.of(ints([1, 2, 3, 70_000, 90_000])).tolist() == [7, 0xFFFF, 0, 7, 0]


def test_numbers_are_zero_until_they_are_given() -> None:
    numbers = Numbers()
    assert [numbers.get(70_000), numbers.swap(70_000, 7), numbers.swap(70_000, 8), numbers.get(70_000), numbers.get(1)] == [
        0,
        0,
        7,
        8,
        0,
    ]


@pytest.mark.parametrize(
    ("rows", "as_of", "expected"),
    [
        ([(1, 9, n, n, 0) for n in (1, 2)], 9, ([(1, 9, 1), (1, 9, 2)], [], [])),
        ([(1, 9, n, n, 0) for n in (1, 2, 3)], 9, ([], [(1, 9)], [])),
        # The third came later: only the store knows whether others came before.
        ([(1, 9, n, n, n) for n in (1, 2, 3)], 2, ([], [], [(1, 9)])),
        ([(1, 9, n, n, n) for n in (1, 2)], 1, ([(1, 9, 1)], [], [])),
        ([(1, 8, 1, 1, 0), (1, 9, 2, 1, 0), (2, 9, 2, 1, 0)], 9, ([(1, 8, 1), (1, 9, 2), (2, 9, 2)], [], [])),
    ],
)
def test_from_the_first_edges_of_each_fan_to_groups(rows, as_of, expected) -> None:
    """SEM-55: from three up here."""
    assert fold(rows, 3, as_of) == expected
