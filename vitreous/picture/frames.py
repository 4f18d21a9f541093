"""How many pictures a file holds, counted from its structure in bounded time, without decoding any."""

from __future__ import annotations

import io
import struct

from vitreous.picture.structure import BinaryFile, gif_frames

_MOST = 100_000  # counted; more blocks than this are no picture anybody made
_LARGEST = 1 << 40  # bytes; past this nothing can lie in a file


def num_frames(kind: str, file: BinaryFile) -> int:
    """Frames of an animation, pages of a document, or shots of a camera's multi-picture file; 1 or more.

    Where the structure is damaged it is the number up to there.

    Args:
        kind: as `kind_of` gives it.
        file: read from any place.
    """
    file.seek(0)
    try:
        if kind == "GIF":
            return max(1, sum(1 for _ in gif_frames(file, _MOST)))
        if kind == "PNG":
            return max(1, _apng(file))
        if kind == "WebP":
            return max(1, _webp(file))
        if kind == "TIFF":
            return max(1, _tiff(file))
        if kind == "JPEG":
            return max(1, _mpo(file))
    except (struct.error, IndexError, EOFError):
        pass
    return 1


def _read(file: BinaryFile, size: int) -> bytes:
    data = file.read(size)
    if len(data) < size:
        raise EOFError
    return data


def _apng(file: BinaryFile) -> int:
    """What the animation's chunk says, which must stand before the pixels (PNG 3rd edition, 11.3.6.1)."""
    file.seek(8)
    for _ in range(_MOST):
        size, kind = struct.unpack(">I4s", _read(file, 8))
        if kind == b"acTL":
            return int(struct.unpack(">I", _read(file, 4))[0])
        if kind in (b"IDAT", b"IEND"):
            break
        file.seek(size + 4, io.SEEK_CUR)
    return 1


def _webp(file: BinaryFile) -> int:
    """Chunks of animation frames (RFC 9649, section 2.7)."""
    file.seek(12)
    frames = 0
    for _ in range(_MOST):
        head = file.read(8)
        if len(head) < 8:
            break
        kind, size = struct.unpack("<4sI", head)
        frames += kind == b"ANMF"
        file.seek(size + size % 2, io.SEEK_CUR)
    return frames


def _tiff(file: BinaryFile) -> int:
    """Directories, in a chain that may bite its own tail (TIFF 6.0, section 2; BigTIFF)."""
    head = _read(file, 16)
    order = "<" if head[:2] == b"II" else ">"
    big = 43 in (head[2], head[3])
    seen: set[int] = set()
    at = struct.unpack_from(order + ("8xQ" if big else "4xI"), head)[0]
    while 0 < at < _LARGEST and at not in seen and len(seen) < _MOST:
        file.seek(at)
        if big:
            count = struct.unpack(order + "Q", _read(file, 8))[0]
            file.seek(at + 8 + 20 * min(count, _MOST))
        else:
            count = struct.unpack(order + "H", _read(file, 2))[0]
            file.seek(at + 2 + 12 * count)
        seen.add(at)
        at = struct.unpack(order + ("Q" if big else "I"), _read(file, 8 if big else 4))[0]
    return len(seen)


def _mpo(file: BinaryFile) -> int:
    """What the index of a multi-picture file says (CIPA DC-007, 5.2.3: MPF in APP2, tag 0xB001)."""
    file.seek(2)
    for _ in range(1000):
        marker, size = struct.unpack(">HH", _read(file, 4))
        if marker == 0xFFDA or not 0xFFC0 <= marker <= 0xFFFE or size < 2:
            break
        if marker == 0xFFE2:
            block = _read(file, size - 2)
            if block.startswith(b"MPF\0"):
                return _mpo_index(block[4:])
            continue
        file.seek(size - 2, io.SEEK_CUR)
    return 1


def _mpo_index(block: bytes) -> int:
    order = "<" if block[:2] == b"II" else ">"
    start = struct.unpack_from(order + "I", block, 4)[0]
    for entry in range(struct.unpack_from(order + "H", block, start)[0]):
        tag, _, _, value = struct.unpack_from(order + "HHII", block, start + 2 + 12 * entry)
        if tag == 0xB001:
            return int(value)
    return 1
