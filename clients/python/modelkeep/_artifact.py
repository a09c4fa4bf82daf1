"""An artifact: the files and words that will be a version."""

from __future__ import annotations

import logging
import os
import tempfile
from collections.abc import Mapping
from contextlib import contextmanager
from typing import IO, TYPE_CHECKING, Any, Final, NamedTuple

from modelkeep import metadata as json_metadata
from modelkeep._new_files import make_folder
from modelkeep._walk import check_file, check_folder, files_under
from modelkeep._wire import require_text
from modelkeep.errors import InvalidArgument, InvalidMetadata, InvalidPath, PathConflict
from modelkeep.manifest import parse_path
from modelkeep.names import parse_identifier, shown

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

_log: Final = logging.getLogger("modelkeep")


class _Origin(NamedTuple):
    """Where added files are on disk: a file's path is `root`, and what its name has beyond `prefix`."""

    prefix: str
    root: str


class Source(NamedTuple):
    """A file that will be an entry."""

    name: str
    """Its path in the version."""
    path: str
    """Where it is on disk."""


class Sources:
    """Files, as often as somebody goes through them."""

    def __init__(self, names: Sequence[str], source: Callable[[str], Source]) -> None:
        self._names = names
        self._source = source

    def __iter__(self) -> Iterator[Source]:
        return map(self._source, self._names)


class Artifact:
    """What `log_artifact` makes a version of: a name, a type, files, and words about them.

    Paths are checked when they are added. Content is read when the artifact is logged; from then on nothing can be added.
    """

    def __init__(
        self,
        name: str,
        type: str,  # noqa: A002 - the word that users know
        *,
        metadata: Mapping[str, Any] | None = None,
        description: str = "",
        notes: str = "",
    ) -> None:
        """`name` is the collection, `type` what kind of thing it is: model, dataset, code, …

        Raises InvalidName, InvalidMetadata; InvalidArgument for words that are no text.
        """
        self.name = parse_identifier(name, "collection name")
        self.type = parse_identifier(type, "type")
        require_text(description=description, notes=notes)
        self.description = description
        self.notes = notes
        if not isinstance(metadata, Mapping | None):
            message = f"the metadata is {shown(metadata)}; expected a mapping, such as a dict"
            raise InvalidMetadata(message, field="metadata")
        self.metadata: dict[str, Any] = dict(metadata or {})
        self.metadata_json()
        # A million files cost little this way: one string each, and a small number that says which call added it.
        self._origins: list[_Origin] = []
        self._files: dict[str, int] = {}
        self._folders: set[str] = set()
        self._sealed = False
        self._staging = ""
        self.is_silent = False
        """Whether it is logged without a progress bar: nobody asked for it to be."""

    def __repr__(self) -> str:
        return f"<Artifact {self.name!r} type={self.type!r} files={len(self._files)}>"

    @property
    def is_sealed(self) -> bool:
        """Whether it is being logged, or was: it takes no more files."""
        return self._sealed

    def __len__(self) -> int:
        return len(self._files)

    def metadata_json(self) -> str:
        """The metadata as it will be sent. Raises InvalidMetadata."""
        return json_metadata.encode(self.metadata)

    def add_file(self, path: str | os.PathLike[str], name: str | None = None) -> None:
        """Add one file, under its own name or under `name`. A symbolic link stands for the file that it leads to.

        Raises FileUnreadable, InvalidPath, PathConflict (the name is taken); InvalidArgument when `path` is none.
        """
        local = local_path(path)
        check_file(local)
        self._add(parse_path(os.path.basename(local) if name is None else name), self._origin(name=None, root=local))

    def add_dir(self, path: str | os.PathLike[str], name: str | None = None) -> None:
        """Add all files under a folder, at the root of the version or under the folder `name`.

        Symbolic links are followed inside the folder; empty folders are left out, with a note in the log.
        Raises FileUnreadable (naming the file), InvalidPath, PathConflict; InvalidArgument when `path` is none.
        """
        local = local_path(path)
        check_folder(local)
        prefix = "" if name is None else parse_path(name) + "/"
        origin = self._origin(name=prefix, root=local.rstrip("/") + "/")
        empty: list[str] = []
        found = list(files_under(local, empty))
        for relative in found:  # only after all of it was seen, so that a bad file leaves the artifact as it was
            parse_path(prefix + relative)
            self._check_free(prefix + relative)
        for relative in found:
            self._add(prefix + relative, origin)
        if empty:
            shown = ", ".join(empty[:5]) + (", …" if len(empty) > 5 else "")
            _log.warning("left out %d empty folder%s of %s: %s", len(empty), "s" * (len(empty) > 1), local, shown)

    @contextmanager
    def new_file(self, name: str, mode: str = "w") -> Iterator[IO[Any]]:
        """Write a file that exists only in the artifact: text, or bytes with mode `wb`. It is added when the block ends well.

        Raises InvalidPath, PathConflict.
        """
        if mode not in {"w", "wb"}:
            raise InvalidArgument(f"{mode!r} is not a mode to write a new file with; use 'w' or 'wb'", field="mode", value=mode)
        self._check_free(parse_path(name))
        if not self._staging:
            self._staging = make_folder(self)
        descriptor, path = tempfile.mkstemp(dir=self._staging)
        with os.fdopen(descriptor, mode, encoding=None if "b" in mode else "utf-8") as file:
            yield file
        self._add(name, self._origin(name=None, root=path))

    def seal(self) -> None:
        """Take no more files: the artifact is being logged. Raises InvalidArgument when it has none."""
        if not self._files:
            raise InvalidArgument(
                f"there is nothing to log: the artifact {self.name!r} has no files; add at least one", field="artifact"
            )
        self._sealed = True

    def sources(self) -> Iterable[Source]:
        """The files, in the order of their paths, as often as somebody goes through them."""
        return Sources(sorted(self._files), self.source)

    def source(self, name: str) -> Source:
        """The file that will be the entry `name`."""
        return self._source(name, self._origins[self._files[name]])

    @staticmethod
    def _source(name: str, origin: _Origin) -> Source:
        return Source(name, origin.root + name[len(origin.prefix) :] if origin.root.endswith("/") else origin.root)

    def _origin(self, *, name: str | None, root: str) -> int:
        self._origins.append(_Origin(name or "", root))
        return len(self._origins) - 1

    def _check_free(self, name: str) -> None:
        if self._sealed:
            message = f"{name!r} comes too late: this artifact is being logged; make a new one"
            raise InvalidArgument(message, field="artifact")
        if name in self._files:
            raise PathConflict(f"{name!r} is in the artifact already; give it another name", path=name)
        if name in self._folders:
            raise InvalidPath(f"{name!r} is a folder of the artifact, so it cannot be a file too", path=name)
        folder = name.rpartition("/")[0]
        while folder and folder not in self._folders:
            if folder in self._files:
                raise InvalidPath(f"{folder!r} is a file, so {name!r} cannot lie under it", path=name, other=folder)
            folder = folder.rpartition("/")[0]

    def _add(self, name: str, origin: int) -> None:
        self._check_free(name)
        self._files[name] = origin
        folder = name.rpartition("/")[0]
        while folder and folder not in self._folders:
            self._folders.add(folder)
            folder = folder.rpartition("/")[0]


def local_path(path: object, what: str = "path", expected: str = "the path of a file or folder") -> str:
    """Where something is on disk, from the root. Raises InvalidArgument, which names the argument, for what is no path."""
    plain = os.fspath(path) if isinstance(path, str | os.PathLike) else None
    if not isinstance(plain, str) or "\0" in plain:
        raise InvalidArgument(f"the {what} is {shown(path)}; expected {expected}", field=what)
    return os.path.abspath(plain)


def require_artifact(given: object) -> None:
    """Raise InvalidArgument for what is no artifact."""
    if not isinstance(given, Artifact):
        raise InvalidArgument(f"the artifact is {shown(given)}; expected a modelkeep.Artifact", field="artifact")
