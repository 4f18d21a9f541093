"""Addresses of data on other machines: which kinds there are, and how one is shown without what it keeps secret."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from urllib.parse import parse_qsl, unquote, urlencode, urlsplit, urlunsplit

from vitreous.errors import DataError

PACKAGES = {
    "http": 'pip install "vitreous[data]"',
    "https": 'pip install "vitreous[data]"',
    "s3": 'pip install "vitreous[data]" s3fs',
    "gs": 'pip install "vitreous[data]" gcsfs',
    "gcs": 'pip install "vitreous[data]" gcsfs',
    "az": 'pip install "vitreous[data]" adlfs',
    "abfs": 'pip install "vitreous[data]" adlfs',
    "hf": 'pip install "vitreous[data,hub]"',
}
"""The kinds of addresses that are opened, and what installs the packages that open them. All others are refused."""

WEB = ("http", "https")

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.:-]+)://")
# parameters that say who may read and until when, and change while the file stays the same: of S3, Google Cloud
# Storage (V4 and V2), Azure's shared access signatures and CloudFront
_PASSES = re.compile(
    r"x-(amz|goog)-.*|awsaccesskeyid|googleaccessid|signature|expires|policy|key-pair-id|(access_?)?token|(api_?)?key"
    r"|s[vrtepi]|sig|sip|spr|srt|sks?[a-z]*|skoid|sktid",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class Address:
    """Where something lies on another machine; as text it shows no name, password or signature."""

    url: str = field(repr=False)
    """All of it, secrets included: only for whoever opens it."""

    def __str__(self) -> str:
        parts = urlsplit(self.url)
        return f"{parts.scheme}://{_host(parts.netloc)}{parts.path}{'?***' if parts.query else ''}"

    def __repr__(self) -> str:
        return f"Address({str(self)!r})"

    @property
    def scheme(self) -> str:
        """Of `PACKAGES`, in lower case."""
        return urlsplit(self.url).scheme

    @property
    def path(self) -> PurePosixPath:
        """Host, or bucket, and path: what names the file without saying how to get at it."""
        parts = urlsplit(self.url)
        return PurePosixPath("/", _host(parts.netloc, ""), unquote(parts.path).lstrip("/"))

    @property
    def identity(self) -> str:
        """What stays the same while passes and signatures change; it can be written down."""
        parts = urlsplit(self.url)
        lasting = [(name, value) for name, value in parse_qsl(parts.query) if not _PASSES.fullmatch(name)]
        mark = hashlib.sha256(urlencode(lasting).encode()).hexdigest()[:16] if lasting else ""
        return f"{parts.scheme}://{_host(parts.netloc, '')}{parts.path}{mark and '?' + mark}"

    @property
    def folder(self) -> Address:
        """Where it lies, with the same pass; of a folder with / behind it, this folder."""
        parts = urlsplit(self.url)
        return Address(urlunsplit(parts._replace(path=parts.path.rpartition("/")[0])))

    def inside(self, name: str) -> Address:
        """The address of a file in this folder, with the same pass.

        Args:
            name: of the file.
        """
        parts = urlsplit(self.url)
        return Address(urlunsplit(parts._replace(path=f"{parts.path}/{name}")))


def find_address(typed: str) -> Address | None:
    """The address that a person typed; None where it is a path.

    Args:
        typed: what stands for DATA.

    Raises:
        DataError: it is an address of a kind that is not opened.
    """
    if typed.startswith("pipe:"):
        raise DataError(
            "pipe: addresses run commands, and data never does",
            where=shown(typed),
            remedy="the address that the command fetches, such as https://HOST/train-{000..146}.tar or s3://BUCKET/...",
        )
    if not (scheme := _SCHEME.match(typed)) or scheme[1].lower() == "file":
        return None
    if scheme[1].lower() not in PACKAGES:
        raise DataError(
            f"addresses that begin with {scheme[1]}:// are not opened",
            where=shown(typed),
            remedy=f"a path, or an address that begins with {', '.join(PACKAGES)}",
        )
    address = Address(scheme[1].lower() + typed[len(scheme[1]) :])
    if not urlsplit(address.url).netloc:
        raise DataError("the address names no server", where=str(address), remedy="SCHEME://SERVER/FILE")
    return address


def shown(text: str) -> str:
    """Text about addresses without names and passwords before an @ and without anything behind a question mark.

    Args:
        text: such as another package's error.
    """
    text = re.sub(r"(?<=://)[^/\s?#]*@", "***@", text)
    return re.sub(r"(\w://[^\s?'\"]*)\?[^\s'\")>]*", r"\1?***", text)


def _host(netloc: str, instead: str = "***@") -> str:
    login, at, host = netloc.rpartition("@")
    return (instead if at and login else "") + host
