"""The seven studies of the paper that are run in miniature: what each trains, and what the paper says of it."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Sequence

from vitreous.architecture import Architecture, ResNetConfig, ViTConfig
from vitreous.cost import training_flops
from vitreous.errors import unknown_name
from vitreous.published.tables import grid
from vitreous.published.vit_numbers import TABLE_7, TABLE_8
from vitreous.study.miniature.plan import BATCH, NUM_IMAGES, PLAIN, STEPS, USUAL_RATE, Arm, Claim, Images, Study, Work

LABELLED = (10, 30)
"""Images per class that are fine-tuned on."""

BUDGETS = (4e10, 1.2e11, 3.6e11)
"""Floating-point operations of training in the study of equal compute."""

SIZES = (250, 500, 1000, 2000, 4000)
"""Images that are pre-trained on in the study of data."""

VIT = ViTConfig(
    name="vit-mini",
    image_size=(20, 20),
    patch_size=(4, 4),
    embed_dim=48,
    depth=3,
    num_heads=3,
    mlp_dim=192,
    num_classes=10,
)
RESNET = ResNetConfig(name="resnet-mini", image_size=(20, 20), layers=(1,), num_classes=10)
DEEPER = dataclasses.replace(RESNET, name="resnet-mini-2x2", layers=(2, 2))
HYBRID = dataclasses.replace(
    VIT,
    name="r+vit-mini",
    patch_size=(1, 1),
    depth=2,
    stem=ResNetConfig(name="root", image_size=(20, 20), layers=(), style="v1", num_classes=0),
)


def studies(only: Sequence[str] = ()) -> tuple[Study, ...]:
    """The seven studies, or some of them.

    Args:
        only: their names; none for all.

    Raises:
        UnknownNameError: there is no study of that name.
    """
    every = _every()
    for name in only:
        if name not in every:
            raise unknown_name("study in miniature", name, list(every))
    return tuple(every[name] for name in only) if only else tuple(every.values())


@functools.cache
def _every() -> dict[str, Study]:
    made = (_positions(), _optimizers(), _pooling(), _scaling(), _compute(), _masked(), _data())
    return {study.name: study for study in made}


def _usual(**changes: object) -> Work:
    """The usual pre-training, with something changed."""
    return dataclasses.replace(Work(model=VIT), **changes)  # type: ignore[arg-type]


def _vit(name: str, **changes: object) -> ViTConfig:
    return dataclasses.replace(VIT, name=f"vit-mini-{name}", **changes)  # type: ignore[arg-type]


def _published(table: str, row: str, column: int) -> float:
    """A number of the paper, by the name of its row and its place there."""
    cell = grid(table)[row][column]
    assert cell is not None, f"the paper prints a number in {row}"
    assert cell.value is not None, f"{cell.printed} is a number"
    return cell.value


def _positions() -> Study:
    kinds = {"none": "none", "1-D": "learned", "2-D": "learned-2d", "relative": "relative"}
    places = {"stem": "input", "every layer": "every", "every layer, shared": "shared"}
    arms = []
    for kind, position in kinds.items():
        for place, at in places.items():
            if kind in ("none", "relative") and place != "stem":
                continue
            plain = (kind, place) == ("1-D", "stem")
            model = VIT if plain else _vit(f"{kind}-{at}".lower(), position=position, position_at=at)
            share = _published(TABLE_8, kind, list(places).index(place))
            arms.append(
                Arm(
                    name=kind if kind == "none" else f"{kind}, {place}",
                    trained=f"ViT, position embedding {kind}" + ("" if kind == "none" else f", {place}"),
                    work=_usual(model=model),
                    paper=f"{100 * share:.2f} %",
                )
            )
    usual = "1-D, stem"
    near = "the paper found all forms alike but for having none"
    claims = [
        Claim(first=usual, second="none", expected="above", words="1-D 2.8 points above none"),
        *(
            Claim(first=arm.name, second=usual, expected="equal", words=near.removeprefix("the paper found "))
            for arm in arms
            if arm.name not in (usual, "none")
        ),
    ]
    return Study(
        name="positions",
        title="Position embeddings",
        place="Table 8, appendix D.4",
        about="The paper trained ViT-B/16 without position embeddings, with 1-D, 2-D and relative ones, added at the "
        "stem, at every layer, or at every layer from one shared table, and scored 5-shot linear models on ImageNet. "
        "Having none cost about three points; the other forms hardly differed.",
        here=f"The same eight cells, with {VIT.grid[0]} x {VIT.grid[1]} patches where the paper has 14 x 14.",
        theirs="5-shot on ImageNet, ViT-B/16 from JFT-300M",
        measure="5-shot",
        arms=tuple(arms),
        claims=tuple(claims),
    )


def _optimizers() -> Study:
    ways = {
        "Adam": {"learning_rate": 1e-3, "change": PLAIN},
        "SGD": {"learning_rate": 0.1, "change": f"{PLAIN},optimizer=sgd,weight_decay=0.0005"},
    }
    models = {"smaller ResNet": (RESNET, STEPS), "larger ResNet": (DEEPER, 400)}
    arms = [
        Arm(
            name=f"{size}, {way}",
            trained=f"{model.name} of {sum(model.layers)} units, {steps} steps, {way} at {changes['learning_rate']:g}",
            work=_usual(model=model, steps=steps, **changes),
            paper=f"{_published(TABLE_7, 'Average', 2 * larger + place):.2f} %",
        )
        for larger, (size, (model, steps)) in enumerate(models.items())
        for place, (way, changes) in enumerate(ways.items())
    ]
    return Study(
        name="optimizers",
        title="Adam against SGD for pre-training ResNets",
        place="Table 7, appendix D.1",
        about="ResNets are usually pre-trained with SGD. The paper pre-trained two of them on JFT-300M with each, and "
        "Adam transferred better by 0.5 and 0.3 points on average.",
        here="Two small ResNets; both optimisers shrink the weights by as much a step. Neither rate was tuned.",
        theirs="mean of five transfers, ResNet50 and ResNet152x2 from JFT-300M",
        measure="5-shot",
        arms=tuple(arms),
        claims=tuple(
            Claim(first=f"{size}, Adam", second=f"{size}, SGD", expected="above", words=f"Adam {gap} points above SGD")
            for size, gap in (("smaller ResNet", "0.54"), ("larger ResNet", "0.29"))
        ),
    )


def _pooling() -> Study:
    low = USUAL_RATE * 3 / 8  # the paper's two rates are 8e-4 and 3e-4
    mean = _vit("mean", pool="mean")
    arms = [
        Arm(
            name=f"{name}, {rate:g}",
            trained=f"ViT that reads {reads}, learning rate {rate:g}",
            work=_usual(model=model, learning_rate=rate),
        )
        for name, reads, model in (("class token", "its class token", VIT), ("mean", "the mean of its patches", mean))
        for rate in (USUAL_RATE, low)
    ]
    cls, low_cls, gap, low_gap = (arm.name for arm in arms)
    return Study(
        name="pooling",
        title="Class token against the mean of the patches",
        place="Figure 9, appendix D.3",
        about="A first try with the mean of all patches in place of the class token did badly. The paper found that "
        "neither the missing token nor the pooling was to blame, but the learning rate: at 3e-4 in place of 8e-4 the "
        "mean did as well.",
        here=f"The same two, at rates in the same proportion, {USUAL_RATE:g} and {low:g}.",
        measure="5-shot",
        arms=tuple(arms),
        claims=(
            Claim(first=gap, second=cls, expected="below", words="the mean behind at the class token's rate"),
            Claim(first=low_gap, second=cls, expected="equal", words="the mean level at its own, lower rate"),
            Claim(first=low_gap, second=low_cls, expected=None),
        ),
    )


def _scaling() -> Study:
    variants: dict[str, tuple[str, ViTConfig]] = {
        "as it is": ("3 blocks, 48 wide, patches of 4, MLP 192", VIT),
        "depth 1": ("1 block", _vit("depth1", depth=1)),
        "depth 6": ("6 blocks", _vit("depth6", depth=6)),
        "width 24": ("24 wide, MLP 96", _vit("width24", embed_dim=24, mlp_dim=96)),
        "width 80": ("80 wide, MLP 320", _vit("width80", embed_dim=80, mlp_dim=320, num_heads=5)),
        "patch 10": ("patches of 10: 4 tokens", _vit("patch10", patch_size=(10, 10))),
        "patch 5": ("patches of 5: 16 tokens", _vit("patch5", patch_size=(5, 5))),
        "MLP 48": ("MLP 48 wide", _vit("mlp48", mlp_dim=48)),
        "MLP 384": ("MLP 384 wide", _vit("mlp384", mlp_dim=384)),
    }
    usual = "as it is"
    return Study(
        name="scaling",
        title="Depth, width, patches and MLPs",
        place="Figure 8, appendix D.2",
        about="Of one ViT the paper scaled one dimension at a time. Depth helped most, though less past 16 layers; "
        "width hardly; smaller patches helped a good deal without a single parameter more.",
        here="One dimension at a time around the usual model, the number of steps always the same.",
        measure="5-shot",
        arms=tuple(
            Arm(name=name, trained=f"ViT of {words}", work=_usual(model=model))
            for name, (words, model) in variants.items()
        ),
        claims=(
            Claim(first="depth 6", second=usual, expected="above", words="more depth better"),
            Claim(first="depth 1", second=usual, expected="below", words="less depth worse"),
            Claim(first="width 80", second=usual, expected="equal", words="hardly a change from width"),
            Claim(first="width 24", second=usual, expected="equal", words="hardly a change from width"),
            Claim(first="patch 10", second="patch 5", expected="below", words="larger patches worse"),
            Claim(first="patch 5", second=usual, expected="below", words="smaller patches better"),
            Claim(first="MLP 384", second=usual, expected=None),
            Claim(first="MLP 48", second=usual, expected=None),
        ),
    )


def _compute() -> Study:
    families: dict[str, tuple[Architecture, float]] = {
        "ViT": (VIT, USUAL_RATE), "hybrid": (HYBRID, USUAL_RATE), "ResNet": (RESNET, 1e-3),
    }  # fmt: skip
    arms = [
        Arm(
            name=f"{family}, {budget / 1e9:.0f} GFLOPs",
            trained=f"{model.name}, {steps:,} steps",
            work=_usual(model=model, learning_rate=rate, steps=steps),
        )
        for budget in BUDGETS
        for family, (model, rate) in families.items()
        for steps in [max(1, round(budget / (float(training_flops(model)) * BATCH)))]
    ]
    at = [f"{budget / 1e9:.0f} GFLOPs" for budget in BUDGETS]
    return Study(
        name="compute",
        title="ViT, hybrid and ResNet at equal compute",
        place="Figure 5 and Table 6, section 4.4",
        about="Pre-trained on JFT-300M, ViTs reached the accuracy of ResNets with two to four times less compute. "
        "Hybrids were slightly ahead of ViTs at small budgets; the gap vanished for larger ones.",
        here="One model of each family, trained for as many steps as each of three budgets pays for; operations are "
        "counted as `vitreous cost` counts them.",
        measure="5-shot",
        arms=tuple(arms),
        claims=(
            *(
                Claim(first=f"ViT, {one}", second=f"ResNet, {one}", expected="above", words="ViTs ahead of ResNets")
                for one in at
            ),
            Claim(first=f"hybrid, {at[0]}", second=f"ViT, {at[0]}", expected="above", words="hybrids ahead at first"),
            Claim(first=f"hybrid, {at[-1]}", second=f"ViT, {at[-1]}", expected="equal", words="no gap at last"),
        ),
    )


def _masked() -> Study:
    hidden = _usual(recipe="small-masked", change="", steps=2 * STEPS)  # the paper: 14 epochs, supervised 7
    starts = {"supervised": _usual(), "masked patches": hidden, "from scratch": None}
    few = {"steps": 300, "batch_size": 50, "change": "average_decay=nothing"}
    arms = []
    for labels in LABELLED:
        for name, after in starts.items():
            if after is None:
                work = Work(
                    model=VIT, images=Images(name="digits", per_class=labels), recipe="small-masked-scratch",
                    **few,  # type: ignore[arg-type]
                )  # fmt: skip
            else:
                work = Work(
                    verb="finetune", model=VIT, after=after, images=Images(name="digits", per_class=labels),
                    recipe="small-masked-finetune", **few,  # type: ignore[arg-type]
                )  # fmt: skip
            words = {
                "supervised": "pre-trained on 4,000 labelled digits of mnist-5k",
                "masked patches": "pre-trained on the same 4,000 without their labels",
                "from scratch": "random weights",
            }[name]
            arms.append(
                Arm(
                    name=f"{name}, {labels} labels a class",
                    trained=f"ViT, {words}, then {labels} labelled digits of each class",
                    work=work,
                    paper={
                        "supervised": "83.97 %", "masked patches": "79.9 %",
                        "from scratch": "77.91 %",
                    }[name],
                )
            )  # fmt: skip
    return Study(
        name="masked",
        title="Masked patches against labels against nothing",
        place="section 4.6, appendix B.1.2",
        about="ViT-B/16 that learned to name the colours of hidden patches reached 79.9 % on ImageNet after "
        "fine-tuning: 2 points above training from scratch, 4 behind supervised pre-training.",
        here="Fine-tuned on few labelled digits of other writers, and scored on all their others. Masked patches are "
        "learned twice as long as labels, as in the paper; 0.003 was the better of two rates for all three. Both were "
        "chosen with a look at seed 0, which is among the seeds shown.",
        theirs="ImageNet, ViT-B/16; supervised from ImageNet-21k, masked from JFT-300M",
        measure="fine-tuned",
        arms=tuple(arms),
        claims=tuple(
            claim
            for labels in (f"{number} labels a class" for number in LABELLED)
            for claim in (
                Claim(
                    first=f"masked patches, {labels}",
                    second=f"from scratch, {labels}",
                    expected="above",
                    words="masked patches 2 points above scratch",
                ),
                Claim(
                    first=f"masked patches, {labels}",
                    second=f"supervised, {labels}",
                    expected="below",
                    words="masked patches 4 points behind supervised",
                ),
            )
        ),
    )


def _data() -> Study:
    families: dict[str, tuple[Architecture, float]] = {"ViT": (VIT, USUAL_RATE), "ResNet": (RESNET, 1e-3)}
    arms = [
        Arm(
            name=f"{family}, {size:,} images",
            trained=f"{model.name}, {STEPS:,} steps on {size:,} images",
            work=_usual(
                model=model, learning_rate=rate, images=Images(per_class=None if size == NUM_IMAGES else size // 10)
            ),
        )
        for family, (model, rate) in families.items()
        for size in SIZES
    ]
    least, most = f"{SIZES[0]:,} images", f"{SIZES[-1]:,} images"
    return Study(
        name="data",
        title="Few-shot accuracy against the size of pre-training",
        place="Figure 4, section 4.3",
        about="Pre-trained on 10 M images of JFT, ResNets gave better few-shot models than ViTs; from 100 M on, ViTs "
        "did. ResNets gained little from more data past some point, ViTs went on gaining.",
        here="The same number of steps on 250 to 4,000 digits; a smaller set is seen more often.",
        measure="5-shot",
        arms=tuple(arms),
        claims=(
            Claim(first=f"ViT, {least}", second=f"ResNet, {least}", expected="below", words="ResNets ahead on little"),
            Claim(first=f"ViT, {most}", second=f"ResNet, {most}", expected="above", words="ViTs ahead on much"),
            Claim(first=f"ViT, {most}", second=f"ViT, {least}", expected="above", words="ViTs gain from data"),
            Claim(
                first=f"ResNet, {most}", second=f"ResNet, {least}", expected="above", words="ResNets gain, then stop"
            ),
        ),
    )
