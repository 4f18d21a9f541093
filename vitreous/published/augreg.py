"""Steiner et al., "How to train your ViT?", TMLR 2022 (AugReg): models, levels, Tables 3 and 4, the release's, VTAB.

Levels and Table 4 are those of recipe/augreg.py. Every score of Table 3 is the best of 28 settings, and which one that
was stands nowhere: commands take the level that the authors' code recommends for the model where it has one.
"""

from __future__ import annotations

from vitreous.architecture import ViTConfig
from vitreous.published import repeat
from vitreous.published.tables import Cell, Column, Repeat, Row, Table, grid
from vitreous.published.vtab import groups
from vitreous.recipe import find_recipe, recipe_names
from vitreous.zoo import find_model

PAPER = "Steiner et al., How to train your ViT?, TMLR 2022 (arXiv 2106.10270)"

# images/s at 224 px | i1k_up, i1k300, i21k30, i21k300 | images/s at 384 px | i1k300, i21k30, i21k300, v2, JFT
_TABLE_3 = """
L/16     | 228 75.72 74.01 82.05 83.98 50 77.21 84.48 85.59 87.08 87.12
B/16     | 659 79.84 78.73 80.42 83.96 138 81.63 83.46 85.49 86.15 84.15
S/16     | 1508 79.00 77.51 76.04 80.46 300 80.70 80.22 83.73 83.15 -
R50+L/32 | 1047 76.84 74.17 80.26 82.74 327 76.71 83.19 85.99 86.21 -
R26+S/32 | 1814 79.61 78.20 77.42 80.81 560 81.55 81.11 83.85 83.80 -
Ti/16    | 3097 72.59 69.56 68.89 73.75 610 74.64 74.20 78.22 77.83 -
B/32     | 3597 74.42 71.38 72.24 79.13 955 76.60 78.65 83.59 83.59 80.73
S/32     | 8342 72.07 69.19 68.49 73.47 2154 75.65 75.74 79.58 80.01 -
R+Ti/16  | 9371 70.13 67.30 65.65 69.69 2426 73.48 71.97 75.40 75.33 -
"""

# ImageNet top-1 at 384 px, images/s
_README = """
L/16     | 85.59 50
B/16     | 85.49 138
S/16     | 83.73 300
R50+L/32 | 85.99 327
R26+S/32 | 83.85 560
Ti/16    | 78.22 610
B/32     | 83.59 955
S/32     | 79.58 2154
R+Ti/16  | 75.40 2426
"""

_VTAB = """
R+Ti/16  | 87.0 90.0 73.6
S/32     | 89.1 89.6 75.7
B/32     | 90.7 90.8 80.2
Ti/16    | 88.2 90.6 75.5
R26+S/32 | 90.9 91.7 78.1
S/16     | 90.5 91.2 77.9
R50+L/32 | 92.3 91.3 78.7
B/16     | 91.8 91.6 79.2
L/16     | 92.2 91.3 80.8
"""

_COLUMNS = (
    Column(name="img/s 224", about="images a second on one V100"),
    Column(name="i1k_up 224", about="ImageNet-1k, 300 epochs, as pre-trained"),
    Column(name="i1k300 224", about="ImageNet-1k, 300 epochs, then fine-tuned"),
    Column(name="i21k30 224", about="ImageNet-21k, 30 epochs, then fine-tuned"),
    Column(name="i21k300 224", about="ImageNet-21k, 300 epochs, then fine-tuned"),
    Column(name="img/s 384", about="images a second on one V100"),
    Column(name="i1k300 384", about="ImageNet-1k, 300 epochs, then fine-tuned"),
    Column(name="i21k30 384", about="ImageNet-21k, 30 epochs, then fine-tuned"),
    Column(name="i21k300 384", about="ImageNet-21k, 300 epochs, then fine-tuned"),
    Column(name="i21k_v2 384", about="the same, the setting chosen on ImageNet-V2"),
    Column(name="JFT 384", about="the ViT paper's, from JFT-300M"),
)
_TABLE_4 = {
    "ImageNet": ("imagenet",),
    "Oxford-IIIT Pets": ("pets-500", "pets-2500"),
    "KITTI distance": ("kitti-500", "kitti-2500"),
    "CIFAR-100": ("cifar100-2500", "cifar100-10000"),
    "Resisc45": ("resisc45-2500", "resisc45-10000"),
    "VTAB": ("vtab-500-224px", "vtab-2500-224px"),
}
_SWEEP = ("--protocol", "augreg")
_ANY = "best of 28 settings: `vitreous recipes augreg-{}` lists them; this is one"
_LEVEL = "best of 28 settings; this is the level that big_vision takes for the model"
_SPEED = "a speed, measured on one V100: nothing here repeats it"
_RELEASED = "starts from the released weights, the best of 28 settings"


def tables() -> tuple[Table, ...]:
    """The models, the levels of augmentation, Tables 3 and 4, the release's own, and means of VTAB's groups."""
    return _models(), _levels(), _table_3(), _table_4(), _readme(), _vtab()


def model_name(row: str) -> str:
    """The zoo's name of a row: `vit-b16` for B/16, `r+vit-ti16` for R+Ti/16.

    Args:
        row: as the paper writes it.
    """
    return find_model(row).name


def _models() -> Table:
    rows = []
    for name in reversed(grid(_TABLE_3)):
        config = find_model(name)
        assert isinstance(config, ViTConfig)
        units = "none" if config.stem is None else "-".join(map(str, config.stem.layers)) or "stem only"
        sizes = (config.depth, config.embed_dim, config.mlp_dim, config.num_heads)
        again = Repeat(commands=(f"vitreous models {config.name}",))
        printed = (*map(str, sizes), units, str(config.stride[0]))
        rows.append(Row(name=name, cells=tuple(Cell(printed=text, repeat=again) for text in printed)))
    return Table(
        name="augreg-models",
        title="Configurations of the nine models",
        source=f"{PAPER}, Tables 1 and 2",
        unit="sizes",
        corner="model",
        columns=(
            *(Column(name=name) for name in ("layers", "hidden size D", "MLP size", "heads")),
            Column(name="ResNet units", about="in each stage before the patches"),
            Column(name="pixels a token", about="from one token to the next"),
        ),
        rows=tuple(rows),
        notes=("The numbers are those of the zoo, whose parameters `vitreous models NAME` counts.",),
    )


def _levels() -> Table:
    rows = []
    for level in ("none", "light1", "light2", "medium1", "medium2", "strong1", "strong2"):
        recipe = find_recipe(f"augreg-i21k-300ep-{level}-wd0.1", "pretrain")
        augment = recipe.augment
        drawn = f"{augment.rand_layers}, {augment.rand_magnitude:g}" if augment.policy != "none" else "none"
        again = Repeat(
            commands=tuple(
                repeat.pretrain(find_recipe(f"augreg-{kind}-{level}-wd0.1", "pretrain"))
                for kind in ("i1k", "i21k-30ep", "i21k-300ep")
            ),
            remark="for any model; with -drop before -wd0.1 also with dropout, with -wd0.03 by the other decay",
            data=repeat.images("ImageNet-1k", "ImageNet-21k"),
            hardware="not stated",
        )
        cells = tuple(Cell(printed=text, repeat=again) for text in (drawn, f"{recipe.mixup:g}"))
        rows.append(Row(name=level, cells=cells))
    return Table(
        name="augreg-levels",
        title="Seven levels of augmentation",
        source=f"{PAPER}, section 3",
        unit="settings",
        corner="level",
        columns=(Column(name="RandAugment", about="operations on an image, magnitude"), Column(name="Mixup alpha")),
        rows=tuple(rows),
        notes=(
            "Each with and without dropout and stochastic depth of 0.1, and with decay 0.1 and 0.03: 28 settings.",
            "Released files count from another start: their light0 is light1 here, their light1 is light2.",
        ),
    )


def _table_4() -> Table:
    rows = []
    for name, shorts in _TABLE_4.items():
        recipes = [find_recipe(f"augreg-finetune-{short}", "finetune") for short in shorts]
        lengths = ", ".join(f"{recipe.steps:,} ({recipe.warmup_steps})" for recipe in recipes)
        again = Repeat(
            commands=tuple(repeat.finetune(recipe, recipe.model, more=("--sweep",)) for recipe in recipes)
            if name != "VTAB"
            else (repeat.vtab(recipes[0].model, more=_SWEEP),),
            data=repeat.images(recipes[0].data),
            hardware="not stated",
        )
        shown = (lengths, ", ".join(f"{rate:g}" for rate in recipes[0].sweep))
        rows.append(Row(name=name, cells=tuple(Cell(printed=text, repeat=again) for text in shown)))
    return Table(
        name="augreg-table4",
        title="Hyper-parameters of fine-tuning",
        source=f"{PAPER}, Table 4",
        unit="settings",
        corner="task",
        columns=(Column(name="steps (warm-up)"), Column(name="base rates")),
        rows=tuple(rows),
        notes=("SGD with momentum 0.9, batch 512, cosine, clipping at norm 1, at 224 and 384 px (VTAB: 224).",),
    )


def _table_3() -> Table:
    rows = []
    for name, found in grid(_TABLE_3).items():
        pairs = zip(found, _COLUMNS, strict=True)
        cells = (cell and Cell(printed=cell.printed, repeat=_repeat(name, column.name)) for cell, column in pairs)
        rows.append(Row(name=name, cells=tuple(cells)))
    return Table(
        name="augreg-table3",
        title="ImageNet after AugReg pre-training: accuracy and speed",
        source=f"{PAPER}, Table 3",
        unit="% ImageNet top-1, and images/s",
        corner="model",
        columns=_COLUMNS,
        rows=tuple(rows),
        notes=(
            "Each score is the best of 28 settings of augmentation, dropout and weight decay.",
            "ImageNet-21k holds some of ImageNet's training images, hence the column chosen on ImageNet-V2.",
        ),
    )


def _repeat(row: str, column: str) -> Repeat:
    model, (data, pixels) = model_name(row), column.split()
    if data == "img/s":
        return repeat.none(_SPEED, hardware="one V100")
    if data == "JFT":
        return repeat.none("`vitreous paper vit-table6` has it, with its commands", data=repeat.images("JFT-300M"))
    if data == "i21k_v2":
        return repeat.none("which of the 28 settings it was is not published", data=repeat.images("ImageNet-21k"))
    tune = find_recipe("augreg-finetune-imagenet" + ("-224px" if pixels == "224" else ""), "finetune")
    if data == "i21k300":
        line = repeat.finetune(tune, f"{model}.google_augreg_in21k")
        return Repeat(commands=(line,), remark=_RELEASED, data=repeat.images("ImageNet-1k"))
    kind = "i21k" if data == "i21k30" else "i1k"
    level = f"augreg-i1k-{model}" if kind == "i1k" else ""
    known = level in recipe_names("pretrain")
    recipe = find_recipe(
        level if known else f"augreg-{'i21k-30ep' if kind == 'i21k' else 'i1k'}-light2-wd0.1", "pretrain"
    )
    run = repeat.run_folder(recipe.name) + ("" if model in recipe.name else f"-{model}")
    lines = [repeat.pretrain(recipe, model=model, run=run)]
    lines += [] if data == "i1k_up" else [repeat.finetune(tune, run)]
    needs = repeat.images(recipe.data, "ImageNet-1k")
    return Repeat(
        commands=tuple(lines), remark=_LEVEL if known else _ANY.format(kind), data=needs, hardware="not stated"
    )


def _readme() -> Table:
    rows = []
    for name, found in grid(_README).items():
        line = repeat.evaluate(f"{model_name(name)}-384.google_augreg_in21k_ft_in1k", "imagenet-1k/")
        score = Repeat(commands=(line,), data=repeat.images("ImageNet-1k"), remark="scores the released weights")
        pair = zip(found, (score, repeat.none(_SPEED, hardware="one V100")), strict=True)
        rows.append(
            Row(name=name, cells=tuple(cell and Cell(printed=cell.printed, repeat=again) for cell, again in pair))
        )
    return Table(
        name="augreg-readme",
        title="The recommended AugReg weights",
        source="google-research/vision_transformer, README.md",
        unit="% ImageNet top-1 at 384 px, and images/s on one V100",
        corner="model",
        columns=(Column(name="ImageNet"), Column(name="img/s 384", about="images a second on one V100")),
        rows=tuple(rows),
        notes=("Pre-trained on ImageNet-21k for 300 epochs, then fine-tuned on ImageNet.",),
    )


def _vtab() -> Table:
    rows = []
    for name, found in grid(_VTAB).items():
        again = Repeat(
            commands=(repeat.vtab(f"{model_name(name)}.google_augreg_in21k", more=_SWEEP),),
            data="VTAB-1k",
            hardware="not stated",
        )
        rows.append(Row(name=name, cells=tuple(cell and Cell(printed=cell.printed, repeat=again) for cell in found)))
    return Table(
        name="augreg-vtab",
        title="VTAB by groups after AugReg on ImageNet-21k",
        source=f"{PAPER}, its table of VTAB scores, ImageNet-21k for 300 epochs",
        unit="% top-1",
        corner="model",
        columns=tuple(Column(name=group) for group in groups()),
        rows=tuple(rows),
        notes=(
            "The best setting for each task: not to be compared with the ViT paper's Table 9, which has one for all.",
        ),
    )
