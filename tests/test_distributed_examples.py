"""The examples for clusters are well-formed and give vitreous flags that exist."""

from __future__ import annotations

import re
import shlex
import subprocess
from pathlib import Path

import pytest
import yaml

from vitreous.cli.flags import parse
from vitreous.cli.menu import VERBS
from vitreous.cli.session import verb_class
from vitreous.recipe import find_recipe

EXAMPLES = Path(__file__).parent.parent / "examples"


def commands(text: str) -> list[list[str]]:
    """Every verb of vitreous with its words: in shell arrays, and behind `-m vitreous`."""
    joined = text.replace("\\\n", " ").replace("$RUN", "runs/x").replace("$DATA", "photos/")
    found = re.findall(r"WORDS=\((.+)\)", joined) + re.findall(r"-m vitreous ([a-z].*)", joined)
    return [shlex.split(words) for words in found]


@pytest.mark.parametrize(("name", "count"), [("slurm.sh", 2), ("kubernetes.yaml", 2), ("README.md", 3)])
def test_examples_name_verbs_flags_and_recipes_that_exist(name: str, count: int) -> None:
    found = commands((EXAMPLES / name).read_text(encoding="utf-8"))
    assert len(found) == count
    for verb, *words in found:
        parse(verb_class(VERBS[verb]), words, name=verb, example="")
        if "--recipe" in words:
            find_recipe(words[words.index("--recipe") + 1])


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
