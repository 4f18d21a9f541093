"""Dosovitskiy et al., "An Image is Worth 16x16 Words", ICLR 2021: Tables 1 to 9, as printed.

Table 1 is made of the zoo's architectures, Tables 3 and 4 of the recipes, and Table 9 of `vtab_results`; the numbers of
the other tables lie in `vit_numbers`, and what repeats them in `vit_repeat`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable

from vitreous.architecture import ViTConfig
from vitreous.published import repeat
from vitreous.published.tables import Cell, Column, Repeat, Row, Table, grid
from vitreous.published.vit_numbers import TABLE_1, TABLE_2, TABLE_5, TABLE_6, TABLE_7, TABLE_8
from vitreous.published.vit_repeat import (
    TASKS,
    Start,
    begin,
    chain,
    counting,
    jft_recipe,
    model_and_epochs,
    transfer,
    vtab,
)
from vitreous.published.vtab import TASKS as VTAB_TASKS
from vitreous.published.vtab_results import TABLE_9
from vitreous.recipe import find_recipe
from vitreous.zoo import find_model

PAPER = "Dosovitskiy et al., An Image is Worth 16x16 Words, ICLR 2021 (arXiv 2010.11929)"

# Table 3: what a row is called, and the recipes it stands for, those of the shorter runs among them.
_TABLE_3 = (
    ("ViT-B/{16,32}", "jft300m", ("vit-b16", "vit-b32")),
    ("ViT-L/32", "jft300m", ("vit-l32",)),
    ("ViT-L/16", "jft300m", ("vit-l16-7ep", "vit-l16")),
    ("ViT-H/14", "jft300m", ("vit-h14",)),
    ("R50x{1,2}", "jft300m", ("resnet-r50x1", "resnet-r50x2")),
    ("R101x1", "jft300m", ("resnet-r101x1",)),
    ("R152x{1,2}", "jft300m", ("resnet-r152x1", "resnet-r152x2")),
    ("R50+ViT-B/{16,32}", "jft300m", ("r50+vit-b16", "r50+vit-b32")),
    ("R50+ViT-L/32", "jft300m", ("r50+vit-l32",)),
    ("R50+ViT-L/16", "jft300m", ("r50+vit-l16-7ep", "r50+vit-l16")),
    ("ViT-B/{16,32}", "imagenet21k", ("vit-b16", "vit-b32")),
    ("ViT-L/{16,32}", "imagenet21k", ("vit-l16-30ep", "vit-l32-30ep", "vit-l16", "vit-l32")),
    ("ViT-*", "imagenet", ("vit-b16", "vit-b32", "vit-l16", "vit-l32")),
)

_DATA = {"jft300m": "JFT-300M", "imagenet21k": "ImageNet-21k", "imagenet": "ImageNet-1k"}
_HEADLINE = (("JFT-300M", "vit-h14"), ("JFT-300M", "vit-l16"), ("ImageNet-21k", "vit-l16"))
_NO_RATE = "Table 3 has no row for this model, so its learning rate is not known"
_NO_SGD = "in miniature, on built-in images; the paper tells rates for Adam alone, so there is no recipe for SGD"


def tables() -> tuple[Table, ...]:
    """All nine tables of the paper."""
    return (_table_1(), _table_2(), _table_3(), _table_4(), _table_5(), _table_6(), _table_7(), _table_8(), _table_9())


def _table_1() -> Table:
    rows = []
    for name, (model, printed) in TABLE_1.items():
        config = find_model(model)
        assert isinstance(config, ViTConfig)
        shown = [str(number) for number in (config.depth, config.embed_dim, config.mlp_dim, config.num_heads)]
        again = Repeat(commands=(f"vitreous models {model}",))
        rows.append(Row(name=name, cells=tuple(Cell(printed=text, repeat=again) for text in (*shown, printed))))
    return Table(
        name="vit-table1",
        title="Vision Transformer variants",
        source=f"{PAPER}, Table 1",
        unit="sizes",
        corner="model",
        columns=_columns("layers", "hidden size D", "MLP size", "heads", "parameters"),
        rows=tuple(rows),
        notes=("The first four columns are those of the zoo; parameters stand as printed.",),
    )


def _table_2() -> Table:
    starts = [begin(data, model) for data, model in _HEADLINE]
    columns = _columns("ViT-H/14 JFT", "ViT-L/16 JFT", "ViT-L/16 I21k", "BiT-L R152x4", "Noisy Student EffNet-L2")
    strangers = (
        repeat.none("BiT-L's weights and its JFT-300M were never released", data="JFT-300M", core_days=9900),
        repeat.none("EfficientNets are not built here", data="JFT-300M, unlabelled", core_days=12300),
    )
    rows = []
    for task, found in grid(TABLE_2).items():
        again = (*(_table_2_repeat(start, task) for start in starts), *strangers)
        rows.append(_with(task, found, again))
    return Table(
        name="vit-table2",
        title="Comparison with the state of the art",
        source=f"{PAPER}, Table 2",
        unit="% top-1, mean ± standard deviation of three fine-tunings",
        corner="task",
        columns=columns,
        rows=tuple(rows),
        notes=(
            "ImageNet at 512 px (L/16) and 518 px (H/14), with averaged weights; * 88.5 is Touvron et al., 2020.",
            "Three fine-tunings: the same commands with --seed 1 and --seed 2, each with a --run of its own.",
            "On ObjectNet ViT-H/14 (JFT) reaches 82.1 % top-5 and 61.7 % top-1 (its appendix).",
        ),
    )


def _table_2_repeat(start: Start, task: str) -> Repeat:
    if task.startswith("TPUv3"):
        return counting(start)
    if task.startswith("VTAB"):
        return vtab(start)
    return transfer(start, task, higher=True)


def _table_3() -> Table:
    rows = []
    for label, short, models in _TABLE_3:
        recipes = [find_recipe(f"paper-{short}-{model}", "pretrain") for model in models]
        lengths = sorted({int(recipe.epochs or 0) for recipe in recipes})
        (numbers,) = {(r.learning_rate, r.schedule, r.weight_decay, r.dropout or 0.0) for r in recipes}
        rate, schedule, decay, dropout = numbers
        shown = ("/".join(map(str, lengths)), _rate(rate), schedule, f"{decay:g}", f"{dropout:.1f}")
        again = Repeat(
            commands=tuple(repeat.pretrain(recipe) for recipe in recipes),
            data=repeat.images(_DATA[short]),
            hardware="TPUv3",
        )
        name = f"{label}, {_DATA[short].removesuffix('-1k')}"
        rows.append(Row(name=name, cells=tuple(Cell(printed=text, repeat=again) for text in shown)))
    return Table(
        name="vit-table3",
        title="Hyper-parameters of pre-training",
        source=f"{PAPER}, Table 3",
        unit="settings",
        corner="models, data",
        columns=_columns("epochs", "base rate", "rate decay", "weight decay", "dropout"),
        rows=tuple(rows),
        notes=(
            "Batch 4096, 10,000 steps of warm-up, 224 px; on ImageNet gradients are clipped at norm 1.",
            "`vitreous recipes paper-pretrain` lists these recipes one by one.",
        ),
    )


def _table_4() -> Table:
    order = ("imagenet", "cifar100", "cifar10", "pets", "flowers", "vtab")
    rows = []
    for short in order:
        recipe = find_recipe(f"paper-finetune-{short}", "finetune")
        again = Repeat(
            commands=(
                repeat.vtab(recipe.model)
                if short == "vtab"
                else repeat.finetune(recipe, recipe.model, more=("--sweep",)),
            ),
            data=repeat.images(recipe.data),
            hardware="TPUv3",
        )
        rates = ", ".join(f"{rate:g}" for rate in recipe.sweep or (recipe.learning_rate,))
        name = {"imagenet": "ImageNet", "vtab": "VTAB (19 tasks)"}.get(short, recipe.data)
        shown = (f"{recipe.steps:,}", rates)
        rows.append(Row(name=name, cells=tuple(Cell(printed=text, repeat=again) for text in shown)))
    return Table(
        name="vit-table4",
        title="Hyper-parameters of fine-tuning",
        source=f"{PAPER}, Table 4",
        unit="settings",
        corner="task",
        columns=_columns("steps", "base rates"),
        rows=tuple(rows),
        notes=(
            "SGD with momentum 0.9, batch 512, cosine, clipping at norm 1, 384 px.",
            "`vitreous recipes paper-finetune` lists these recipes one by one.",
        ),
    )


def _table_5() -> Table:
    models = ("ViT-B/16", "ViT-B/32", "ViT-L/16", "ViT-L/32", "ViT-H/14")
    rows = []
    for name, found in grid(TABLE_5).items():
        data, _, task = name.partition(": ")
        again = [
            Repeat() if cell is None else transfer(begin(data, find_model(model).name), task)
            for model, cell in zip(models, found, strict=True)
        ]
        rows.append(_with(name, found, again))
    return Table(
        name="vit-table5",
        title="Transfer after pre-training on more and more images",
        source=f"{PAPER}, Table 5",
        unit="% top-1 at 384 px",
        corner="pre-training: task",
        columns=_columns(*models),
        rows=tuple(rows),
        notes=("ImageNet is 1.3 million images, ImageNet-21k 14 million, JFT-300M 303 million.",),
    )


def _table_6() -> Table:
    tasks = ("ImageNet", "ImageNet ReaL", "CIFAR-10", "CIFAR-100", "Oxford-IIIT Pets", "Oxford Flowers-102")
    columns = (
        *_columns("ImageNet", "ReaL", "CIFAR-10", "CIFAR-100", "Pets", "Flowers"),
        Column(name="exaFLOPs", about="10^18 operations of pre-training"),
    )
    rows = []
    for name, found in grid(TABLE_6).items():
        model, epochs = model_and_epochs(name)
        if jft_recipe(model, epochs) is None:
            again = [repeat.none(_NO_RATE, data=repeat.images("JFT-300M"), hardware="TPUv3")] * len(columns)
        else:
            start = begin("JFT-300M", model, epochs)
            again = [*(transfer(start, task) for task in tasks), counting(start)]
        rows.append(_with(name, found, again))
    return Table(
        name="vit-table6",
        title="Scaling on JFT-300M: transfer and pre-training compute",
        source=f"{PAPER}, Table 6",
        unit="% top-1, and exaFLOPs",
        corner="model, pre-training",
        columns=columns,
        rows=tuple(rows),
        notes=("ViT-H/14 reads 88.04 % in Table 5 and 88.08 % here: both as printed.",),
    )


def _table_7() -> Table:
    models = ("resnet-r50x1", "resnet-r152x2")
    rows = []
    for task, found in grid(TABLE_7).items():
        again: list[Repeat] = []
        small = Repeat(commands=(repeat.miniature("optimizers"),), remark=_NO_SGD, data="built-in images")
        for model in models:
            start = begin("JFT-300M", model, 7)
            all_of_them = [line for one in TASKS for line in transfer(start, one).commands]
            mean = chain(start, all_of_them, "ImageNet-1k", *list(TASKS)[1:])
            again += [transfer(start, task) if task in TASKS else mean, small]
        rows.append(_with(task, found, again))
    return Table(
        name="vit-table7",
        title="ResNets pre-trained with Adam and with SGD",
        source=f"{PAPER}, Table 7",
        unit="% top-1",
        corner="task",
        columns=_columns("ResNet50 Adam", "ResNet50 SGD", "ResNet152x2 Adam", "ResNet152x2 SGD"),
        rows=tuple(rows),
    )


def _table_8() -> Table:
    recipe = find_recipe("paper-jft300m-vit-b16", "pretrain")
    data = repeat.images("JFT-300M", "ImageNet-1k")
    usual = Repeat(
        commands=(repeat.pretrain(recipe), repeat.few_shot(repeat.run_folder(recipe.name), "imagenet-1k/", 5)),
        data=data,
        hardware="TPUv3",
    )
    other = Repeat(
        commands=(repeat.miniature("positions"),),
        remark="in miniature, on built-in images; at full size only in Python, by ViTConfig(position=...)",
        data="built-in images",
    )
    rows = [
        _with(name, found, [usual if (name, place) == ("1-D", 0) else other for place in range(3)])
        for name, found in grid(TABLE_8).items()
    ]
    return Table(
        name="vit-table8",
        title="Position embeddings of ViT-B/16",
        source=f"{PAPER}, Table 8",
        unit="share of ImageNet named rightly by a 5-shot linear model on frozen features",
        corner="position",
        columns=(
            Column(name="stem", about="added once, to the patch embeddings"),
            Column(name="every layer", about="each block adds its own"),
            Column(name="every layer, shared", about="each block adds the same"),
        ),
        rows=tuple(rows),
        notes=("1-D is the Vision Transformer as it is published; 2-D joins a table of rows and a table of columns.",),
    )


def _table_9() -> Table:
    again = [vtab(begin(data, model)) for data, model in _HEADLINE]
    rows = []
    for task in VTAB_TASKS:
        found = [Cell(printed=f"{result.scores[task.name]:.1f}") for result in TABLE_9]
        rows.append(_with(task.title, found, again))
    means = [Cell(printed=f"{result.mean:.1f}") for result in TABLE_9]
    return Table(
        name="vit-table9",
        title="VTAB-1k, task by task",
        source=f"{PAPER}, Table 9",
        unit="% top-1, trained on 1000 images a task",
        corner="task",
        columns=_columns(*(result.name for result in TABLE_9)),
        rows=(*rows, _with("mean of 19", means, again)),
        notes=(
            "The VTAB score is the mean over the 19 tasks, not over the three groups.",
            "`vitreous paper vtab-groups` has the means of the groups.",
        ),
    )


def _with(name: str, found: Iterable[Cell | None], again: Iterable[Repeat]) -> Row:
    """A row whose cells know what repeats them."""
    pairs = zip(found, again, strict=True)
    return Row(name=name, cells=tuple(cell and dataclasses.replace(cell, repeat=each) for cell, each in pairs))


def _columns(*names: str) -> tuple[Column, ...]:
    return tuple(Column(name=name) for name in names)


def _rate(rate: float) -> str:
    """A learning rate as the paper prints it: 8e-4, and 0.003 as 3e-3."""
    digits, power = f"{rate:.0e}".split("e")
    return f"{digits}e{int(power)}"
