"""A file of a version as an open file: read from the store as it is wanted, chunk by chunk, each proven; nothing on disk."""

from __future__ import annotations

import io
import os
from typing import TYPE_CHECKING, Any, Final

from modelkeep.errors import InvalidArgument

if TYPE_CHECKING:
    from modelkeep._content import Content

BUFFER_BYTES: Final = 64 * 1024


class VersionFile(io.RawIOBase):
    """The raw file under what `open_content` gives."""

    def __init__(self, content: Content) -> None:
        self._content = content
        self._position = 0
        self.name = content.layout.entry.path

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
        """Go to a position, and answer it. Beyond the end nothing is read."""
        self._require_open()
        begins = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self._content.layout.size_bytes}
        if whence not in begins or begins[whence] + offset < 0:
            message = f"a file cannot be sought to {offset} from {whence}; expected a place that is not before its beginning"
            raise InvalidArgument(message, field="offset", value=str(offset))
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


def open_content(content: Content) -> io.BufferedReader:
    """The content as a file to be read."""
    return io.BufferedReader(VersionFile(content), BUFFER_BYTES)
