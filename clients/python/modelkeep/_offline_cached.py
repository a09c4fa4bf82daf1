"""Versions that the cache of this machine knows, for runs that are offline."""

from __future__ import annotations

from typing import TYPE_CHECKING

from modelkeep.errors import NotCached

if TYPE_CHECKING:
    from modelkeep._version import Version
    from modelkeep.address import Address
    from modelkeep.names import ProjectName


def cached_version(address: Address, text: str, project: ProjectName) -> Version:
    """The version at an address, as the cache has it. Raises NotCached."""
    del address, project
    raise NotCached(f"{text!r} was neither recorded offline here nor fetched before", address=text[:200])
