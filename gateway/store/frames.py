"""Pure: the frames of the second copy: length, CRC-32 and payload; a torn or flipped frame is found, never read.

A file begins with MAGIC. Each frame is 4 bytes length and 4 bytes CRC-32 (both big-endian, the CRC over length and
payload), then the payload. What stands after the first frame that does not fit is a torn end.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator

MAGIC = b"ZEVCOPY1"
HEAD = 8
MAX_PAYLOAD = 1 << 20
"""A longer length is no length but noise."""


def frame(payload: bytes) -> bytes:
    """One payload as it stands in the file. ValueError where it is too long."""
    if len(payload) > MAX_PAYLOAD:
        raise ValueError(f"{len(payload)} bytes do not fit into a frame")
    length = len(payload).to_bytes(4, "big")
    return length + _check(length, payload) + payload


def _check(length: bytes, payload: bytes) -> bytes:
    return zlib.crc32(length + payload).to_bytes(4, "big")


class Walk:
    """Goes through a file frame by frame; `read` gives so many bytes, fewer at the end.

    Afterwards `good_bytes` is how much of the file is whole, `fault` why it ends there (None: at its end).
    """

    def __init__(self, read: Callable[[int], bytes]) -> None:
        self._read = read
        self.good_bytes = 0
        self.fault: str | None = None

    def __iter__(self) -> Iterator[bytes]:
        if (begin := self._read(len(MAGIC))) != MAGIC:
            self.fault = "does not begin as a copy" if begin else None
            return
        self.good_bytes = len(MAGIC)
        while head := self._read(HEAD):
            length = int.from_bytes(head[:4], "big")
            payload = self._read(length) if len(head) == HEAD and length <= MAX_PAYLOAD else b""
            if len(head) < HEAD or length > MAX_PAYLOAD or len(payload) < length:
                self.fault = f"torn at byte {self.good_bytes}"
                return
            if _check(head[:4], payload) != head[4:]:
                self.fault = f"changed at byte {self.good_bytes}"
                return
            self.good_bytes += HEAD + length
            yield payload
