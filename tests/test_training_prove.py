"""Going on from a checkpoint in a new process is shown to equal never having stopped, or what differs is named."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from small_session import SmallSession, open_broken, open_forgetful, open_small

from vitreous.errors import UsageError, VitreousError
from vitreous.training.run import FORMAT_VERSION
from vitreous.training.saving import checkpoint
from vitreous.training.saving.prove import prove


def begun(run: Path, steps: int, total: int) -> Path:
    """A run folder with a checkpoint after each of some steps."""
    run.mkdir()
    (run / "run.json").write_text(json.dumps({"format_version": FORMAT_VERSION, "total_steps": total}))
    session = SmallSession(None)
    for _ in range(steps):
        session.advance()
        checkpoint.write(run / "checkpoints", session.state())
    return run


def contents(run: Path) -> dict[str, tuple[bytes, int]]:
    files = [path for path in run.rglob("*") if path.is_file()]
    return {str(path): (path.read_bytes(), path.stat().st_mtime_ns) for path in files}


def test_a_run_that_goes_on_rightly_is_proved(tmp_path: Path) -> None:
    """From the newest checkpoint, in another process, with the run untouched; said in one line."""
    run = begun(tmp_path / "run", 4, 20)
    before = contents(run)
    proof = prove(run, open_small, steps=3)
    assert proof.equal
    assert (4, 7, 12) == (proof.first, proof.last, proof.images)
    assert ["weights", "moments", "average", "images"] == [part.name for part in proof.parts]
    assert proof.process != os.getpid()
    assert proof.untouched
    assert before == contents(run)
    told = proof.words()
    assert told[0].startswith("step 4 -> 7: weights, moments, average and images equal to the bit (sha256: weights ")
    assert f"12 images each way; saved after step 5, gone on in process {proof.process}" in told[1]


def test_what_is_forgotten_in_a_checkpoint_is_named(tmp_path: Path) -> None:
    """Moments that begin again, and another order of images, are found out.

    This run is finished: having no steps left, it is proved from its start.
    """
    proof = prove(begun(tmp_path / "run", 2, 2), open_forgetful)
    assert not proof.equal
    told = "\n".join(proof.words())
    assert "step 0 -> 2: weights differ: 0.bias, 0.weight, 2.bias and 1 more" in told
    assert "moments differ: " in told
    assert "images differ: 4, " in told  # those of the first step were shown before the saving


def test_a_new_process_that_fails_is_told_with_its_words(tmp_path: Path) -> None:
    """And a run that has not begun is no proof."""
    with pytest.raises(VitreousError, match=r"could not go on(.|\n)*the images are gone; where photos; why"):
        prove(begun(tmp_path / "run", 1, 20), open_broken)
    (tmp_path / "run" / "run.json").write_text(json.dumps({"format_version": FORMAT_VERSION}))
    with pytest.raises(UsageError, match="has not begun"):
        prove(tmp_path / "run", open_small)
