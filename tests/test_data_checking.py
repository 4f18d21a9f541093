"""What is wrong with images is found: each rule against a slow or exact truth, each memory against a changed file."""

from __future__ import annotations

import dataclasses
import hashlib
import io
import itertools
import os
from collections.abc import Callable, Iterable
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from flawed_photos import scene, write_scenes
from PIL import Image
from tar_shards import write_tar

from vitreous.data.checking.before_training import Inspection, inspect
from vitreous.data.checking.census import class_concerns, class_counts
from vitreous.data.checking.clean import kept_places
from vitreous.data.checking.copies import Copies, Spot, everything, find_copies, in_conflict, label_of
from vitreous.data.checking.frames import frame_concerns
from vitreous.data.checking.look import CONSTANT, KINDS, PLAIN, difference_hashes, look_at
from vitreous.data.checking.odd import comparable
from vitreous.data.checking.remembered import Remembered
from vitreous.data.checking.shuffle import chance_interval, shuffle_test
from vitreous.data.checking.similar import NEAR, NEAR_DOWN, connected, find_near
from vitreous.data.checking.survey import survey
from vitreous.data.imageset import ImageSet, array_set
from vitreous.data.layouts.found import Asked
from vitreous.data.recognise import recognise
from vitreous.data.sources import open_images
from vitreous.data.split import grouped
from vitreous.data.targets import targets_from
from vitreous.errors import DataError
from vitreous.picture.decode import decode
from vitreous.results import Concern


@pytest.fixture(autouse=True)
def own_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VITREOUS_CACHE", str(tmp_path / "cache"))


def slow_hash(pixels: np.ndarray, rows: int, columns: int) -> list[list[Fraction]]:
    """Mean luma of the cells of 72 sampled rows, in exact fractions, pixel by pixel."""
    height, width = pixels.shape[:2]
    sampled = [((2 * row + 1) * height) // 144 for row in range(72)]
    cells = []
    for row in range(rows):
        mine = sampled[row * 72 // rows : (row + 1) * 72 // rows]
        line = []
        for column in range(columns):
            left, right = column * width // columns, (column + 1) * width // columns
            across = range(left, max(right, left + 1))
            values = [
                299 * int(r) + 587 * int(g) + 114 * int(b) for y in mine for r, g, b in (pixels[y, x] for x in across)
            ]
            line.append(Fraction(sum(values), len(values)))
        cells.append(line)
    return cells


def slow_bits(pixels: np.ndarray) -> tuple[int, int]:
    across, down = slow_hash(pixels, 8, 9), slow_hash(pixels, 9, 8)
    right = [int(across[y][x + 1]) - int(across[y][x]) > 1000 for y in range(8) for x in range(8)]
    below = [int(down[y + 1][x]) - int(down[y][x]) > 1000 for y in range(8) for x in range(8)]
    return as_number(right), as_number(below)


def as_number(bits: list[bool]) -> int:
    return int("".join("01"[bit] for bit in bits), 2)


@pytest.mark.parametrize("size", [(1, 1), (3, 40), (50, 2), (8, 9), (71, 73), (95, 64)])
def test_the_difference_hash_is_the_slow_one(size: tuple[int, int]) -> None:
    for number in range(3):
        pixels = np.random.default_rng([number, *size]).integers(0, 256, (*size, 3), dtype=np.uint8)
        assert slow_bits(pixels) == difference_hashes(pixels)[:2]
    assert slow_bits(scene(5, (60, 77))) == difference_hashes(scene(5, (60, 77)))[:2]


def test_a_look_holds_digests_size_and_signs() -> None:
    pixels = scene(3, (50, 70))
    blob = encoded(pixels, "PNG")
    look = look_at(pixels, blob)
    assert hashlib.sha256(blob).digest()[:16].rstrip(b"\0") == look["file"]
    assert (50, 70, 1, "PNG", 0) == (
        *(int(look[key]) for key in ("height", "width", "frames")),
        KINDS[look["kind"]],
        look["signs"],
    )
    assert look["pixels"] == look_at(pixels, encoded(pixels, "BMP"))["pixels"] != look_at(pixels[::-1], None)["pixels"]
    # the same numbers in another shape are another picture
    assert look_at(pixels.reshape(70, 50, 3), None)["pixels"] != look["pixels"]
    blank = look_at(np.full((40, 40, 3), 7, np.uint8), None)
    assert PLAIN | CONSTANT == blank["signs"]
    fade = np.repeat(np.linspace(0, 250, 90).astype(np.uint8)[None, :, None], 60, axis=0).repeat(3, axis=2)
    assert PLAIN == look_at(fade, None)["signs"]


def test_an_image_may_be_longer_than_16_bits_can_say() -> None:
    for height, width in ((3, 70_001), (70_002, 2)):
        pixels = np.random.default_rng(width).integers(0, 256, (height, width, 3), np.uint8)
        look = look_at(pixels, encoded(pixels, "PNG"))
        assert (height, width) == (int(look["height"]), int(look["width"]))


def encoded(pixels: np.ndarray, form: str, **how: int) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, form, **how)
    return buffer.getvalue()


def ones(number: int) -> int:
    return int(number).bit_count()


def roots(links: Iterable[tuple[int, int]], count: int) -> list[int]:
    """Union-find in its plainest form."""
    root = list(range(count))
    for one, other in links:
        low, high = sorted((root[one], root[other]))
        root = [low if mark == high else mark for mark in root]
    return root


@pytest.mark.parametrize("spread", [64, 20])
def test_near_pairs_are_those_of_comparing_all_with_all(spread: int) -> None:
    """Random hashes, some a few bits from others; with 20 free bits there are many coincidences."""
    rng = np.random.default_rng(spread)
    mask = np.uint64((1 << spread) - 1)
    across = rng.integers(0, 2**64, 400, dtype=np.uint64) & mask
    down = rng.integers(0, 2**64, 400, dtype=np.uint64) & np.uint64(0x3F)
    for place in range(150):
        flips = rng.choice(64, place % 7, replace=False)
        across[200 + place] = across[place] ^ np.uint64(sum(1 << int(bit) for bit in flips))
        down[200 + place] = down[place] ^ np.uint64(0xFF if place % 5 == 0 else 0x1FF if place % 5 == 1 else 0)
    links, complete = find_near(across, down)
    assert complete
    near = [
        (one, other)
        for one, other in itertools.combinations(range(400), 2)
        if ones(across[one] ^ across[other]) <= NEAR and ones(down[one] ^ down[other]) <= NEAR_DOWN
    ]
    assert set(map(tuple, links.tolist())) <= set(near)
    assert roots(near, 400) == connected(links, 400).tolist()
    assert len(near) > 60


def test_near_pairs_of_many_pictures_take_far_less_than_all_pairs() -> None:
    rng = np.random.default_rng(0)
    across, down = rng.integers(0, 2**64, (2, 60_000), dtype=np.uint64)
    across[59_999], down[59_999] = across[7] ^ np.uint64(0b1011), down[7]
    links, complete = find_near(across, down)  # 1.8 thousand million pairs otherwise
    assert ([[7, 59_999]], True) == (links.tolist(), complete)


def test_thousands_that_share_bands_are_bounded_and_said() -> None:
    across = np.arange(800, dtype=np.uint64) << np.uint64(40)
    _, complete = find_near(across, np.arange(800, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15))
    assert not complete


def test_pictures_saved_anew_are_near_and_others_are_not() -> None:
    """40 scenes, each in five more forms: 99 of 100 pairs; none of mirrored, cropped and other scenes."""
    looks, owner = [], []
    for number in range(40):
        pixels = scene(number, (120, 160))
        image = Image.fromarray(pixels)
        forms = [
            pixels,
            reopened(encoded(pixels, "JPEG", quality=60)),
            reopened(encoded(pixels, "WEBP", quality=50)),
            np.asarray(image.resize((80, 60), Image.Resampling.LANCZOS)),
            np.asarray(image.resize((251, 187), Image.Resampling.BICUBIC)),
            (pixels * 0.85 + 12).astype(np.uint8),
        ]
        others = [pixels[:, ::-1], pixels[::-1], pixels[30:, 40:]]
        looks += [look_at(np.ascontiguousarray(form), None) for form in forms + others]
        owner += [number] * len(forms) + [1000 + 10 * number + place for place in range(len(others))]
    stacked = np.stack(looks)
    assert comparable(stacked).all()
    found = connected(find_near(stacked["across"], stacked["down"])[0], len(stacked)).tolist()
    listed = {pair for pair in itertools.combinations(range(len(found)), 2) if found[pair[0]] == found[pair[1]]}
    true = {pair for pair in itertools.combinations(range(len(owner)), 2) if owner[pair[0]] == owner[pair[1]]}
    assert len(true) == 40 * 15
    assert len(listed & true) / len(true) >= 0.99, "recall"
    assert 1.0 == len(listed & true) / len(listed), "precision"


def reopened(blob: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(blob)).convert("RGB"))


def test_blank_pictures_never_flood_the_list() -> None:
    rng = np.random.default_rng(4)
    blanks = [np.clip(rng.normal(200, 0.4, (60, 80, 3)), 0, 255).astype(np.uint8) for _ in range(40)]
    fades = [
        np.repeat(np.arange(0, 160, dtype=np.uint8)[None, :, None] + up, 90, axis=0).repeat(3, 2) for up in range(9)
    ]
    assert not comparable(np.stack([look_at(pixels, None) for pixels in blanks + fades])).any()


# What is remembered


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Two classes, written a minute ago."""
    for label, name in enumerate(("ant", "bee")):
        write_scenes(tmp_path / "photos" / name, range(10 * label, 10 * label + 5))
    grow_old(tmp_path / "photos")
    return tmp_path / "photos"


def grow_old(folder: Path, seconds: int = 60) -> None:
    for path in folder.rglob("*"):
        if path.is_file():
            stamp = path.stat().st_mtime_ns - seconds * 10**9
            os.utime(path, ns=(stamp, stamp))


def inspected(data: Path) -> Inspection:
    return inspect(recognise(data, Asked()).sets)


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the images that are decoded from here on."""
    names: list[str] = []

    def noted(source: bytes, *, name: str) -> np.ndarray:
        names.append(name)
        return decode(source, name=name)

    monkeypatch.setattr("vitreous.data.checking.survey.decode", noted)
    return names


def test_unchanged_files_are_not_decoded_again(photos: Path, decoded: list[str]) -> None:
    first = inspected(photos)
    assert (10, 10) == (len(decoded), first.checked)
    assert first == inspected(photos)
    assert 10 == len(decoded)


def test_a_changed_file_is_seen_again(photos: Path, decoded: list[str]) -> None:
    inspected(photos)
    target = photos / "ant" / "1.png"
    size = target.stat().st_size
    content = bytearray(target.read_bytes())
    content[-20] ^= 0xFF  # equally long, and damaged
    target.write_bytes(bytes(content))
    grow_old(target.parent, 30)
    assert size == target.stat().st_size
    decoded.clear()
    found = inspected(photos)
    assert [str(target)] == [failure.path for failure in found.failures["all"].values()]
    assert str(target) in decoded


def test_a_file_written_a_moment_ago_is_not_remembered(photos: Path, decoded: list[str]) -> None:
    (photos / "ant" / "1.png").touch()
    inspected(photos)
    inspected(photos)
    assert 11 == len(decoded)


def test_unreadable_images_are_tried_each_time(photos: Path) -> None:
    (photos / "bee" / "2.png").write_bytes(b"no image")
    grow_old(photos)
    for _ in range(2):
        found = inspected(photos)
        assert ["this is not an image that can be read (it holds text)"] == [
            failure.reason for failure in found.failures["all"].values()
        ]


@pytest.mark.parametrize("harm", ["flipped", "cut", "empty", "rubbish", "older"])
def test_a_damaged_memory_is_ignored_and_mended(photos: Path, tmp_path: Path, decoded: list[str], harm: str) -> None:
    whole = inspected(photos)
    (file,) = (tmp_path / "cache" / "looks").iterdir()
    blob = bytearray(file.read_bytes())
    if harm == "flipped":
        blob[-30] ^= 1
    elif harm == "older":
        blob = bytearray(bytes(blob).replace(b"Pillow ", b"Pillow 9", 1))
    file.write_bytes({"cut": bytes(blob[:-74]), "empty": b"", "rubbish": b"rubbish" * 99}.get(harm, bytes(blob)))
    assert whole == inspected(photos)
    assert 20 == len(decoded)
    inspected(photos)
    assert 20 == len(decoded)


def test_a_home_that_cannot_be_written_to_costs_nothing_but_time(photos: Path, tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("a file where a folder should be")
    assert inspected(photos) == inspected(photos)


def test_images_in_shards_are_remembered_by_their_bytes(tmp_path: Path, decoded: list[str]) -> None:
    members = []
    for number in range(6):
        members += [(f"{number:03d}.png", encoded(scene(number), "PNG")), (f"{number:03d}.cls", b"%d" % (number % 2))]
    write_tar(tmp_path / "shards" / "train-000.tar", members)
    first = inspected(tmp_path / "shards")
    assert 6 == len(decoded)
    grow_old(tmp_path / "shards", 5)  # the time of a shard says nothing of the images in it
    assert first == inspected(tmp_path / "shards")
    assert 6 == len(decoded)


def test_memory_of_an_image_is_as_long_as_stated(photos: Path, tmp_path: Path) -> None:
    inspected(photos)
    (file,) = (tmp_path / "cache" / "looks").iterdir()
    header = file.read_bytes().index(b"\n") + 1 + 32
    assert 10 * 78 == file.stat().st_size - header


def test_what_is_gone_is_forgotten(photos: Path, tmp_path: Path) -> None:
    inspected(photos)
    (photos / "ant" / "1.png").unlink()
    write_scenes(photos / "bee", range(10, 16))
    grow_old(photos / "bee")
    inspected(photos)
    (file,) = (tmp_path / "cache" / "looks").iterdir()
    header = file.read_bytes().index(b"\n") + 1 + 32
    assert 10 * 78 == file.stat().st_size - header
    assert 10 == len(Remembered([str(photos)])._known)


# Before training


def test_copies_and_conflicts_are_found_across_parts(tmp_path: Path) -> None:
    write_scenes(tmp_path / "p/train/ant", range(4))
    write_scenes(tmp_path / "p/train/bee", range(20, 24))
    write_scenes(tmp_path / "p/val/bee", range(30, 33))
    Image.fromarray(scene(1)).save(tmp_path / "p/val/bee/other.bmp")
    found = inspected(tmp_path / "p")
    spots = (Spot("train", 1), Spot("val", 3))
    assert (Copies(spots, same_file=False),) == found.copies == found.conflicts
    assert {"train": {}, "val": {}} == found.failures
    assert ("train", "val") == found.copies[0].parts
    assert 12 == found.checked


def test_sets_in_memory_are_passed_over() -> None:
    pixels = np.zeros((4, 5, 6), np.uint8)
    found = inspect({"train": array_set("zeros", pixels, np.array([0, 1, 0, 1]), ["a", "b"])})
    assert Inspection(failures={"train": {}}, checked=0, copies=(), conflicts=()) == found
    assert inspect({}).copies == ()


def test_labels_are_compared_by_name_and_several_labels_as_a_whole() -> None:
    pixels = np.stack([scene(1, (40, 50)), scene(2, (40, 50)), scene(3, (40, 50))])
    first = array_set("first", pixels, np.array([0, 1, 0]), ["a", "b"])
    turned = array_set("turned", pixels, np.array([1, 0, 0]), ["b", "a"])
    looked = survey({"train": (first, np.arange(3)), "val": (turned, np.arange(3))}, "looking")
    copies = find_copies(everything(looked))
    assert [Copies((Spot("train", 2), Spot("val", 2)), same_file=True)] == in_conflict(
        copies, {"train": first, "val": turned}
    )
    several = ImageSet(
        name="several",
        classes=("a", "b"),
        ids=["0", "1", "2"],
        labels=np.array([0, 0, 0]),
        read=first.read,
        targets=targets_from([{0: 1.0, 1: 1.0}, {0: 1.0}, {}], 2, soft=False),
    )
    assert ["a, b", "a", "(no label)"] == [label_of(several, place) for place in range(3)]


# Classes, names, frames


def labelled(name: str, classes: list[str], counts: list[int]) -> ImageSet:
    labels = np.repeat(np.arange(len(classes)), counts)
    ids = [f"{classes[label]}/{place}.png" for place, label in enumerate(labels)]
    return ImageSet(name, tuple(classes), ids, labels, lambda _: np.zeros((1, 1, 3), np.uint8))


def kinds(concerns: list[Concern]) -> list[str]:
    return [concern.kind for concern in concerns]


def test_imbalance_is_told_with_counts_and_a_remedy() -> None:
    (concern,) = class_concerns({"all": labelled("photos", ["ant", "bee", "cow"], [1000, 40, 2])})
    assert "imbalance" == concern.kind
    assert "1,000 images of ant, 2 of cow (500 to 1)" in concern.what
    assert "--class-weights balanced" in concern.remedy
    assert [] == class_concerns({"all": labelled("photos", ["ant", "bee"], [90, 10])})
    assert ["few images", "imbalance"] == kinds(class_concerns({"all": labelled("p", ["ant", "bee"], [1000, 1])}))


@pytest.mark.parametrize(
    ("name", "what"), [("Bee", "case"), ("bee ", "spaces"), ("b\u200aee", "class"), ("wasp", "class")]
)
def test_classes_that_do_not_match_across_parts_are_told(name: str, what: str) -> None:
    sets = {"train": labelled("t", ["ant", "bee"], [5, 5]), "val": labelled("v", ["ant", name], [2, 2])}
    (concern,) = class_concerns(sets)
    assert "class names" == concern.kind
    assert what in concern.what
    assert {"ant": {"train": 5, "val": 2}, "bee": {"train": 5, "val": 0}, name: {"train": 0, "val": 2}} == class_counts(
        sets
    )


def test_two_spellings_of_unicode_are_one_class() -> None:
    sets = {"train": labelled("t", ["caf\u00e9", "bee"], [5, 5]), "val": labelled("v", ["cafe\u0301", "bee"], [2, 2])}
    assert [] == class_concerns(sets)
    assert {"train": 5, "val": 2} == class_counts(sets)["caf\u00e9"]


def test_look_alike_names_in_one_part_and_classes_without_images_are_told() -> None:
    alike = class_concerns({"all": labelled("p", ["red_fox", "Red fox", "bee"], [4, 4, 4])})
    assert ["class names"] == kinds(alike)
    assert "'red_fox' and 'Red fox'" in alike[0].what
    few = class_concerns({"train": labelled("t", ["a", "b", "c"], [0, 1, 3]), "val": labelled("v", ["c"], [2])})
    assert ["few images", "few images", "missing classes"] == kinds(few)
    assert "v has no images of b" in few[2].what


def keyed(keys: list[str]) -> ImageSet:
    classes = sorted({key.split("/")[0] for key in keys})
    labels = np.array([classes.index(key.split("/")[0]) for key in keys])
    return ImageSet("photos", tuple(classes), keys, labels, lambda _: np.zeros((1, 1, 3), np.uint8))


@pytest.mark.parametrize(
    ("make", "pattern"),
    [
        (lambda label, film, frame: f"{label}/vid{film}_{frame:04d}.jpg", r"([^/]+)_\d+"),
        (lambda label, film, frame: f"{label}/{label}_g{film:02d}_frame{5 * frame:05d}.png", r"([^/]+)_frame\d+"),
        (lambda label, film, frame: f"{label}/walk{'abcdefg'[film]}{frame + 1}.jpg", r"([^/]*[^/\d])\d+"),
    ],
)
def test_frames_of_films_are_told_with_an_expression_that_works(
    make: Callable[[str, int, int], str], pattern: str
) -> None:
    films = {"cat": (1, 2, 3), "dog": (4, 5)}
    keys = [make(label, film, frame) for label in films for film in films[label] for frame in range(9)]
    (concern,) = frame_concerns(keyed(keys))
    assert f"--group-by '{pattern}'" in concern.remedy
    assert "45 images look like frames of 5 films" in concern.what
    groups = grouped(keyed(keys), pattern).groups
    assert groups is not None
    assert np.repeat(np.arange(5), 9).tolist() == groups.tolist()
    assert [] == frame_concerns(grouped(keyed(keys), pattern))


def test_names_of_many_digits_are_no_frames() -> None:
    """Python itself turns no text of more than 4,300 digits into a number."""
    assert [] == frame_concerns(keyed([f"{label}/a{'7' * 5000}{place}.png" for label in "cd" for place in range(9)]))


@pytest.mark.parametrize(
    "make",
    [
        lambda label, place: f"{label}/{place:05d}.png",
        lambda label, place: f"{label}/{label}-{place}.png",
        lambda label, place: f"{label}/IMG_{place:04d}.jpg",
        lambda label, place: f"{label}/n0{len(label)}440764_{place * 7}.JPEG",
        lambda label, place: f"{label}/{label}_{'ab'[place % 2]}_{place * place:06d}.png",  # as in CIFAR-10
        lambda label, place: f"{label}/{hashlib.md5(f'{label}{place}'.encode()).hexdigest()}.jpg",
    ],
)
def test_numbered_photographs_are_no_films(make: Callable[[str, int], str]) -> None:
    assert [] == frame_concerns(keyed([make(label, place) for label in ("cat", "dogs") for place in range(40)]))


# The shuffle test


def test_chance_is_that_of_random_matchings() -> None:
    """Against mean and standard deviation over every order of six labels."""
    answers, labels = np.array([0, 0, 1, 1, 2, 2]), np.array([0, 0, 0, 1, 1, 2])
    shares = [np.mean(answers == np.array(order)) for order in itertools.permutations(labels.tolist())]
    low, high = chance_interval(answers, labels)
    mean, deviation = np.mean(shares), np.std(shares)
    assert max(0, mean - 3.29 * deviation - 0.5 / 6) == pytest.approx(low, abs=1e-12)
    assert min(1, mean + 3.29 * deviation + 0.5 / 6) == pytest.approx(high, abs=1e-12)


def test_shuffled_labels_are_guessed_by_chance_and_true_ones_are_not() -> None:
    digits = open_images("digits").subset(range(700))
    found = shuffle_test({"all": digits}, 0)
    assert found.passed
    assert found.top1 > 0.85 > 0.2 > found.shuffled_top1
    assert found.shuffled_chance[0] <= found.shuffled_top1 <= found.shuffled_chance[1]
    assert found == shuffle_test({"all": digits}, 0)
    assert found.seen == pytest.approx(0.3 * len(digits), abs=6)


def test_labels_that_slipped_are_found_out() -> None:
    """As when a table was sorted and its images were not."""
    digits = open_images("digits").subset(range(700))
    wrong = dataclasses.replace(digits, labels=np.random.default_rng(1).permutation(digits.labels))
    found = shuffle_test({"all": wrong}, 0)
    assert found.passed is False
    assert "slipped by a row" in found.explained


def test_a_handful_of_images_proves_nothing() -> None:
    rng = np.random.default_rng(2)
    few = array_set("few", rng.integers(0, 256, (12, 20, 20, 3), dtype=np.uint8), np.arange(12) % 3, ["a", "b", "c"])
    assert shuffle_test({"all": few}, 0).passed is None
    with pytest.raises(DataError, match="two classes"):
        shuffle_test({"all": few.subset([0, 3, 6, 9])}, 0)


# A clean list


def test_what_is_held_out_stays_and_what_is_learned_from_gives_way() -> None:
    images = array_set("z", np.stack([scene(number, (40, 40)) for number in range(6)]), np.zeros(6, np.int64), ["a"])
    surveys = survey({part: (images, np.arange(6)) for part in ("train", "val", "test")}, "looking")
    copies = [
        Copies((Spot("train", 0), Spot("train", 1)), same_file=True),
        Copies((Spot("train", 2), Spot("val", 2), Spot("test", 2)), same_file=True),
        conflict := Copies((Spot("train", 3), Spot("test", 3)), same_file=False),
    ]
    near = [(Spot("train", 4), Spot("train", 5), Spot("val", 4))]
    keep = kept_places(surveys, copies, [conflict], near)
    assert [0] == np.flatnonzero(keep["train"]).tolist()
    assert [0, 1, 3, 4, 5] == np.flatnonzero(keep["val"]).tolist()
    assert [0, 1, 2, 4, 5] == np.flatnonzero(keep["test"]).tolist()
