"""What others published for models that are built here: the release's own runs, BiT, DeiT, MAE, DINOv2 and more.

All are percentages of ImageNet's 50,000 validation images named rightly unless the table says otherwise. Commands train
where a recipe is known, and else score the weights that were released.
"""

from __future__ import annotations

from collections.abc import Callable

from vitreous.published import repeat
from vitreous.published.tables import Cell, Column, Repeat, Row, Table, grid
from vitreous.recipe import find_recipe

_VIT_README = """
R50+ViT-B/16 | 98.72 98.94 90.88 92.30 83.72 85.08
ViT-B/16     | 99.02 98.76 92.06 91.92 84.53 84.12
ViT-B/32     | 98.88 98.75 92.31 92.05 81.66 81.31
ViT-L/16     | 99.13 99.14 92.91 93.22 84.47 85.05
ViT-L/32     | 99.06 99.09 93.29 93.34 81.89 81.13
"""
_VIT_MODELS = {
    "R50+ViT-B/16": "r50+vit-b16",
    "ViT-B/16": "vit-b16",
    "ViT-B/32": "vit-b32",
    "ViT-L/16": "vit-l16",
    "ViT-L/32": "vit-l32",
}

_BIT = """
R50x1  | 80.68
R152x2 | 85.15
"""

# 224 px from scratch, 384 px, distilled 224 px, distilled 384 px
_DEIT = """
Ti | 72.2 -    74.5 -
S  | 79.9 -    81.2 -
B  | 81.8 82.9 83.4 85.2
"""
_DEIT_WORDS = {"Ti": ("vit-ti16", "tiny"), "S": ("vit-s16", "small"), "B": ("vit-b16", "base")}

# ImageNet-1k at 224 and 384 px, ImageNet-21k at 224 and 384 px
_DEIT3 = """
S | 81.4 83.4 83.1 84.8
M | 83.0 -    84.5 -
B | 83.8 85.0 85.7 86.7
L | 84.9 85.8 87.0 87.7
H | 85.2 -    87.2 -
"""
_DEIT3_WORDS = {"S": "small", "M": "medium", "B": "base", "L": "large", "H": "huge"}

# k-NN, linear, then both with registers
_DINOV2 = """
S | 79.0 81.1 79.1 80.9
B | 82.1 84.5 82.0 84.6
L | 83.5 86.3 83.8 86.7
g | 83.5 86.5 83.7 87.1
"""
_DINOV2_WORDS = {"S": "small", "B": "base", "L": "large", "g": "giant"}

_TORCHVISION = """
vit_b_16                  | 81.072
vit_b_32                  | 75.912
vit_l_16                  | 79.662
vit_l_32                  | 76.972
vit_b_16 SWAG, fine-tuned | 85.304
vit_l_16 SWAG, fine-tuned | 88.064
vit_h_14 SWAG, fine-tuned | 88.552
vit_b_16 SWAG, linear     | 81.886
vit_l_16 SWAG, linear     | 85.146
vit_h_14 SWAG, linear     | 85.708
"""
_TORCHVISION_WEIGHTS = (
    *("vit-b16.tv_in1k", "vit-b32.tv_in1k", "vit-l16.tv_in1k", "vit-l32.tv_in1k"),
    *("vit-b16-384.tv_swag_ft_in1k", "vit-l16-512.tv_swag_ft_in1k", "vit-h14-518.tv_swag_ft_in1k"),
    *("vit-b16.tv_swag_linear_in1k", "vit-l16.tv_swag_linear_in1k", "vit-h14.tv_swag_linear_in1k"),
)

_MAE = """
ViT-B | 83.664
ViT-L | 85.952
ViT-H | 86.928
"""
_MAE_MODELS = {"ViT-B": "vit-b16", "ViT-L": "vit-l16", "ViT-H": "vit-h14"}

_SIGLIP2 = """
B/32 256 px      | 74.0
B/16 224 px      | 78.2
B/16 512 px      | 81.2
L/16 512 px      | 83.5
So400m/14 384 px | 84.1
So400m/16 512 px | 84.3
g-opt/16 384 px  | 85.0
"""

_DATA = ("ImageNet-1k",)
_TOP_1 = "% ImageNet top-1"


def tables() -> tuple[Table, ...]:
    """All of them, by age."""
    return (_vit_readme(), _bit(), _deit(), _deit3(), _mae(), _dinov2(), _torchvision(), _siglip2())


def _vit_readme() -> Table:
    columns = [f"{task}, dropout {rate}" for task in ("CIFAR-10", "CIFAR-100", "ImageNet") for rate in ("0.0", "0.1")]

    def again(row: str, column: str) -> Repeat:
        task, _, rate = column.partition(", dropout ")
        recipe = find_recipe(f"paper-finetune-{task.lower().replace('-', '')}", "finetune")
        more = ("--set", f"dropout={rate}") if rate != "0.0" else ()
        line = repeat.finetune(recipe, f"{_VIT_MODELS[row]}.google_in21k", more=more)
        return Repeat(commands=(line,), data=repeat.images(recipe.data), hardware="TPU")

    return _table(
        name="vit-readme",
        title="The ViT paper's released weights, fine-tuned by its released code",
        source="google-research/vision_transformer, README.md",
        text=_VIT_README,
        columns=columns,
        unit="% top-1, fine-tuned from ImageNet-21k",
        again=again,
    )


def _bit() -> Table:
    def again(row: str, column: str) -> Repeat:  # noqa: ARG001  one column
        recipe = find_recipe("bit-hyperrule", "finetune")
        line = repeat.finetune(recipe, f"bit-{row.lower()}.google_m_in21k", data="ImageNet-1k")
        return Repeat(commands=(line,), data=repeat.images(*_DATA))

    return _table(
        name="bit-imagenet",
        title="BiT-M fine-tuned by its HyperRule",
        source="google-research/big_transfer, README.md",
        text=_BIT,
        columns=["ImageNet"],
        unit=_TOP_1,
        again=again,
    )


def _deit() -> Table:
    def again(row: str, column: str) -> Repeat:
        model, word = _DEIT_WORDS[row]
        if "distilled" in column:
            pixels = column.split()[1]
            line = repeat.evaluate(f"deit_{word}_distilled_patch16_{pixels}.fb_in1k", "imagenet-1k/")
            return Repeat(commands=(line,), remark="scores the released weights", data=repeat.images(*_DATA))
        if column == "384":
            recipe = find_recipe("deit-finetune-384-vit-b16", "finetune")
            return Repeat(
                commands=(repeat.finetune(recipe, recipe.model),),
                data=repeat.images(*_DATA),
                hardware=recipe.hardware,
            )
        recipe = find_recipe(f"deit-{model}", "pretrain")
        return Repeat(commands=(repeat.pretrain(recipe),), data=repeat.images(*_DATA), hardware=recipe.hardware)

    return _table(
        name="deit",
        title="DeiT: ImageNet alone, with and without a teacher",
        source="Touvron et al., ICML 2021; facebookresearch/deit, README_deit.md",
        text=_DEIT,
        columns=["224", "384", "distilled 224", "distilled 384"],
        unit=_TOP_1,
        again=again,
    )


def _deit3() -> Table:
    def again(row: str, column: str) -> Repeat:
        data, pixels = column.split()
        patch, tag = ("14" if row == "H" else "16"), ("fb_in22k_ft_in1k" if data == "I21k" else "fb_in1k")
        line = repeat.evaluate(f"deit3_{_DEIT3_WORDS[row]}_patch{patch}_{pixels}.{tag}", "imagenet-1k/")
        remark = "scores the released weights; `vitreous recipes deit3` lists what trains them"
        return Repeat(commands=(line,), remark=remark, data=repeat.images(*_DATA))

    return _table(
        name="deit3",
        title="DeiT III, on ImageNet-1k and from ImageNet-21k",
        source="Touvron et al., ECCV 2022; facebookresearch/deit, README_revenge.md",
        text=_DEIT3,
        columns=["I1k 224", "I1k 384", "I21k 224", "I21k 384"],
        unit=_TOP_1,
        again=again,
    )


def _mae() -> Table:
    def again(row: str, column: str) -> Repeat:  # noqa: ARG001  one column
        recipe = find_recipe(f"mae-finetune-{_MAE_MODELS[row]}", "finetune")
        line = repeat.finetune(recipe, recipe.model)
        return Repeat(commands=(line,), data=repeat.images(*_DATA), hardware=recipe.hardware)

    return _table(
        name="mae",
        title="Masked autoencoders, fine-tuned",
        source="He et al., CVPR 2022; facebookresearch/mae, FINETUNE.md",
        text=_MAE,
        columns=["ImageNet"],
        unit=_TOP_1,
        again=again,
    )


def _dinov2() -> Table:
    def again(row: str, column: str) -> Repeat:
        how, _, registers = column.partition(", ")
        model = f"vit_{_DINOV2_WORDS[row]}_patch14_{'reg4_' if registers else ''}dinov2.lvd142m"
        line = repeat.probe(model, "imagenet-1k/", how)
        return Repeat(commands=(line,), remark="on frozen features", data=repeat.images(*_DATA))

    return _table(
        name="dinov2",
        title="DINOv2 on frozen features",
        source="Oquab et al., 2023; facebookresearch/dinov2, README.md",
        text=_DINOV2,
        columns=["k-NN", "linear", "k-NN, registers", "linear, registers"],
        unit=_TOP_1,
        again=again,
    )


def _torchvision() -> Table:
    weights = dict(zip(grid(_TORCHVISION), _TORCHVISION_WEIGHTS, strict=True))

    def again(row: str, column: str) -> Repeat:  # noqa: ARG001  one column
        line = repeat.evaluate(weights[row], "imagenet-1k/")
        return Repeat(commands=(line,), remark="scores the released weights", data=repeat.images(*_DATA))

    return _table(
        name="torchvision",
        title="torchvision's Vision Transformers",
        source="pytorch/vision, WeightsEnum of torchvision 0.28",
        text=_TORCHVISION,
        columns=["ImageNet"],
        unit=_TOP_1,
        again=again,
    )


def _siglip2() -> Table:
    def again(row: str, column: str) -> Repeat:  # noqa: ARG001  one for all
        return repeat.none("asks the text tower, which is not built here", data=repeat.images(*_DATA))

    return _table(
        name="siglip2",
        title="SigLIP 2 without fine-tuning, by names of classes",
        source="google-research/big_vision, README of SigLIP 2",
        text=_SIGLIP2,
        columns=["ImageNet, zero-shot"],
        unit=_TOP_1,
        again=again,
    )


def _table(
    *,
    name: str,
    title: str,
    source: str,
    text: str,
    columns: list[str],
    unit: str,
    again: Callable[[str, str], Repeat],
) -> Table:
    """A table from its lines of numbers, and from what repeats the cell of a row and a column."""
    rows = tuple(
        Row(
            name=row,
            cells=tuple(
                cell and Cell(printed=cell.printed, repeat=again(row, column))
                for cell, column in zip(found, columns, strict=True)
            ),
        )
        for row, found in grid(text).items()
    )
    return Table(
        name=name,
        title=title,
        source=source,
        unit=unit,
        corner="model",
        columns=tuple(Column(name=column) for column in columns),
        rows=rows,
    )
