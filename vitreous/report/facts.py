"""A recipe and a model as pairs of name and value, in words a person reads."""

from __future__ import annotations

from vitreous.architecture import ResNetConfig, Size, ViTConfig
from vitreous.config import ModelCard, Recipe
from vitreous.report.words import count, percent, plain


def recipe_facts(recipe: Recipe) -> list[tuple[str, str]]:
    """The recipe as name and value, what is off or the same for all left out.

    Args:
        recipe: as it was resolved for the run.
    """
    optimizer = {
        "adam": f"Adam, betas {recipe.betas[0]:g} and {recipe.betas[1]:g}",
        "lamb": f"LAMB, betas {recipe.betas[0]:g} and {recipe.betas[1]:g}",
        "sgd": f"SGD, momentum {recipe.momentum:g}",
    }[recipe.optimizer]
    length = f"{recipe.epochs:g} epochs" if recipe.epochs is not None else f"{recipe.steps:,} steps"
    warmup = "no warm-up"
    if recipe.warmup_steps:
        warmup = f"warm-up of {count(recipe.warmup_steps, 'step')}"
    elif recipe.warmup_epochs:
        warmup = f"warm-up of {recipe.warmup_epochs:g} epochs"
    elif recipe.warmup_fraction:
        warmup = f"warm-up of {percent(recipe.warmup_fraction, 0)} of all steps"
    facts = {
        "optimiser": optimizer,
        "length": length,
        "batch": count(recipe.batch_size, "image"),
        "peak learning rate": plain(recipe.peak),
        "schedule": f"{recipe.schedule} decay, {warmup}",
        "weight decay": plain(recipe.weight_decay),
        "gradient clipping": "off" if recipe.clip_norm is None else f"norm {recipe.clip_norm:g}",
        "loss": _loss(recipe),
        "dropout": "the model's" if recipe.dropout is None else plain(recipe.dropout),
        "weights averaged": "no" if recipe.average_decay is None else f"yes, decay {recipe.average_decay:g}",
        "augmentation": _augmentation(recipe),
        **_unusual(recipe),
    }
    return list(facts.items())


_LOSSES = {"softmax": "softmax cross-entropy", "sigmoid": "sigmoid cross-entropy", "sigmoid-mean": "sigmoid, mean"}
_TARGETS = {"mean-colour": "mean colour", "downsampled": "4 x 4 colours", "pixels": "pixels"}
_TRAINED = {
    "head": "the head only",
    "head-first": "the head first, then all",
    "lora": "updates of low rank, and the head",
    "bitfit": "biases, and the head",
}


def _loss(recipe: Recipe) -> str:
    if recipe.objective == "masked-patch":
        return f"{_TARGETS[recipe.masked_target]} of {percent(recipe.masked_share, 0)} of the patches, corrupted"
    words = _LOSSES[recipe.loss]
    words += f", smoothed by {recipe.label_smoothing:g}" if recipe.label_smoothing else ""
    return words + (", rare classes count more" if recipe.class_weights == "balanced" else "")


def _unusual(recipe: Recipe) -> dict[str, str]:
    """What most recipes do without."""
    facts = {}
    if recipe.train != "all":
        facts["trained"] = _TRAINED[recipe.train]
    if recipe.layer_decay is not None:
        facts["learning rate by layer"] = f"each block {recipe.layer_decay:g} of the next"
    if recipe.drop_path is not None:
        facts["stochastic depth"] = f"{plain(recipe.drop_path)}, {recipe.drop_path_schedule}"
    if recipe.repeats > 1:
        facts["repeats"] = f"each image {recipe.repeats} times in a batch"
    return facts


_CROPS = {
    "centre": "centre crop",
    "padded": "crops of the padded image",
    "resmall": "crops of the shrunk image",
    "squash": "crops of the squashed image",
}
_POLICIES = {"randaugment-timm": "RandAugment as DeiT's", "three": "grey, solarised or blurred"}


def _augmentation(recipe: Recipe) -> str:
    augment = recipe.augment
    low, high = (percent(edge, 0) for edge in augment.crop_area)
    changes = [_CROPS.get(augment.crop, f"crops of {low} to {high} of the area")]
    changes += ["mirrored half of the time"] if augment.flip else []
    changes += [f"turned up to {augment.rotate:g}°"] if augment.rotate else []
    changes += [f"moved up to {percent(augment.shift, 0)}"] if augment.shift else []
    changes += [f"scaled up to {percent(augment.zoom, 0)}"] if augment.zoom else []
    if augment.policy == "randaugment":
        changes.append(f"RandAugment ({augment.rand_layers}, {augment.rand_magnitude:g})")
    changes += [_POLICIES[augment.policy]] if augment.policy in _POLICIES else []
    changes += [f"colours jittered by {augment.jitter:g}"] if augment.jitter else []
    changes += [f"erased with probability {augment.erase:g}"] if augment.erase else []
    changes += [f"Mixup {recipe.mixup:g}"] if recipe.mixup else []
    changes += [f"CutMix {recipe.cutmix:g}"] if recipe.cutmix else []
    return ", ".join(changes)


_POOLS = {
    "cls": "the class token",
    "mean": "the mean of the patches",
    "map": "what a learned probe gathers from all tokens",
    "cls+mean": "the class token beside the mean of the patches",
    "none": "every token",
}


def model_facts(card: ModelCard) -> list[tuple[str, str]]:
    """What the model is, as name and value.

    Args:
        card: of the model file; a user's own module has no architecture.
    """
    facts: dict[str, str] = {"name": "a module of your own"}
    shape = card.architecture
    if isinstance(shape, ResNetConfig):
        facts = {
            "name": shape.name,
            "units": f"{' + '.join(map(str, shape.layers))}, {64 * shape.width_factor:,} channels at the root",
            "image": _sides(shape.image_size, " pixels"),
            "head reads": f"the mean of a map of {shape.num_features:,} channels",
        }
    elif shape is not None:
        facts = _vit_facts(shape)
    prepare = card.preprocess
    cut = f"{percent(prepare.crop_ratio)} of the side"
    how = {"cover": f"centre crop, {cut}", "squash": "squashed into the frame", "squash-cut": f"squashed, {cut}"}
    facts["preprocessing"] = f"{how[prepare.resize]}, {prepare.interpolation}"
    facts["licence"] = card.licence
    return list(facts.items())


def _vit_facts(shape: ViTConfig) -> dict[str, str]:
    """Tokens and encoder; options only where they are taken."""
    heads = count(shape.num_heads, "head")
    facts = {
        "name": shape.name,
        "encoder": f"{count(shape.depth, 'block')}, width {shape.embed_dim:,}, {heads}, MLP {shape.mlp_dim:,}",
        "image": _sides(shape.image_size, " pixels"),
    }
    if (stem := shape.stem) is not None:
        units = f"of {count(sum(stem.layers), 'unit')}" if stem.layers else "that ends behind its root"
        facts["stem"] = f"a ResNet {units}, a map of {stem.num_features:,} channels"
    if shape.num_tokens is not None:
        facts["tokens"] = f"{count(shape.num_tokens, 'semantic token')} from a map of {_sides(shape.grid)}"
    elif stem is not None:
        cells = f"{_sides(shape.patch_size)} cells of the map"
        facts["patches"] = f"{_sides(shape.grid)} of {cells}, {_sides(shape.stride)} pixels each"
    else:
        facts["patches"] = f"{_sides(shape.grid)} of {_sides(shape.patch_size)} pixels"
    if shape.registers:
        facts["registers"] = f"{shape.registers}"
    if shape.window is not None:
        facts["attention"] = f"in windows of {_sides(shape.window)} patches"
    elif shape.attention == "axial":
        facts["attention"] = "along rows, then along columns"
    reads = "the class token and the distillation token" if shape.distill_token else _POOLS[shape.pool]
    return facts | {"head reads": reads}


def _sides(size: Size, unit: str = "") -> str:
    """Height and width as "32 × 48"."""
    return f"{size[0]} × {size[1]}{unit}"
