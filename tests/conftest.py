"""Shapes and types of every signature are checked while the tests run; the arithmetic stays on few threads."""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1" if "PYTEST_XDIST_WORKER" in os.environ else "2")
os.environ.setdefault("GOMP_SPINCOUNT", "2000")  # on a busy machine, threads that spin at barriers stall each other

from jaxtyping import install_import_hook

install_import_hook("vitreous", "type_checker.check")

import pytest
import torch

torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """No test reads or writes the person's own cache of measured choices."""
    monkeypatch.setenv("VITREOUS_CACHE", str(tmp_path_factory.getbasetemp() / "vitreous-cache"))


_skipped_browser_tests: list[str] = []


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Remember the browser tests that found no browser."""
    if report.skipped and "browser" in report.keywords:
        _skipped_browser_tests.append(report.nodeid)


def pytest_unconfigure(config: pytest.Config) -> None:
    """The very last line names what was not proved for want of a browser; continuous integration fails on it."""
    if _skipped_browser_tests and not hasattr(config, "workerinput"):
        print("BROWSER TESTS SKIPPED (no Chromium found):", ", ".join(_skipped_browser_tests))
