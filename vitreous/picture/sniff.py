"""What kind of file this is, told by its first bytes; a file's name is only a hint and often wrong."""

from __future__ import annotations

IMAGE_SUFFIXES = frozenset(
    {".jpg", ".jpeg", ".jpe", ".jfif", ".mpo", ".png", ".apng", ".webp", ".bmp", ".dib", ".gif", ".tif", ".tiff"}
)
"""Endings, in lower case, of the names of files that are expected to be readable."""

FOREIGN_SUFFIXES = frozenset(
    {
        *(".heic", ".heif", ".avif", ".jxl", ".jp2", ".j2k", ".psd", ".svg", ".eps", ".pdf", ".ico", ".tga"),
        *(".dng", ".cr2", ".cr3", ".nef", ".arw", ".orf", ".rw2", ".raf", ".fits", ".pgm", ".ppm", ".pnm"),
    }
)
"""Endings of the names of pictures in formats that are not read: never passed over in silence."""

HEADER_BYTES = 132
"""How many of a file's first bytes the functions here look at."""

_READABLE = (
    (0, b"\xff\xd8\xff", "JPEG"),
    (0, b"\x89PNG\r\n\x1a\n", "PNG"),
    (8, b"WEBP", "WebP"),
    (0, b"BM", "BMP"),
    (0, b"GIF87a", "GIF"),
    (0, b"GIF89a", "GIF"),
    (0, b"II*\0", "TIFF"),
    (0, b"MM\0*", "TIFF"),
    (0, b"II+\0", "TIFF"),
    (0, b"MM\0+", "TIFF"),
)

_FOREIGN = (
    (8, b"CR\x02", "a Canon camera raw file"),
    (4, b"ftypavi", "an AVIF image"),
    (4, b"ftyphe", "a HEIC image"),
    (4, b"ftypmif1", "a HEIC image"),
    (4, b"ftypmsf1", "a HEIC image"),
    (4, b"ftypcrx", "a Canon camera raw file"),
    (4, b"ftyp", "a film"),
    (0, b"\0\0\0\x0cjP", "a JPEG 2000 image"),
    (0, b"\xff\x4f\xff\x51", "a JPEG 2000 image"),
    (0, b"\0\0\0\x0cJXL", "a JPEG XL image"),
    (0, b"\xff\x0a", "a JPEG XL image"),
    (0, b"8BPS", "a Photoshop document"),
    (0, b"%PDF", "a PDF document"),
    (0, b"%!PS", "a PostScript document"),
    (0, b"\xc5\xd0\xd3\xc6", "a PostScript document"),
    (0, b"SIMPLE  =", "a FITS file"),
    (0, b"\0\0\x01\0", "a Windows icon"),
    (0, b"FUJIFILMCCD-RAW", "a Fujifilm camera raw file"),
    (0, b"IIRO", "an Olympus camera raw file"),
    (0, b"IIU\0", "a Panasonic camera raw file"),
    (128, b"DICM", "a DICOM file"),
    (0, b"v/1\x01", "an OpenEXR image"),
    (0, b"#?RADIANCE", "a Radiance HDR image"),
    (0, b"DDS ", "a DirectDraw texture"),
    (0, b"\x93NUMPY", "a NumPy array"),
    (0, b"P5", "a PGM image"),
    (0, b"P6", "a PPM image"),
    (0, b"PK\x03\x04", "a zip archive"),
    (0, b"\x1f\x8b", "a gzip archive"),
)


def kind_of(head: bytes) -> str | None:
    """The format of a file that can be read (JPEG, PNG, WebP, BMP, GIF, TIFF), or None.

    Args:
        head: the file's first HEADER_BYTES bytes, or fewer if it is shorter.
    """
    if head[8:11] == b"CR\x02":  # Canon's raw files are TIFF outside, and would be read as their thumbnail
        return None
    return next((kind for at, magic, kind in _READABLE if head[at : at + len(magic)] == magic), None)


def advice(head: bytes) -> str:
    """What to do with a file that cannot be read.

    No other decoder is offered, not even those that this Pillow may have: each would be one more way in for a file
    made to harm.

    Args:
        head: the file's first HEADER_BYTES bytes, or fewer if it is shorter.
    """
    words = looks_like(head)
    if words in ("a HEIC image", "an AVIF image"):
        ending = "heic" if words == "a HEIC image" else "avif"
        return f"magick mogrify -format jpg *.{ending}    (on a Mac: sips -s format jpeg *.{ending} --out .)"
    if "camera raw" in words:
        return "develop it to JPEG or PNG with darktable, RawTherapee or the camera's own program"
    return f"convert it to JPEG or PNG; read are {', '.join(dict.fromkeys(kind for _, _, kind in _READABLE))}"


def looks_like(head: bytes) -> str:
    """What a file that cannot be read seems to be, in words with an article ("a web page").

    Args:
        head: the file's first HEADER_BYTES bytes, or fewer if it is shorter.
    """
    for at, magic, words in _FOREIGN:
        if head[at : at + len(magic)] == magic:
            return words
    start = head.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if start.startswith((b"<!doctype html", b"<html", b"<head", b"<body")):
        return "a web page (a failed download?)"
    if start.startswith(b"<svg"):
        return "an SVG drawing"
    if start.startswith((b"<?xml", b"<")):
        return "an XML file, such as an SVG drawing"
    if head and not head.strip(b"\0"):
        return "nothing but zero bytes"
    if head and all(byte >= 32 or byte in b"\t\r\n" for byte in head):
        return "text"
    return "no image format known here"
