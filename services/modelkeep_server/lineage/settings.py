"""The settings of the lineage service."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field


class LineageSettings(BaseModel):
    """Where runs and the graph are kept, and the limits of the service."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    database_url: str = "sqlite:///./.modelkeep/lineage.sqlite"
    """The database: `sqlite:///relative/file`, `sqlite:////absolute/file` or `postgresql://user:password@host/database`."""
    database_pool_size: int = Field(default=10, ge=1, le=1000)
    """Most connections to the database; each transaction takes one, and further ones wait."""
    heartbeat_seconds: int = Field(default=300, ge=3, le=7 * 86_400)
    """How long a run may be silent before it counts as crashed."""
    max_json_bytes: int = Field(default=1 << 20, ge=1024, le=3 << 19)
    """Most bytes of the config of a run, and of its summary, serialised."""
    max_points: int = Field(default=50_000, ge=1, le=100_000)
    """Most points of metrics in one call."""
    max_metrics: int = Field(default=10_000, ge=1, le=100_000)
    """Most metrics of one run."""
    max_tags: int = Field(default=100, ge=1, le=1000)
    """Most tags on one run."""
    max_nodes: int = Field(default=10_000, ge=1, le=1_000_000)
    """Most nodes in the answer of one walk through the graph."""
    max_walked: int = Field(default=2_000_000, ge=1000, le=100_000_000)
    """Most nodes that one walk through the graph meets, shown or not."""
    max_walks: int = Field(default=16, ge=1, le=1000)
    """Most walks through the graph at once, of one process."""
    tail_seconds: float = Field(default=1.0, gt=0, le=60)
    """How often the events of metadata are looked at, when nobody asks for them."""
    fresh_seconds: float = Field(default=5.0, ge=0, le=60)
    """How long a question about the graph waits at most until the events that are there are read."""
