"""The flags of every verb, and what is said when one is mistyped."""

from __future__ import annotations

import dataclasses
import re
from dataclasses import dataclass, field
from typing import Literal

import pytest

from vitreous.architecture import Size
from vitreous.cli.flags import flags_of, parse, positional
from vitreous.cli.menu import VERBS
from vitreous.cli.session import verb_class
from vitreous.config import TrainOptions
from vitreous.errors import UsageError

TRAINING = (
    "--run DIR, --recipe NAME, --quality WORD, --objective WORD, --time TIME, --epochs X, --steps N, --batch-size N, "
    "--learning-rate X, --set A=X,B=Y, --sweep, --train WORD, --class-weights WORD, --image-size N|HxW, --val X, "
    "--folds N, --fold N, --group-by REGEX, --dedupe, --result WORD, --bad-images WORD, --decode WORD, --cache WORD, "
    "--seed N, --device NAME, --threads N, --workers N, --precision WORD, "
    "--micro-batch N, --gradient-checkpointing, --compile WORD, --parallel WORD, --checkpoint-minutes X, --keep N, "
    "--log WORD, --root DIR"
)
MACHINE = "--device NAME, --precision WORD, --batch-size N, --threads N"
COMMON = "--json, --debug"

HUB = "--fetch, --hub-url URL"

SNAPSHOT = {  # changing a line here changes what people and scripts type: it is a decision
    "demo": f"--out DIR, --seed N, --threads N, --dry-run, {COMMON}",
    "check": f"DATA, --no-near, --shuffle-test, --fix FILE, --out DIR, --strict, --seed N, --root DIR, {COMMON}",
    "finetune": f"DATA, --model MODEL, --dry-run, {HUB}, {TRAINING}, {COMMON}",
    "pretrain": f"DATA, --model MODEL, --dry-run, {TRAINING}, {COMMON}",
    "resume": f"RUN, --prove, --allow-data-change, {COMMON}",
    "replay": f"RUN, {COMMON}",
    "predict": f"MODEL, PATH..., --top N, --out FILE, --strict, {HUB}, {MACHINE}, {COMMON}",
    "evaluate": f"MODEL, DATA, --split NAME, --root DIR, --calibrate-on DATA, --save-calibrated FILE, --out DIR, {HUB},"
    f" {MACHINE}, {COMMON}",
    "compare": f"A, B, DATA, --split NAME, --root DIR, --out DIR, --seed N, {HUB}, {MACHINE}, {COMMON}",
    "probe": "MODEL... DATA, --only A,B, --layers, --shots A,B, --seeds A,B, --val X, --bad-images WORD, --measure, "
    f"--out DIR, --seed N, --root DIR, --dry-run, {HUB}, {MACHINE}, {COMMON}",
    "vtab": "[MODEL], --root DIR, --list, --tasks A,B, --protocol WORD, --method WORD, --vtab WORD, "
    "--seeds N, --trials N, --out DIR, --jobs N, --steps N, --image-size N|HxW, --batch-size N, "
    "--set A=X,B=Y, --device NAME, --threads N, --precision WORD, --keep-models, --dry-run, "
    f"--strict, {HUB}, {COMMON}",
    "paper": "[TABLE], --cell ROW COLUMN, --commands, --out DIR, --miniature, --only STUDY..., --seeds N, --threads N, "
    f"--minutes X, --dry-run, {COMMON}",
    "convert": "SOURCE, TARGET, --to WORD, --verify, --allow-difference, --image-size N|HxW, --settings WORD,"
    f" --overwrite, {HUB}, {COMMON}",
    "push": f"MODEL, TARGET, --hub-url URL, --private, {COMMON}",
    "models": f"[NAME], --weights, --family NAME, --dialect NAME, --text WORD, {COMMON}",
    "recipes": f"[NAME], {COMMON}",
    "cost": "[MODEL], --image-size N|HxW, --classes N, --pixels, --recipe NAME, --data WORD, --images N, --epochs X, "
    "--steps N, --batch-size N, --gradient-checkpointing, --measure, --hardware WORD, --count N, --utilisation X, "
    f"{COMMON}",
}


def listed(verb: str) -> str:
    flags = flags_of(verb_class(VERBS[verb]))
    return ", ".join(f.spelled if f.positional else f"{f.spelled} {f.metavar}".rstrip() for f in flags)


def test_the_complete_list_of_flags() -> None:
    assert {verb: listed(verb) for verb in VERBS} == SNAPSHOT


@pytest.mark.parametrize("verb", ["finetune", "pretrain"])
def test_every_training_option_is_a_flag(verb: str) -> None:
    names = [flag.name for flag in flags_of(verb_class(VERBS[verb]))]
    assert {option.name for option in dataclasses.fields(TrainOptions)} <= set(names)
    assert len(names) == len(set(names))


@pytest.mark.parametrize("verb", VERBS)
def test_every_flag_explains_itself(verb: str) -> None:
    for flag in flags_of(verb_class(VERBS[verb])):
        assert re.fullmatch(r"[A-Za-z].*[.)]", flag.help), f"{flag.spelled}: {flag.help!r}"


@dataclass(frozen=True, kw_only=True)
class Inner:
    """Some more flags."""

    image_size: int | Size | None = None
    """How large."""
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    """How exact."""


@dataclass(frozen=True, kw_only=True)
class Paint:
    """A verb with one flag of each kind."""

    model: str = positional()
    """What paints."""
    paths: tuple[str, ...] = positional(metavar="PATH...")
    """What is painted."""
    coats: int = 1
    """How often."""
    share: float | None = None
    """How much of it."""
    gloss: bool = False
    """Whether it shines."""
    inner: Inner = field(default_factory=Inner)


def paint(*words: str) -> Paint:
    return parse(Paint, words, name="vitreous paint", example="vitreous paint m a.jpg")


def test_values_arrive_as_what_they_are() -> None:
    words = ["m", "a.jpg", "b c.jpg", "--coats", "3", "--share=0.25", "--gloss", "--image_size", "24x40"]
    assert paint(*words, "--precision", "float32") == Paint(
        model="m",
        paths=("a.jpg", "b c.jpg"),
        coats=3,
        share=0.25,
        gloss=True,
        inner=Inner(image_size=(24, 40), precision="float32"),
    )


def test_what_is_not_typed_keeps_its_default() -> None:
    assert paint("m", "a") == Paint(model="m", paths=("a",))
    assert paint("--gloss", "m", "a", "--image-size", "24").inner.image_size == 24


def test_words_after_two_dashes_are_never_flags() -> None:
    assert paint("--gloss", "--", "-m", "--json") == Paint(model="-m", paths=("--json",), gloss=True)


def test_negative_numbers_are_values() -> None:
    assert paint("m", "a", "--coats", "-2").coats == -2


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("m a --caots 2", r"vitreous paint has no flag --caots\n  why +did you mean --coats"),
        ("--unheard m a", r"vitreous paint has no flag --unheard\n(?s:.*)vitreous paint --help"),
        ("m a --coats", r"--coats needs a value: --coats N"),
        ("m a --coats --gloss", r"--coats needs a value: --coats N"),
        ("m a --gloss=yes", r"--gloss takes no value, got '--gloss=yes'"),
        ("m a --coats many", r"--coats must be a whole number, got 'many'"),
        ("m a --coats 1.5", r"--coats must be a whole number, got '1.5'"),
        ("m a --share half", r"--share must be a number, got 'half'"),
        ("m a --share nan", r"--share must be a number, got 'nan'"),
        ("m a --share inf", r"--share must be a number, got 'inf'"),
        ("m a --precision bf16", r"--precision cannot be 'bf16'\n  why +did you mean bfloat16"),
        ("m a --image-size 24,40", r"--image-size must be one number or HEIGHTxWIDTH, got '24,40'"),
        ("m a --image-size -24", r"--image-size must be one number or HEIGHTxWIDTH, got '-24'"),
        ("", r"vitreous paint needs MODEL: what paints\.\n  try +vitreous paint m a\.jpg"),
        ("m", r"vitreous paint needs PATH\.\.\.: what is painted\."),
        ("m a --gloss b", r"vitreous paint takes MODEL PATH\.\.\., and 'b' is left over"),
        ("m a -g", r"'-g' is left over"),
    ],
)
def test_a_mistyped_command_is_one_clear_message(words: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        paint(*words.split())


def test_impossible_options_are_refused_in_the_same_way() -> None:
    finetune = verb_class(VERBS["finetune"])
    with pytest.raises(UsageError, match="--epochs and --steps exclude each other"):
        parse(finetune, ["photos", "--epochs", "2", "--steps", "9"], name="vitreous finetune", example="")
