"""Faults of data sets that show only in a whole run: names, images that vanish meanwhile, batches and their ends."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from PIL import Image
from small_photos import CLASSES, stripes, write_photos

import vitreous as vt
from vitreous.data.sources import open_splits
from vitreous.errors import ImageError


def train(data: object, folder: Path, **options: object) -> vt.Run:
    return vt.pretrain(data, model="vit-test", image_size=32, run=str(folder), **options)  # type: ignore[arg-type]


def test_numbered_folders_are_names_in_the_order_of_their_values(tmp_path: Path) -> None:
    for name in range(12):
        folder = tmp_path / "photos" / str(name)
        folder.mkdir(parents=True)
        for number in range(3):
            Image.fromarray(stripes(name % 3, 100 * name + number)).save(folder / f"{number}.png")
    predictor = vt.Predictor(train(tmp_path / "photos", tmp_path / "run", steps=2, batch_size=8).result.model)
    assert predictor.classes == tuple(str(number) for number in range(12))
    assert predictor(stripes(0, 3)).label in predictor.classes


@pytest.mark.parametrize(("batch_size", "micro_batch"), [(20, 6), (7, 3)])
def test_batches_larger_than_the_data_and_parts_of_one_image_train(
    tmp_path: Path, batch_size: int, micro_batch: int
) -> None:
    """Six images to learn from; every step has its whole batch, drawn over several epochs where they are fewer."""
    photos = write_photos(tmp_path / "photos", 3)
    train(photos, tmp_path / "run", steps=3, batch_size=batch_size, micro_batch=micro_batch)
    lines = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    assert lines[-1]["step"] == 3
    assert lines[-1]["epoch"] == pytest.approx(3 * batch_size / 6)


@pytest.mark.parametrize("what", ["removed", "overwritten"])
def test_an_image_that_changes_while_training_is_named(tmp_path: Path, what: str) -> None:
    splits = open_splits(write_photos(tmp_path / "photos", 4), val=0.25, seed=0)
    lost = Path(splits.train.ids[5])
    if what == "removed":
        lost.unlink()
    else:
        lost.write_bytes(b"<html>504 Gateway Timeout</html>")
    with pytest.raises(ImageError) as caught:
        train(splits, tmp_path / "run", steps=4, batch_size=9)
    assert caught.value.where == str(lost)
    assert caught.value.exit_code == 3


def test_rare_classes_have_their_share_in_the_balanced_accuracy(tmp_path: Path) -> None:
    """60 ants, 2 bees and 2 cows: who always says ant is right in 94 %, and a third balanced."""
    photos = write_photos(tmp_path / "photos", 2)
    for number in range(2, 60):
        Image.fromarray(stripes(0, number)).save(photos / "ant" / f"ant-{number}.png")
    run = train(photos, tmp_path / "run", steps=1, batch_size=4, learning_rate=1e-9)
    found = run.evaluate(photos)
    assert found.classes == CLASSES
    assert found.balanced == pytest.approx(sum(score.recall or 0.0 for score in found.per_class) / 3)
