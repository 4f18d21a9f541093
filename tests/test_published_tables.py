"""Published tables hold together: means are those of their tasks, tables agree with each other and with the recipes."""

from __future__ import annotations

import functools
import re
import shlex
import statistics
from pathlib import Path

import pytest
from paper_page import PAGE, page

from vitreous.cli.flags import flags_of, parse
from vitreous.cli.menu import VERBS
from vitreous.cli.session import verb_class
from vitreous.cost import parameters
from vitreous.cost.budget import as_trained, budget
from vitreous.cost.hardware import PAPER_RUNS
from vitreous.data.layouts.imagenet.catalogue import find_variant
from vitreous.errors import UnknownNameError
from vitreous.pretrained import is_pretrained_name
from vitreous.published import measured as ours
from vitreous.published.find import find_table, published_tables
from vitreous.published.tables import Table
from vitreous.published.vtab import TASKS
from vitreous.published.vtab_results import BIT_RERUNS, TABLE_9, leaderboard
from vitreous.recipe import find_recipe, recipe_names
from vitreous.study.paper import training_flops
from vitreous.zoo import find_model, is_model_name

COMMANDS = sorted({line for table in published_tables() for *_, cell in table.cells() for line in cell.repeat.commands})


def test_vtab_means_are_those_of_the_tasks() -> None:
    """The score is the mean of 19, as Table 2 prints it up to rounding; the groups are 7, 4 and 8 tasks."""
    assert [77.632, 76.289, 72.711] == [round(result.mean or 0, 3) for result in TABLE_9]
    for result in TABLE_9:
        assert result.printed_mean == pytest.approx(result.mean, abs=0.011)
    groups = [list(result.groups.values()) for result in TABLE_9]
    assert groups[0] == pytest.approx([86.69, 87.00, 65.03], abs=0.006)
    assert groups[1] == pytest.approx([85.56, 86.725, 62.96], abs=0.006)
    assert groups[2] == pytest.approx([83.27, 84.65, 57.50], abs=0.006)


def test_bit_weighs_groups_by_their_tasks() -> None:
    """The README's full score is (7 natural + 4 specialized + 8 structured) / 19."""
    for result in BIT_RERUNS:
        natural, specialized, structured = (result.groups[name] for name in ("Natural", "Specialized", "Structured"))
        assert result.mean == pytest.approx((7 * natural + 4 * specialized + 8 * structured) / 19, abs=0.01)


def test_the_leaderboard_has_sixteen_methods_and_its_own_means() -> None:
    found = {protocol: {result.name: result for result in leaderboard(protocol)} for protocol in ("1k", "full")}
    assert all(16 == len(results) for results in found.values())
    assert all({task.name for task in TASKS} == set(r.scores) for results in found.values() for r in results.values())
    means = [found["1k"][name].mean for name in ("Sup-100%", "Sup-Rotation-100%", "Rotation", "From-Scratch")]
    assert [66.4, 68.0, 60.4, 43.1] == [round(mean or 0, 1) for mean in means]
    assert [73.5, 82.5, 52.1] == [round(mean, 1) for mean in found["1k"]["Sup-100%"].groups.values()]
    assert [73.6, 83.1, 55.5] == [round(mean, 1) for mean in found["1k"]["Sup-Rotation-100%"].groups.values()]
    assert [27.9, 68.9, 43.6] == [round(mean, 1) for mean in found["1k"]["From-Scratch"].groups.values()]
    full = [found["full"][name].mean for name in ("Sup-100%", "Sup-Rotation-100%", "From-Scratch")]
    assert [89.7, 90.2, 75.4] == [round(mean or 0, 1) for mean in full]


def test_every_command_parses() -> None:
    """With the command's own parser: one of each shape, for names, folders and runs are any word to it."""
    shapes = {
        re.sub(r"(?<=--model |.recipe )\S+|(?<=--run )\S+|(?<=^vitreous )(\w+) \S+", r"\1 X", line): line
        for line in COMMANDS
    }
    assert 15 < len(shapes) < 60
    for line in shapes.values():
        program, verb, *words = shlex.split(line)
        assert program == "vitreous"
        parse(verb_class(VERBS[verb]), words, name=f"vitreous {verb}", example=VERBS[verb].example)


def test_every_name_in_a_command_is_known() -> None:
    """Recipes for the verb, models of the zoo to train and published ones to start from, data sets by name."""
    published, zoo = functools.cache(is_pretrained_name), functools.cache(is_model_name)
    for line in COMMANDS:
        _, verb, *words = shlex.split(line)
        if recipe := re.search(r"--recipe (\S+)", line):
            assert recipe[1] in recipe_names(None if verb == "cost" else verb), line
        named = words[:1] if verb in ("evaluate", "vtab", "probe", "models", "cost") else []
        for model in [*named, *re.findall(r"--model (\S+)", line)]:
            if model.startswith("runs/"):
                assert "--fetch" not in words, line
            elif verb in ("pretrain", "cost", "models"):
                assert zoo(model), line
            else:
                assert published(model), line
                assert "--fetch" in words, line
        if verb == "evaluate" and not words[1].endswith("/"):
            assert find_variant(words[1]).name == words[1]


def test_runs_are_made_before_they_are_used() -> None:
    """A cell's commands, typed in their order, find every run folder that they name."""
    for table in published_tables():
        for row, column, cell in table.cells():
            made: set[str] = set()
            for line in cell.repeat.commands:
                here = re.findall(r"--run (\S+)", line)
                used = set(re.findall(r"(?<!--run )(runs/\S+)", line)) - set(here)
                assert used <= made, f"{table.name}: {row.name}, {column.name}"
                made |= set(here)


def test_a_cell_without_commands_says_why() -> None:
    silent = [
        t.name for t in published_tables() for *_, c in t.cells() if not c.repeat.commands and not c.repeat.remark
    ]
    assert silent == []


@pytest.mark.parametrize("name", [name for name in recipe_names("pretrain") if re.match("paper-(jft|imagenet)", name)])
def test_recipes_of_pretraining_expect_what_the_tables_print(name: str) -> None:
    recipe = find_recipe(name, "pretrain")
    if recipe.expected == "not stated":
        return
    if recipe.data == "JFT-300M":
        row = row_of_table_6(recipe.model, int(recipe.epochs or 0))
        printed, count = (find_table("vit-table6").find(row, column)[2] for column in ("ImageNet", "exaFLOPs"))
        assert count is not None
        assert count.value is not None
        assert f" {count.value:,.0f} exaFLOPs" in recipe.hardware
    else:
        data = recipe.data.removesuffix("-1k")
        printed = find_table("vit-table5").find(f"{data}: ImageNet", spelled(recipe.model))[2]
    assert printed is not None
    assert recipe.expected.startswith(f"{printed.printed} %")


@pytest.mark.parametrize(
    ("recipe", "task"),
    [
        ("imagenet", "ImageNet"),
        ("cifar10", "CIFAR-10"),
        ("cifar100", "CIFAR-100"),
        ("pets", "Oxford-IIIT Pets"),
        ("flowers", "Oxford Flowers-102"),
    ],
)
def test_recipes_of_fine_tuning_expect_what_table_5_prints(recipe: str, task: str) -> None:
    value = find_table("vit-table5").value(f"ImageNet-21k: {task}", "ViT-B/16")
    assert f"{value:.2f} %" in find_recipe(f"paper-finetune-{recipe}", "finetune").expected


def test_the_headline_recipes_expect_what_table_2_prints() -> None:
    table = find_table("vit-table2")
    large = find_recipe("paper-finetune-imagenet-512", "finetune").expected
    assert f"{table.value('ImageNet', 'ViT-L/16 I21k'):.2f} %" in large
    assert f"{table.value('ImageNet', 'ViT-L/16 JFT'):.2f} %" in large
    huge = find_recipe("paper-finetune-imagenet-518", "finetune").expected
    assert f"{table.value('ImageNet', 'ViT-H/14 JFT'):.2f} %" in huge
    vtab = find_recipe("paper-finetune-vtab", "finetune").expected
    assert all(f"{table.value('VTAB (19', c):.2f} %" in vtab for c in ("ViT-L/16 I21k", "ViT-H/14 JFT"))


@pytest.mark.parametrize(
    "name", [name for name in recipe_names("pretrain") if re.match("augreg-i(1|21)k-(vit|r)", name)]
)
def test_augregs_recipes_expect_what_its_table_3_prints(name: str) -> None:
    recipe = find_recipe(name, "pretrain")
    row = spelled(recipe.model).removeprefix("ViT-")
    column = "i1k300 384" if recipe.data == "ImageNet-1k" else "i21k300 384"
    assert recipe.expected.startswith(f"{find_table('augreg-table3').value(row, column):.2f} %")


def test_table_2_has_the_core_days_that_costs_are_held_against() -> None:
    columns = {"vit-h14": "ViT-H/14 JFT", "vit-l16": "ViT-L/16 JFT", "bit-r152x4": "BiT-L R152x4"}
    for run in PAPER_RUNS:
        column = "ViT-L/16 I21k" if run.data == "imagenet-21k" else columns[run.model]
        assert run.core_days == find_table("vit-table2").value("TPUv3-core-days", column)


def test_table_7_repeats_table_6_and_averages_its_tasks() -> None:
    """Adam's columns are rows of Table 6, and the last row is the mean of the five above."""
    table = find_table("vit-table7")
    for column in table.columns:
        scores = [table.value(row.name, column.name) for row in table.rows]
        assert scores[-1] == pytest.approx(statistics.fmean(scores[:-1]), abs=0.011)
        model, optimizer = column.name.split()
        if optimizer == "Adam":
            row = next(
                row for row in find_table("vit-table6").rows if row.name == f"{model.replace('50', '50x1')}, 7 epochs"
            )
            values = [cell.value for cell in row.cells if cell]
            assert [values[0], *values[2:6]] == scores[:-1]


def test_table_1_is_the_zoos() -> None:
    """Its own numbers, and printed counts within 1.5 % of counted parameters."""
    table = find_table("vit-table1")
    shapes = {"ViT-Base": (12, 768, 3072, 12), "ViT-Large": (24, 1024, 4096, 16), "ViT-Huge": (32, 1280, 5120, 16)}
    for row, model in zip(table.rows, ("vit-b16", "vit-l16", "vit-h14"), strict=True):
        *shape, count = (table.value(row.name, column.name) for column in table.columns)
        assert shapes[row.name] == tuple(shape)
        assert count == pytest.approx(parameters(find_model(model)), rel=0.015)


@pytest.mark.parametrize(
    ("row", "millions"),
    [
        ("Ti/16", 5.8),
        ("S/16", 22.2),
        ("B/16", 86),
        ("L/16", 307),
        ("R+Ti/16", 6.4),
        ("R26+S/32", 36.6),
        ("R50+L/32", 330),
    ],
)
def test_augregs_models_have_the_parameters_that_are_reported(row: str, millions: float) -> None:
    """Within 1.5 %: counts differ by whose head is counted."""
    assert find_table("augreg-models").find(row, "layers")
    assert parameters(find_model(row)) == pytest.approx(1e6 * millions, rel=0.015)


def test_table_9_and_table_2_are_of_the_same_models() -> None:
    nine, two = find_table("vit-table9"), find_table("vit-table2")
    for column in nine.columns:
        scores = [nine.value(task.title, column.name) for task in TASKS]
        assert nine.value("mean of 19", column.name) == pytest.approx(statistics.fmean(scores), abs=0.051)
        assert two.value("VTAB (19 tasks)", column.name) == pytest.approx(statistics.fmean(scores), abs=0.011)


def test_augregs_release_is_its_table_3() -> None:
    release, table = find_table("augreg-readme"), find_table("augreg-table3")
    assert [row.name for row in release.rows] == [row.name for row in table.rows]
    for row in release.rows:
        assert release.value(row.name, "ImageNet") == table.value(row.name, "i21k300 384")
        assert release.value(row.name, "img/s 384") == table.value(row.name, "img/s 384")


def test_operations_of_the_commands_are_the_papers() -> None:
    """Pre-training on JFT-300M, counted from the commands of Table 6, comes within 6 % of its printed exaFLOPs."""
    counted = 0
    for row in find_table("vit-table6").rows:
        again = row.cells[0].repeat if row.cells[0] else None
        if again is None or not again.commands:
            continue
        work = training_flops(again.commands[:1])
        assert work is not None
        assert again.exaflops is not None
        assert work / 1e18 == pytest.approx(again.exaflops, rel=0.06), row.name
        counted += 1
    assert 17 == counted


def test_near_names_are_suggested() -> None:
    assert find_table("ViT_Table 2").name == "vit-table2"
    with pytest.raises(UnknownNameError, match="did you mean vit-table2"):
        find_table("vit-tabel2")
    table = find_table("vit-table2")
    assert table.find("imagenet r", "l/16 i21k")[2] == table.find("ImageNet ReaL", "ViT-L/16 I21k")[2]
    with pytest.raises(UnknownNameError, match="did you mean CIFAR-10"):
        table.find("CIFAR-11", "ViT-H/14 JFT")
    with pytest.raises(UnknownNameError, match="no column of vit-table2 called 'ViT'"):
        table.find("CIFAR-10", "ViT")


def test_cells_keep_what_is_printed() -> None:
    """Value and spread come from the printed text; words have neither."""
    table = find_table("vit-table2")
    cell = table.find("CIFAR-10", "ViT-H/14 JFT")[2]
    assert cell is not None
    assert ("99.50 ± 0.06", 99.5, 0.06) == (cell.printed, cell.value, cell.spread)
    words = table.find("ImageNet", "Noisy Student EffNet-L2")[2]
    assert words is not None
    assert words.value is words.spread is None
    assert 9900 == table.value("TPUv3-core-days", "BiT-L R152x4")


def test_measured_values_have_their_cell() -> None:
    """What was measured here stands beside a published number, in its unit, with a command that parses."""
    for one in ours.measured():
        row, column, cell = find_table(one.table).find(one.row, one.column)
        assert (one.row, one.column) == (row.name, column.name)
        assert cell is not None
        assert one.what
        if one.command:
            _, verb, *words = shlex.split(one.command)
            parse(verb_class(VERBS[verb]), words, name=verb, example="")


def test_without_the_file_nothing_was_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.resources.files", lambda _: tmp_path)
    ours.measured.cache_clear()
    try:
        assert () == ours.measured()
    finally:
        ours.measured.cache_clear()


def test_vtab_trains_each_task_as_often_as_is_counted() -> None:
    """The operations of `vitreous vtab` are those of its default number of seeds."""
    (seeds,) = (flag.default for flag in flags_of(verb_class(VERBS["vtab"])) if flag.name == "seeds")
    one = training_flops(("vitreous vtab vit-b16.google_in21k --root vtab/ --fetch",))
    tuned = training_flops(
        ("vitreous finetune vtab-1k/ --model vit-b16.google_in21k --recipe paper-finetune-vtab --fetch",)
    )
    assert one == 19 * seeds * (tuned or 0)


def test_a_sweep_counts_every_rate_and_the_run_that_follows() -> None:
    line = "vitreous finetune cifar-10/ --model vit-b16.google_in21k --recipe paper-finetune-cifar10"
    once, swept = training_flops((f"{line} --fetch",)), training_flops((f"{line} --sweep --fetch",))
    assert swept == (1 + 4) * (once or 0)


def test_bits_rule_is_counted_as_it_stands_for_imagenet() -> None:
    """20,000 steps of 512 images, not the 500 of a small data set."""
    _, _, cell = next(find_table("bit-imagenet").cells())
    (line,) = cell.repeat.commands
    rule = find_recipe("bit-hyperrule", "finetune")
    small = budget(as_trained(find_model("resnet-r50x1"), rule, 1000), rule, 0)
    assert 20_000 * 512 == 40 * small.seen
    assert training_flops((line,)) == pytest.approx(40 * small.flops, rel=0.01)


def test_probes_are_named_as_the_verb_names_them() -> None:
    """A method is a bare word: no comma of a column's name is left on it."""
    methods = {word for line in COMMANDS for word in re.findall(r"--only (\S+)", line) if " probe " in line}
    assert methods == {"fewshot", "knn", "linear"}


def test_the_page_is_what_the_tables_say() -> None:
    """`python tests/paper_page.py` writes it."""
    assert page() == PAGE.read_text(encoding="utf-8")


def test_the_tables_are_all_of_both_papers() -> None:
    names = [table.name for table in published_tables()]
    assert [f"vit-table{number}" for number in range(1, 10)] == names[:9]
    assert {"augreg-models", "augreg-table3", "augreg-table4", "augreg-vtab", "augreg-readme", "augreg-levels"} <= set(
        names
    )
    assert len(names) == len(set(names))
    counts = {
        name: sum(1 for _ in find_table(name).cells()) for name in ("vit-table5", "vit-table6", "vtab-leaderboard")
    }
    assert {"vit-table5": 84, "vit-table6": 126, "vtab-leaderboard": 16 * 20} == counts


def spelled(model: str) -> str:
    """The paper's spelling of a zoo name: ViT-B/16."""
    size, patch = re.fullmatch(r"vit-([a-z]+)(\d+)", model).groups()  # type: ignore[union-attr]
    return f"ViT-{size.capitalize()}/{patch}"


def row_of_table_6(model: str, epochs: int) -> str:
    table: Table = find_table("vit-table6")
    (row,) = (
        row.name
        for row in table.rows
        if find_model(row.name.split(",")[0]).name == model and row.name.endswith(f" {epochs} epochs")
    )
    return row
