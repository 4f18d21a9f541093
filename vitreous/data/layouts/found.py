"""What every layout answers with when it is asked whether DATA is its own."""

from __future__ import annotations

from dataclasses import dataclass, field

from vitreous.data.imageset import ImageSet

PARTS = ("all", "train", "val", "test")
"""What the parts of a data set are called, in their order; "all" stands alone."""

PART_OF = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("val", "valid", "validation"), "val"),
    **dict.fromkeys(("test", "testing"), "test"),
}
"""What the names of folders, shards and columns mean, in lower case."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Asked:
    """What a person said about DATA besides its name."""

    root: str | None = None
    """Where the files of a built-in set lie."""
    group_by: str | None = None
    """Name of a column, or a regular expression on keys, that says which images belong together."""
    keep_empty: bool = False
    """Whether classes without images count: they do in what is learned from, to be told before it is."""


@dataclass
class Found:
    """What lies where DATA points."""

    name: str
    """What a person calls it: as typed."""
    sets: dict[str, ImageSet]
    """By train, val and test, in this order; or {"all": ...} where nothing is divided."""
    notes: list[str] = field(default_factory=list)
    """What was recognised and what was left out, one sentence each."""
    listed: bool = False
    """Whether the source says which classes there are, so that one without images here is no mistake."""

    def __post_init__(self) -> None:
        self.sets = {part: self.sets[part] for part in PARTS if part in self.sets}
