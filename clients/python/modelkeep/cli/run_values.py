"""What the command line shows of runs: as JSON for scripts, whose names never change, and as words for people."""

from __future__ import annotations

import json
import math
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import TYPE_CHECKING, Any, Final

from modelkeep.cli.output import shown_when, when
from modelkeep.cli.values import short_version

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from modelkeep import Metric, Point, RecordedRun
    from modelkeep._node import Link, Node

LINKS_SHOWN: Final = 10
"""So many of what a run used and produced are shown with it."""
_CELL_CHARACTERS: Final = 60
"""How much of a text a cell of a table shows; `run show` and `--json` have all of it."""


def run_json(run: RecordedRun) -> dict[str, Any]:
    """A run."""
    source, environment = run.source, run.environment
    return {
        "id": run.id,
        "name": run.name,
        "resource_name": run.resource_name,
        "state": run.state,
        "job_type": run.job_type,
        "group": run.group,
        "tags": list(run.tags),
        "notes": run.notes,
        "config": plain(run.config),
        "summary": plain(run.summary),
        "source": {
            "repository_url": source.repository_url,
            "commit": source.commit,
            "branch": source.branch,
            "is_dirty": source.is_dirty,
            "code_version": source.code_version,
            "entry_point": source.entry_point,
            "arguments": list(source.arguments),
        },
        "environment": {
            "host": environment.host,
            "user": environment.user,
            "operating_system": environment.operating_system,
            "python_version": environment.python_version,
            "packages": list(environment.packages),
        },
        "start_time": when(run.start_time),
        "end_time": when(run.end_time),
        "heartbeat_time": when(run.heartbeat_time),
        "update_time": when(run.update_time),
        "creator": run.creator,
        "resume_count": run.resume_count,
    }


def links_json(**links: Iterable[Link]) -> dict[str, Any]:
    """What is beside a run, in full: under each name a list, newest first, as `lineage --list` has them."""
    from modelkeep._graph import edge_dict, node_dict  # noqa: PLC0415 - help needs no client

    return {
        name: [{"node": node_dict(link.node), "edge": edge_dict(link.edge)} for link in found] for name, found in links.items()
    }


def plain(value: Any) -> Any:
    """A value as JSON can hold it: NaN and the infinities as texts, as the contract has them."""
    match value:
        case float() if not math.isfinite(value):
            return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
        case dict():
            return {key: plain(item) for key, item in value.items()}
        case list():
            return [plain(item) for item in value]
    return value


def run_details(run: RecordedRun, used: Iterable[Link], produced: Iterable[Link]) -> dict[str, str]:
    """A run, line by line."""
    source, environment = run.source, run.environment
    resumed = f", resumed {run.resume_count} times" if run.resume_count > 1 else ", resumed once" if run.resume_count else ""
    dirty = ", with changes that no commit had" if source.is_dirty else ""
    where = " on ".join(part for part in (environment.user, environment.host) if part)
    with_what = ", ".join(
        part
        for part in (environment.python_version and f"Python {environment.python_version}", environment.operating_system)
        if part
    )
    return {
        "run": f"{run.name}  ({run.state.lower()}{resumed})",
        "id": f"{run.project}/{run.id}",
        "job type": run.job_type,
        "group": run.group,
        "tags": ", ".join(run.tags),
        "started": f"{shown_when(run.start_time)} by {run.creator}",
        "took": took(run),
        "where": ", ".join(part for part in (where, with_what) if part),
        "script": " ".join((source.entry_point, *source.arguments)).strip(),
        "code": f"{source.commit}{f' of {source.branch}' if source.branch else ''}{dirty}" if source.commit else "",
        "repository": source.repository_url,
        "kept code": short_version(source.code_version),
        "used": _links(run, used, "--up"),
        "produced": _links(run, produced, "--down"),
        "config": _object(plain(run.config)),
        "summary": _object(plain(run.summary)),
        "notes": run.notes,
    }


def placed(node: Node, home: RecordedRun) -> str:
    """The name of a node, with its project, and its team, where they are not those of a run. Empty for a hidden one."""
    team, project = node.place
    if (team, project) in {(home.team, home.project), ("", "")}:
        return node.name
    return f"{project}/{node.name}" if team == home.team else f"{team}/{project}/{node.name}"


def _links(run: RecordedRun, links: Iterable[Link], way: str) -> str:
    found = list(islice(links, LINKS_SHOWN + 1))
    hidden = "something of a team that you may not read"
    lines = [f"{placed(link.node, run) or hidden}{_about(link)}" for link in found[:LINKS_SHOWN]]
    if len(found) > LINKS_SHOWN:
        lines.append(f"… and more: `modelkeep lineage RUN {way} --list` has all")
    return "\n".join(lines)


def _about(link: Link) -> str:
    deleted = ", deleted" if link.node.delete_time else ""
    alias = link.edge.alias_text
    asked = f"  as {alias}" if alias and not alias.endswith(link.node.name or "\n") else ""
    return (f"  ({link.node.type}{deleted})" if link.node.type else "") + asked


def _object(value: Mapping[str, Any]) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False) if value else ""


def took(run: RecordedRun) -> str:
    """How long it ran, or has been running."""
    end = run.end_time or datetime.now(UTC)
    seconds = max(int((end - run.start_time).total_seconds()), 0)
    hours, minutes = divmod(seconds // 60, 60)
    if hours >= 48:
        return f"{timedelta(seconds=seconds).days}d {hours % 24}h"
    return f"{hours}h {minutes}m" if hours else f"{minutes}m {seconds % 60}s" if minutes else f"{seconds}s"


def flat(value: Mapping[str, Any], path: str = "") -> Iterator[tuple[str, Any]]:
    """The values of an object by their paths, as a filter writes them: `optimizer.lr`, `"a key"`."""
    waiting = [(path, value)]
    while waiting:
        prefix, items = waiting.pop()
        for key, item in items.items():
            where = prefix + (
                key if key and all(c.isalnum() or c in "_-" for c in key) else json.dumps(key, ensure_ascii=False)
            )
            if isinstance(item, dict) and item:
                waiting.append((f"{where}.", item))
            else:
                yield where, item


def shown(value: Any) -> str:
    """A value for people: short."""
    match value:
        case None:
            return "null"
        case bool():
            return str(value).lower()
        case float():
            return f"{value:.6g}"
        case str():
            return value
    return json.dumps(plain(value), ensure_ascii=False)


def cell(text: str) -> str:
    """A text, or as much of its beginning as a cell of a table has room for."""
    return text if len(text) <= _CELL_CHARACTERS else text[: _CELL_CHARACTERS - 1] + "…"


def short_summary(run: RecordedRun) -> str:
    """As much of what came out as a table holds."""
    texts: list[str] = []
    length = 0
    for key, value in flat(run.summary):
        text = f"{key}={shown(value)}"
        length += len(text) + 2
        if length > _CELL_CHARACTERS and texts:
            return "  ".join((*texts, "…"))
        texts.append(cell(text))
    return "  ".join(texts)


def metric_json(metric: Metric) -> dict[str, Any]:
    """A metric."""
    return {
        "key": metric.key,
        "summary": metric.summary,
        "point_count": metric.point_count,
        "last_value": plain(metric.last_value),
        "last_step": metric.last_step,
        "min_value": plain(metric.min_value),
        "max_value": plain(metric.max_value),
        "steps_went_back": metric.steps_went_back,
    }


def point_json(point: Point) -> dict[str, Any]:
    """A point of a metric. Its time is null where it is none: servers once kept any number."""
    try:
        time = datetime.fromtimestamp(point.time, UTC)
    except (ValueError, OverflowError, OSError):
        time = None
    return {"step": point.step, "value": plain(point.value), "time": when(time) or None}
