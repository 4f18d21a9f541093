"""Published scores on ImageNet's variants, and AlexNet's errors, by which those on ImageNet-C are divided.

Sources: Hendrycks and Dietterich 2019 (github.com/hendrycks/robustness, README and ImageNet-C/test.py); Dosovitskiy et
al. 2021 (ViT: table 2, and appendix on ObjectNet); timm's results/results-*.csv (aa4b585, August 2026).
"""

from __future__ import annotations

from vitreous.results.robustness import PublishedScore

ALEXNET_ERRORS = {
    "gaussian_noise": 0.886428,
    "shot_noise": 0.894468,
    "impulse_noise": 0.922640,
    "defocus_blur": 0.819880,
    "glass_blur": 0.826268,
    "motion_blur": 0.785948,
    "zoom_blur": 0.798360,
    "snow": 0.866816,
    "frost": 0.826572,
    "fog": 0.819324,
    "brightness": 0.564592,
    "contrast": 0.853204,
    "elastic_transform": 0.646056,
    "pixelate": 0.717840,
    "jpeg_compression": 0.606500,
}
"""AlexNet's mean error over the five severities of each of the 15 corruptions, in the order of the paper."""

ALEXNET_CLEAN_ERROR = 0.435
"""AlexNet's error on clean images, as ImageNet-C's paper rounds it: what relative mCE is relative to."""

EXTRA_CORRUPTIONS = ("speckle_noise", "gaussian_blur", "spatter", "saturate")
"""Corruptions that the paper's authors offer for choosing a method; they count for nothing."""

_TIMM = {  # as people call them: as timm does
    "ViT-B/16, AugReg I21k, 224 px": "vit_base_patch16_224.augreg_in21k_ft_in1k",
    "ViT-L/16, AugReg I21k, 384 px": "vit_large_patch16_384.augreg_in21k_ft_in1k",
    "ResNet-50, torchvision": "resnet50.tv_in1k",
}


def published_scores(name: str) -> tuple[PublishedScore, ...]:
    """What others report on a data set, the best first; nothing where nothing is known here.

    Args:
        name: of the data set, as it is typed ("imagenet-a").
    """
    return tuple(sorted(_SCORES.get(name, ()), key=lambda score: -(score.top1 or 0.0)))


def _vit_paper(rows: tuple[tuple[str, float, float | None], ...], where: str) -> tuple[PublishedScore, ...]:
    return tuple(
        PublishedScore(
            model=model, source=f"ViT paper, {where}", top1=_share(top1), top5=None if top5 is None else _share(top5)
        )
        for model, top1, top5 in rows
    )


def _timm(file: str, *rows: tuple[float, float] | None) -> tuple[PublishedScore, ...]:
    """Top-1 and top-5 of the three models above, in percent; None for one that the table leaves out."""
    return tuple(
        PublishedScore(
            model=model,
            source=f"timm, results/results-{file}.csv: {_TIMM[model]}",
            top1=_share(row[0]),
            top5=_share(row[1]),
        )
        for model, row in zip(_TIMM, rows, strict=True)
        if row is not None
    )


def _share(percent: float) -> float:
    return round(percent / 100, 6)


_SCORES: dict[str, tuple[PublishedScore, ...]] = {
    "imagenet": (
        *_vit_paper(
            (("ViT-H/14, JFT-300M", 88.55, None), ("ViT-L/16, JFT-300M", 87.76, None), ("ViT-L/16, I21k", 85.30, None)),
            "table 2",
        ),
        *_timm("imagenet", (84.534, 97.300), (87.096, 98.302), (76.156, 92.866)),
    ),
    "imagenet-real": (
        *_vit_paper(
            (("ViT-H/14, JFT-300M", 90.72, None), ("ViT-L/16, JFT-300M", 90.54, None), ("ViT-L/16, I21k", 88.62, None)),
            "table 2",
        ),
        *_timm("imagenet-real", (88.887, 98.219), (90.219, 98.653), (82.969, 95.474)),
    ),
    "imagenet-v2": _timm("imagenetv2-matched-frequency", (74.100, 92.370), (77.790, 94.310), (63.190, 84.640)),
    "imagenet-a": _timm("imagenet-a", (43.133, 72.547), (71.053, 89.680), None),
    "imagenet-r": _timm("imagenet-r", (56.860, 70.680), (67.123, 78.720), (36.157, 52.870)),
    "imagenet-sketch": _timm("sketch", (43.261, 65.712), (52.799, 74.735), (24.064, 41.329)),
    "imagenet-c": (
        PublishedScore(model="ResNet-50 (clean error 23.85 %)", source="hendrycks/robustness, README", mce=0.767),
        PublishedScore(model="AlexNet", source="Hendrycks and Dietterich 2019: the unit, by definition", mce=1.0),
    ),
    "objectnet": _vit_paper((("ViT-H/14, JFT-300M", 61.7, 82.1),), "appendix: ObjectNet results"),
}
