"""A file of a version as an open file: read from the store as it is wanted, chunk by chunk, each proven; nothing on disk."""

from __future__ import annotations

import errno
import io
import os
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from modelkeep._content import Content

BUFFER_BYTES: Final = 64 * 1024


class VersionFile(io.RawIOBase):
    """The raw file under what `open_content` gives."""

    def __init__(self, content: Content) -> None:
        self._content = content
        self._position = 0
        self.name = content.layout.entry.path
        self.size = content.layout.size_bytes

    def readable(self) -> bool:
        """Yes."""
        return True

    def seekable(self) -> bool:
        """Yes."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Bytes from the position on: what one chunk has of them."""
        self._require_open()
        count = self._content.read(self._position, memoryview(buffer).cast("B"))
        self._position += count
        return count

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Go to a position, and answer it. Beyond the end nothing is read. Raises OSError before the beginning."""
        self._require_open()
        begins = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self.size}
        if whence not in begins or begins[whence] + offset < 0:
            # No ModelkeepError: whoever reads files, such as zipfile, looks for this one.
            raise OSError(errno.EINVAL, f"{os.strerror(errno.EINVAL)}: {offset} from {whence}", self.name)
        self._position = begins[whence] + offset
        return self._position

    def tell(self) -> int:
        """The position."""
        return self._position

    def close(self) -> None:
        """End it, and whatever is under way."""
        if not self.closed:
            self._content.close()
        super().close()

    def _require_open(self) -> None:
        if self.closed:
            raise ValueError("I/O operation on closed file")


class VersionReader(io.BufferedReader):
    """The file that readers get. It knows its size, as those of fsspec do."""

    raw: VersionFile

    @property
    def size(self) -> int:
        """How many bytes it has."""
        return self.raw.size


def open_content(content: Content) -> VersionReader:
    """The content as a file to be read."""
    return VersionReader(VersionFile(content), BUFFER_BYTES)
