"""What a colour profile in an image file says: its name, and whether its colours reach beyond sRGB's.

Source of the format: ICC.1:2022, 7.2 (header), 7.3 (tag table), 10.22 (textDescriptionType of version 2: ICC.1:2001,
6.5.17), 10.15 (multiLocalizedUnicodeType), 10.31 (XYZType).
"""

from __future__ import annotations

from dataclasses import dataclass

_HEADER = 128
_MAX_TAGS = 200
_MAX_NAME = 100
_SRGB_AREA = 0.0626  # of the triangle in the (u', v') plane of sRGB's primaries as profiles hold them, adapted to D50
_WIDER = 1.1


@dataclass(frozen=True, slots=True)
class Profile:
    """A colour profile, as far as it matters for learning."""

    name: str
    """As the profile calls itself ("Display P3"), or "unnamed"."""

    space: str
    """What it describes: "RGB", "GRAY", "CMYK" or "Lab"."""

    wide: bool
    """Whether its primaries span clearly more colours than sRGB's: Display P3, Adobe RGB, ProPhoto."""


def profile_of(icc: bytes) -> Profile | None:
    """What a profile says, or None where there is none or it is damaged.

    Args:
        icc: the profile's bytes.
    """
    if len(icc) < _HEADER + 4 or icc[36:40] != b"acsp":
        return None
    tags = {}
    for place in range(min(_number(icc, _HEADER), _MAX_TAGS)):
        at = _HEADER + 4 + 12 * place
        start, size = _number(icc, at + 4), _number(icc, at + 8)
        tags[icc[at : at + 4]] = icc[start : start + size]
    return Profile(
        name=_text(tags.get(b"desc", b"")) or "unnamed",
        space=icc[16:20].decode("ascii", "replace").strip(),
        wide=_is_wide(tags),
    )


def _text(tag: bytes) -> str:
    """The text of a description, in its first language, printable and short."""
    if tag[:4] == b"desc":
        text = tag[12 : 12 + _number(tag, 8)].decode("ascii", "replace")
    elif tag[:4] == b"mluc":
        start, size = _number(tag, 24), _number(tag, 20)
        text = tag[start : start + size].decode("utf-16-be", "replace")
    else:
        return ""
    return "".join(letter for letter in text if letter.isprintable())[:_MAX_NAME].strip()


def _is_wide(tags: dict[bytes, bytes]) -> bool:
    corners = []
    for name in (b"rXYZ", b"gXYZ", b"bXYZ"):
        tag = tags.get(name, b"")
        if len(tag) < 20:
            return False  # a table, as printers have, or grey
        x, y, z = (int.from_bytes(tag[at : at + 4], "big", signed=True) for at in (8, 12, 16))
        if (total := x + 15 * y + 3 * z) <= 0:
            return False
        corners.append((4 * x / total, 9 * y / total))  # CIE 1976 u', v': equal areas look about equally wide
    (ux, uy), (vx, vy), (wx, wy) = corners
    area = abs((vx - ux) * (wy - uy) - (wx - ux) * (vy - uy)) / 2
    return area > _WIDER * _SRGB_AREA


def _number(data: bytes, at: int) -> int:
    return int.from_bytes(data[at : at + 4], "big")
