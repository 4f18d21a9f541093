"""The verb `check`: what is wrong with the images, before anything learns from them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from vitreous import console
from vitreous.cli.answer import Answer, Common
from vitreous.cli.flags import option, positional
from vitreous.cli.words import command, harmless, next_steps, percent, shorten, table
from vitreous.console import count
from vitreous.errors import DataError, UsageError
from vitreous.results import CheckResult, ImageGroup, ShuffleTest

_SHOWN = 3  # findings of each kind
_PATHS_SHOWN = 3  # images of one group
_LONGEST = 100


@dataclass(frozen=True, kw_only=True, slots=True)
class Check:
    """Find what is wrong with the images before training: nothing is changed."""

    data: str = positional()
    """Whatever training takes: a folder of class folders, a manifest, shards, or a built-in name."""
    no_near: bool = False
    """Do not look for pictures that look the same though their pixels differ."""
    shuffle_test: bool = False
    """See whether the labels have to do with the images at all; reads up to 10,000 of them again."""
    fix: str | None = option(None, metavar="FILE")
    """Write a clean list of images here, a name that ends in .csv; no image is touched."""
    out: str | None = option(None, metavar="DIR")
    """Folder for the page and the list of findings; by default checks/NAME-N."""
    strict: bool = False
    """Exit with 3 when anything should be mended; near duplicates within one part need not be."""
    seed: int = 0
    """Of the shuffle test."""
    root: str | None = None
    """Where a built-in data set lies, if not in its usual place."""
    common: Common = field(default_factory=Common)

    def __post_init__(self) -> None:
        if self.seed < 0:
            raise UsageError(f"--seed must be 0 or more, got {self.seed}")

    def answer(self) -> Answer:
        """Check, and say what was found."""
        from vitreous.study.check import check, free_folder, next_commands

        found = check(
            self.data,
            near=not self.no_near,
            shuffle_test=self.shuffle_test,
            fix=self.fix,
            out=self.out or free_folder(self.data),
            seed=self.seed,
            root=self.root,
            command=command("check", self.data, *self._typed()),
        )
        console.say(*_counted(found), *_found(found), *_warnings(found))
        if found.shuffle_test is not None:
            console.say(*_shuffled(found.shuffle_test))
        console.say("", f"page    {harmless(found.html or '')}")
        if found.manifest is not None:
            console.say(f"list    {harmless(found.manifest)}: {found.kept:,} of {count(found.images, 'image')}")
        console.say(*next_steps(*((harmless(step.text), step.explained) for step in next_commands(found))))
        return Answer(value=found, exit_code=DataError.exit_code if self.strict and found.faulty else 0)

    def _typed(self) -> list[str]:
        """The flags that were typed and decide what is found."""
        words = ["--no-near"] * self.no_near + ["--shuffle-test"] * self.shuffle_test
        for flag, value in (("--fix", self.fix), ("--out", self.out), ("--root", self.root)):
            words += [flag, value] if value is not None else []
        return words + (["--seed", str(self.seed)] if self.seed else [])


def _counted(found: CheckResult) -> list[str]:
    parts = list(next(iter(found.classes.values()), {}))
    sizes = [f"{part} {sum(row[part] for row in found.classes.values()):,}" for part in parts if part != "all"]
    lines = [
        f"{harmless(found.data)}: {count(found.images, 'image')} in {count(len(found.classes), 'class', 'classes')}"
        + (f" ({', '.join(sizes)})" if sizes else "")
        + f", {console.duration(found.seconds)}"
    ]
    return lines + [f"  {harmless(note)}" for note in found.notes]


def _found(found: CheckResult) -> list[str]:
    """One line for each kind of fault, and the first finds of each."""
    kinds: list[tuple[str, str, Sequence[ImageGroup]]] = [
        ("leaks", "the same picture in two parts", found.leaks),
        ("conflicts", "the same picture with several labels", found.conflicts),
        ("duplicates", "equal pictures", found.duplicates),
        ("near", "pictures that look the same", found.near),
    ]
    rows = [("unreadable", f"{len(found.unreadable):,}", "files that are no sound image")]
    rows += [(kind, f"{len(groups):,}", words) for kind, words, groups in kinds]
    rows += [("odd", f"{len(found.odd):,}", "tiny, narrow, of one colour, animated or misnamed images")]
    lines = ["", *table(rows, right=(1,))]
    if found.unreadable:
        lines += ["", "unreadable"]
        lines += table([(_path(item.path), harmless(item.reason)) for item in found.unreadable[:_SHOWN]])
        lines += _more(len(found.unreadable))
    for kind, _, groups in kinds:
        if groups:
            lines += ["", kind, *(f"  {_group(group)}" for group in groups[:_SHOWN]), *_more(len(groups))]
    return lines


def _group(group: ImageGroup) -> str:
    labelled = len({image.label for image in group.images}) > 1
    names = [_path(image.path) + (f" ({harmless(image.label)})" if labelled else "") for image in group.images]
    more = [f"{len(names) - _PATHS_SHOWN:,} more"] if len(names) > _PATHS_SHOWN else []
    return ("  ~  " if group.how == "near" else "  =  ").join([*names[:_PATHS_SHOWN], *more])


def _path(path: str) -> str:
    return shorten(harmless(path), _LONGEST)


def _more(total: int) -> list[str]:
    return [f"  and {total - _SHOWN:,} more"] if total > _SHOWN else []


def _warnings(found: CheckResult) -> list[str]:
    if not found.warnings:
        return []
    lines = ["", "warnings"]
    for concern in found.warnings:
        lines += [f"  {harmless(concern.what)}", f"      {harmless(concern.remedy)}"]
    return lines


def _shuffled(test: ShuffleTest) -> list[str]:
    rows = [
        (name, percent(top1), f"by chance {percent(low)} to {percent(high)}")
        for name, top1, (low, high) in (
            ("labels as they are", test.top1, test.chance),
            ("labels shuffled", test.shuffled_top1, test.shuffled_chance),
        )
    ]
    head = f"shuffle test, on {count(test.seen, 'image')}"
    return ["", head, *table(rows, right=(1,)), f"  {test.explained}"]
