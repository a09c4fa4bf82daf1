"""Folders of a version: listed by the index of its pages, not by reading all that lies deeper (SEM-27, 53)."""

from collections.abc import Collection, Mapping

import pytest
from modelkeep.digest import Digest
from modelkeep.errors import InvalidPageToken, InvalidPath
from modelkeep.names import VersionName
from modelkeep_server.database.paging import Page
from modelkeep_server.metadata.domain.entry import Folder
from modelkeep_server.metadata.store.manifest import ManifestRepository
from modelkeep_server.metadata.store.tables import ManifestPageRow

from tests.unit.metadata.rig import CALLER, Rig


async def ls(rig: Rig, version: VersionName, folder: str = "", size: int = 1000) -> list[str]:
    """What lies directly in a folder, page by page; folders with a slash at their end."""
    found: list[str] = []
    page = Page(size)
    while True:
        listing = await rig.entries.list_entries(CALLER, version, folder, page, by_folder=True)
        assert len(listing.items) <= size
        found += [item.path + "/" * isinstance(item, Folder) for item in listing.items]
        if not listing.next_token:
            return found
        page = Page(size, listing.next_token)


@pytest.mark.parametrize("size", [1, 2, 1000])
async def test_a_folder_has_its_files_and_folders_in_byte_order(rig: Rig, size: int) -> None:
    paths = ["a", "b/1", "b/2/x", "b/2/y/z", "b-c", "b0", "d/e/f", "é/x", "z"]
    version = (await rig.log({path: path.encode() for path in paths})).version.name
    assert await ls(rig, version, "", size) == ["a", "b-c", "b/", "b0", "d/", "z", "é/"]
    assert await ls(rig, version, "b", size) == ["b/1", "b/2/"]
    assert await ls(rig, version, "b/2", size) == ["b/2/x", "b/2/y/"]
    assert await ls(rig, version, "d", size) == ["d/e/"]
    for nothing in ("a", "b/2/x", "nothing", "zz"):
        assert await ls(rig, version, nothing, size) == []


async def test_what_lies_deeper_is_not_read(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder of thousands of files below another one costs one look at the index."""
    files = {f"deep/{i % 3}/f{i:05}": b"1" for i in range(12_000)} | {"a": b"1", "z": b"1"}
    version = (await rig.log(files)).version.name
    read: list[Digest] = []
    pages = ManifestRepository.pages

    async def counted(self: ManifestRepository, digests: Collection[Digest]) -> Mapping[Digest, bytes]:
        read.extend(digests)
        return await pages(self, digests)

    monkeypatch.setattr(ManifestRepository, "pages", counted)
    assert await rig.count(ManifestPageRow) > 15
    assert await ls(rig, version) == ["a", "deep/", "z"]
    assert len(read) == 2
    read.clear()
    assert await ls(rig, version, "deep") == ["deep/0/", "deep/1/", "deep/2/"]
    assert len(read) <= 4
    with rig.statements() as statements:
        await ls(rig, version, "deep")
    assert len([one for one in statements if one.startswith("SELECT")]) <= 12


async def test_a_token_belongs_to_its_folder_and_gets_nowhere_else(rig: Rig) -> None:
    version = (await rig.log(dict.fromkeys(("a/1", "a/2", "b/1", "c"), b"1"))).version.name
    listing = await rig.entries.list_entries(CALLER, version, "a", Page(1), by_folder=True)
    with pytest.raises(InvalidPageToken):
        await rig.entries.list_entries(CALLER, version, "b", Page(1, listing.next_token), by_folder=True)
    with pytest.raises(InvalidPageToken):
        await rig.entries.list_entries(CALLER, version, "a", Page(1, listing.next_token))
    with pytest.raises(InvalidPath):
        await rig.entries.list_entries(CALLER, version, "../a", Page(), by_folder=True)
