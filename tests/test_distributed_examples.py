"""The examples for clusters are well-formed, and torchrun and vitreous both take the words they are given."""

from __future__ import annotations

import re
import shlex
import subprocess
from pathlib import Path

import pytest
import yaml
from torch.distributed.run import parse_args

from vitreous.cli.flags import parse
from vitreous.cli.menu import VERBS
from vitreous.cli.session import verb_class
from vitreous.recipe import find_recipe

EXAMPLES = Path(__file__).parent.parent / "examples"


def commands(text: str) -> list[list[str]]:
    """Every torchrun command, once for each array of words that it may be given."""
    plain = re.sub(r"\\\n\s*", "", text)
    for name, value in {"RUN": "runs/x", "DATA": "photos/", "HEAD": "node-1", "SLURM_NNODES": "4"}.items():
        plain = plain.replace(f"${name}", value)
    arrays = re.findall(r"WORDS=\((.+)\)", plain) or [""]
    started = re.findall(r"^.*?\btorchrun (--.+ vitreous .+)$", plain, re.M)
    return [shlex.split(words.replace('"${WORDS[@]}"', array)) for words in started for array in arrays]


@pytest.mark.parametrize(("name", "count"), [("slurm.sh", 2), ("kubernetes.yaml", 2), ("README.md", 3)])
def test_torchrun_and_vitreous_take_the_words_they_are_given(name: str, count: int) -> None:
    found = commands((EXAMPLES / name).read_text(encoding="utf-8"))
    assert len(found) == count
    for words in found:
        torchrun = parse_args(words)
        assert (torchrun.module, torchrun.training_script) == (True, "vitreous")
        verb, *flags = torchrun.training_script_args
        parse(verb_class(VERBS[verb]), flags, name=verb, example="")
        if "--recipe" in flags:
            find_recipe(flags[flags.index("--recipe") + 1], verb)


def test_without_the_two_dashes_torchrun_would_refuse(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parse_args(["--nproc-per-node", "2", "-m", "vitreous", "pretrain", "photos/", "--run", "runs/x"])
    assert "ambiguous option: --run could match" in capsys.readouterr().err


def test_the_scripts_are_valid_shell() -> None:
    job = list(yaml.safe_load_all((EXAMPLES / "kubernetes.yaml").read_text(encoding="utf-8")))[1]
    (script,) = job["spec"]["template"]["spec"]["containers"][0]["args"]
    for text in (script, (EXAMPLES / "slurm.sh").read_text(encoding="utf-8")):
        assert subprocess.run(["bash", "-n"], input=text, text=True, check=False, timeout=10).returncode == 0


def test_pods_find_each_other() -> None:
    """A headless service gives the pods of an indexed job names only if subdomain, selector and meeting point agree."""
    service, job = yaml.safe_load_all((EXAMPLES / "kubernetes.yaml").read_text(encoding="utf-8"))
    pod, name = job["spec"]["template"]["spec"], job["metadata"]["name"]
    assert (service["spec"]["clusterIP"], service["spec"]["selector"]) == ("None", {"job-name": name})
    assert (pod["subdomain"], job["spec"]["completionMode"]) == (service["metadata"]["name"], "Indexed")
    (script,) = pod["containers"][0]["args"]
    assert f"--nnodes {job['spec']['completions']} " in script
    assert f"--rdzv-endpoint {name}-0.{service['metadata']['name']}:" in script
