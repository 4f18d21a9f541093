"""Shapes and types of every signature are checked while the tests run; the arithmetic stays on few threads."""

import os

os.environ.setdefault("OMP_NUM_THREADS", "2")

from jaxtyping import install_import_hook

install_import_hook("vitreous", "type_checker.check")

import pytest
import torch

torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """No test reads or writes the person's own cache of measured choices."""
    monkeypatch.setenv("VITREOUS_CACHE", str(tmp_path_factory.getbasetemp() / "vitreous-cache"))
