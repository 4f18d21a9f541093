"""Neighbours, linear layers, few-shot and blocks on frozen features, each against slow code of another kind."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier

from vitreous.errors import DataError, UsageError
from vitreous.evaluation import fewshot, knn, linear
from vitreous.evaluation.features import FrozenFeatures
from vitreous.evaluation.fewshot import draw, few_shot, least_squares
from vitreous.evaluation.layers import layer_by_layer
from vitreous.evaluation.linear import GridPoint, linear_probe, logistic_probe, penalties

Numbers = NDArray[np.floating[Any]]


def clusters(count: int, classes: int = 4, width: int = 6, seed: int = 0, spread: float = 1.3) -> FrozenFeatures:
    """Points around one centre for each class, far from 0, so that centring and scaling matter."""
    centres = 3 * np.random.default_rng(77).normal(size=(classes, width)) + 5
    random = np.random.default_rng(seed)
    labels = np.arange(count) % classes
    points = centres[labels] + spread * random.normal(size=(count, width)) * np.linspace(0.3, 4, width)
    return frozen(points, labels, classes)


def frozen(points: Numbers, labels: NDArray[np.integer[Any]], classes: int, **more: Any) -> FrozenFeatures:
    count = len(points)
    return FrozenFeatures(
        pooled=points.astype(np.float32),
        labels=labels.astype(np.int64),
        places=np.arange(count),
        classes=tuple(f"class {place}" for place in range(classes)),
        seen=count,
        expected=count,
        failed=(),
        digest="",
        reads="made up",
        **more,
    )


def slow_votes(x: Numbers, y: Any, asked: Numbers, classes: int, k: int, temperature: float) -> Numbers:
    """dino/eval_knn.py, one image and one neighbour at a time, in float64."""
    votes = np.zeros((len(asked), classes))
    for row, one in enumerate(np.asarray(asked, float)):
        near = [float(one @ other) / float(np.linalg.norm(one) * np.linalg.norm(other)) for other in x.astype(float)]
        for place in sorted(range(len(near)), key=lambda i: -near[i])[:k]:
            votes[row, y[place]] += np.exp(near[place] / temperature)
    return votes


def test_votes_of_neighbours_are_those_of_a_plain_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where training and test features come in blocks that do not divide them."""
    monkeypatch.setattr(knn, "_LEARNED", 23)
    monkeypatch.setattr(knn, "_ASKED", 7)
    train, test = clusters(90, 7, seed=1, spread=3), clusters(33, 7, seed=2, spread=3)
    found = knn.knn(train, test, neighbours=(1, 5, 31))
    for point in found.points:
        votes = slow_votes(train.pooled, train.labels, test.pooled, 7, point.k, 0.07)
        order = np.argsort(-votes, axis=1, kind="stable")
        assert (order[:, 0] == test.labels).tolist() == point.right.tolist()
        five = [
            label in row[:5] and vote[label] > 0 for label, row, vote in zip(test.labels, order, votes, strict=True)
        ]
        assert np.mean(five) == point.top5
    assert 0.3 < found.points[0].top1 < 1


def test_one_neighbour_is_scikit_learns() -> None:
    train, test = clusters(120, seed=3, spread=3), clusters(50, seed=4, spread=3)
    theirs = KNeighborsClassifier(1, metric="cosine").fit(train.pooled, train.labels)
    assert theirs.score(test.pooled, test.labels) == knn.knn(train, test, neighbours=(1,)).points[0].top1


def test_of_equally_near_neighbours_the_earlier_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the blocks: copies of one picture are common."""
    x = np.tile(np.array([[1.0, 2.0], [1.0, 2.0], [2.0, -1.0]], np.float32), (5, 1))
    for block in (2, 4, 100):
        monkeypatch.setattr(knn, "_LEARNED", block)
        _, places = knn.nearest(x, np.array([[0.6, 0.8]], np.float32), 7)
        assert [0, 1, 3, 4, 6, 7, 9] == places[0].tolist()


def test_k_is_at_most_the_number_of_training_images() -> None:
    found = knn.knn(clusters(40), clusters(12, seed=9))
    assert [10, 20, 40] == [point.k for point in found.points]
    assert 20 == found.headline.k
    assert "at most 40" in found.notes[0]


def slow_ridge(x: Numbers, y: Any, classes: int, l2: float, asked: Numbers) -> Numbers:
    """Scores by solving the normal equations, in float64."""
    x = x.astype(float)
    mean, deviation = x.mean(0), np.sqrt(((x - x.mean(0)) ** 2).mean(0)) + 1e-5
    design = np.column_stack([(x - mean) / deviation, 100 * np.ones(len(x))])
    targets = -np.ones((len(x), classes))
    targets[np.arange(len(x)), y] = 1
    weights = np.linalg.solve(design.T @ design + l2 * np.eye(design.shape[1]), design.T @ targets)
    return np.column_stack([(asked.astype(float) - mean) / deviation, 100 * np.ones(len(asked))]) @ weights


@pytest.mark.parametrize("count", [5, 6, 7, 8, 61])
def test_least_squares_solves_the_normal_equations(count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """With fewer images than features and with more, at the border, and in blocks."""
    monkeypatch.setattr(fewshot, "_BLOCK", 9)
    train, test = clusters(count, 3, seed=5), clusters(29, 3, seed=6)
    for l2 in (1024.0, 0.5):
        expected = slow_ridge(train.pooled, train.labels, 3, l2, test.pooled)
        fitted = least_squares(train.pooled, train.labels, 3, l2=l2)
        np.testing.assert_allclose(fitted.scores(test.pooled), expected, atol=1e-9)
        assert expected.argmax(1).tolist() == fitted.predict(test.pooled).tolist()


def test_examples_are_those_that_big_vision_draws() -> None:
    """One generator goes through the classes; fewer shots are the first of more; every image is scored."""
    train, test = clusters(70, 5, width=9, seed=7), clusters(41, 5, width=9, seed=8)
    found = few_shot(train, test, shots=(10, 1, 4), seeds=(0, 3))
    assert [1, 4, 10] == [point.shots for point in found.points]
    for point in found.points:
        shares = []
        for seed in (0, 3):
            generator = np.random.default_rng(seed)
            rows = [generator.permutation(np.where(train.labels == label)[0])[: point.shots] for label in range(5)]
            some = np.concatenate(rows)
            scores = slow_ridge(train.pooled[some], train.labels[some], 5, 1024.0, test.pooled)
            shares.append(np.mean(scores.argmax(1) == test.labels))
        np.testing.assert_allclose(point.per_seed, shares, atol=1e-12)
        assert np.isclose(point.top1, np.mean(shares))
        assert np.isclose(point.spread, np.std(shares, ddof=1))
        assert 5 * point.shots == point.learned
    assert (41, 41) == (found.seen, found.expected)


def test_a_class_with_too_few_examples_gives_all_it_has() -> None:
    labels = np.array([0] * 8 + [1] * 3 + [2] * 8)
    train = frozen(np.random.default_rng(0).normal(size=(19, 5)), labels, 4)
    found = few_shot(train, train, shots=(2, 5, 8, 9, 25))
    assert [2, 5, 8] == [point.shots for point in found.points]  # 9 and 25 would repeat 8
    assert [6, 13, 19] == [point.learned for point in found.points]
    assert "9, 25 left out" in found.notes[0]
    assert "5-shot: 2 of 4 classes have fewer than 5" in " ".join(found.notes)  # one has none at all
    assert [] == draw(labels, 4, 0)[3].tolist()


def test_few_shot_asked_wrongly_is_one_clear_error() -> None:
    some = clusters(12)
    with pytest.raises(UsageError, match="1 or more, got 0"):
        few_shot(some, some, shots=(0, 5))
    with pytest.raises(UsageError, match="different numbers"):
        few_shot(some, some, seeds=(1, 1))
    with pytest.raises(DataError, match="classes"):
        few_shot(some, clusters(12, 5))


def with_blocks(count: int, seed: int, depth: int = 5) -> FrozenFeatures:
    """Blocks of which the last know most, and the mean of the patches something else."""
    whole = clusters(count, seed=seed, spread=1.0)
    random = np.random.default_rng(seed + 50)
    layers = {}
    for layer in range(depth):
        noise = (depth - 1 - layer) * random.normal(size=whole.pooled.shape)
        first = (whole.pooled + 2 * noise).astype(np.float32)
        layers[layer] = (first, np.roll(first, 1, axis=1) + np.float32(0.25))
    return frozen(layers[depth - 1][0], whole.labels, 4, by_layer=layers)


def torch_sgd(train: FrozenFeatures, rows: Any, point: GridPoint, steps: int) -> torch.nn.Linear:
    """DINOv2's recipe for one head with torch.optim, on the input that the point names."""
    layers = [train.by_layer[layer] for layer in sorted(train.by_layer)]
    parts = [first for first, _ in layers[-point.blocks :]] + ([layers[-1][1]] if point.mean else [])
    x, y = torch.from_numpy(np.concatenate(parts, axis=1)), torch.from_numpy(train.labels)
    head = torch.nn.Linear(x.shape[1], 4)
    drawn = torch.empty(x.shape[1], 1, 4).normal_(0.0, 0.01, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        head.weight.copy_(drawn[:, 0].T)
        head.bias.zero_()
    batch = min(128, len(rows))
    optimizer = torch.optim.SGD(head.parameters(), lr=point.rate * batch / 256, momentum=0.9)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps, eta_min=0)
    order: list[int] = []
    epoch = 0
    for _ in range(steps):
        if len(order) < batch:
            order += np.random.default_rng((0, epoch)).permutation(rows).tolist()
            epoch += 1
        some, order = order[:batch], order[batch:]
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(head(x[some]), y[some]).backward()
        optimizer.step()
        schedule.step()
    return head


def test_heads_trained_together_learn_as_each_does_alone() -> None:
    """Every point of the grid against torch.optim; the choice by images held out; the refit by all."""
    train, test = with_blocks(150, 11), with_blocks(60, 12)
    rows = np.arange(3, 150, 9)
    found = linear_probe(train, test, choose_on=rows, rates=(1e-3, 2e-2), steps=13)
    assert [(1, False), (1, True), (4, False), (4, True)] == [(p.blocks, p.mean) for p in found.grid[::2]]
    learn = np.setdiff1d(np.arange(150), rows)
    for point in found.grid:
        head = torch_sgd(train, learn, point, 13)
        layers = [train.by_layer[layer] for layer in sorted(train.by_layer)]
        parts = [first for first, _ in layers[-point.blocks :]] + ([layers[-1][1]] if point.mean else [])
        with torch.no_grad():
            logits = head(torch.from_numpy(np.concatenate(parts, axis=1)[rows]))
        loss = torch.nn.functional.cross_entropy(logits, torch.from_numpy(train.labels[rows]))
        assert point.loss == pytest.approx(loss.item(), rel=1e-4)
        assert (logits.argmax(1).numpy() == train.labels[rows]).mean() == point.top1
    best = max(found.grid, key=lambda point: (point.top1, -(point.loss or 0)))
    assert best is found.chosen
    assert (150, 17, 60) == (found.learned, found.chose, found.seen)
    head = torch_sgd(train, np.arange(150), best, 13)
    layers = [test.by_layer[layer] for layer in sorted(test.by_layer)]
    parts = [first for first, _ in layers[-best.blocks :]] + ([layers[-1][1]] if best.mean else [])
    with torch.no_grad():
        named = head(torch.from_numpy(np.concatenate(parts, axis=1))).argmax(1).numpy()
    assert (named == test.labels).tolist() == found.right.tolist()


def test_test_images_choose_nothing() -> None:
    """Labels of the test images change the score and nothing else."""
    train, test = with_blocks(80, 21), with_blocks(40, 22)
    one = linear_probe(train, test, rates=(1e-3, 1e-2), steps=20)
    wrong = frozen(test.pooled, (test.labels + 1) % 4, 4, by_layer=test.by_layer)
    other = linear_probe(train, wrong, rates=(1e-3, 1e-2), steps=20)
    assert one.chosen == other.chosen
    assert one.grid == other.grid
    assert one.top1 != other.top1


def test_a_rate_that_diverges_is_told_and_never_chosen() -> None:
    train = with_blocks(60, 31)
    found = linear_probe(train, train, rates=(1e-2, 1e39), steps=12)
    assert {None} == {point.top1 for point in found.grid if point.rate == 1e39}
    assert 1e-2 == found.chosen.rate


def test_scores_in_small_blocks_are_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    train = with_blocks(60, 31)
    whole = linear_probe(train, train, rates=(1e-2, 1e-1), steps=12)
    monkeypatch.setattr(linear, "_SCORES", 2 * 4 * 2)  # two rows at a time
    found = linear_probe(train, train, rates=(1e-2, 1e-1), steps=12)
    assert [point.top1 for point in whole.grid] == [point.top1 for point in found.grid]
    losses, whole_losses = ([point.loss or np.nan for point in one.grid] for one in (found, whole))
    np.testing.assert_allclose(losses, whole_losses, equal_nan=False)
    np.testing.assert_array_equal(whole.right, found.right)


def test_the_coldest_neighbours_vote_as_the_nearest_one_does() -> None:
    rng = np.random.default_rng(4)
    x, y, asked = (
        rng.standard_normal((50, 6), np.float32),
        rng.integers(0, 3, 50),
        rng.standard_normal((9, 6), np.float32),
    )
    cold, nearest = (knn.vote(x, y, asked, 3, [k], temperature=1e-4)[k][:, 0] for k in (20, 1))
    np.testing.assert_array_equal(nearest, cold)


def test_what_the_heads_may_read_follows_the_model() -> None:
    """Without a class token means are no second grid; a head that reads something else adds an input."""
    whole = with_blocks(48, 41, depth=2)
    means = {layer: (mean, mean) for layer, (_, mean) in whole.by_layer.items()}
    token_free = frozen(means[1][0], whole.labels, 4, by_layer=means)
    found = linear_probe(token_free, token_free, rates=(1e-2,), steps=5)
    assert [(1, False), (2, False)] == [(point.blocks, point.mean) for point in found.grid]
    pooled = frozen(3 * whole.pooled, whole.labels, 4, by_layer=means)
    found = linear_probe(pooled, pooled, rates=(1e-2,), steps=5)
    assert "made up" == found.grid[-1].reads
    alone = linear_probe(frozen(whole.pooled, whole.labels, 4), frozen(whole.pooled, whole.labels, 4), steps=5)
    assert {0} == {point.blocks for point in alone.grid}
    assert 13 == len(alone.grid)


@pytest.mark.parametrize("classes", [2, 3])
def test_logistic_regression_has_scikit_learns_optimum(classes: int) -> None:
    """For every C the same choice, then the same answers; DINOv2's C are those of its formula."""
    train, test = clusters(90, classes, seed=61, spread=3), clusters(70, classes, seed=62, spread=3)
    rows = np.arange(0, 90, 10)
    found = logistic_probe(train, test, choose_on=rows, inverse_penalties=(1e-3, 1e-2, 1.0))
    learn = np.setdiff1d(np.arange(90), rows)
    x = train.pooled.astype(np.float64)
    for value, share in found.grid:
        theirs = LogisticRegression(C=value, tol=1e-10, max_iter=5000).fit(x[learn], train.labels[learn])
        assert theirs.score(x[rows], train.labels[rows]) == share
    theirs = LogisticRegression(C=found.inverse_penalty, tol=1e-10, max_iter=5000).fit(x, train.labels)
    assert (theirs.predict(test.pooled.astype(np.float64)) == test.labels).tolist() == found.right.tolist()
    np.testing.assert_allclose(penalties(), 10 ** np.linspace(-6, 5, 45))


def test_images_that_choose_are_a_share_of_each_class() -> None:
    labels = np.array([0] * 40 + [1] * 3 + [2] + [3] * 16)
    rows = linear.held_out_rows(labels, 0.1, seed=5)
    assert [4, 1, 0, 2] == np.bincount(labels[rows], minlength=4).tolist()
    assert linear.held_out_rows(labels, 0.1, seed=6).tolist() != rows.tolist()
    single = frozen(np.eye(3), np.arange(3), 3)
    with pytest.raises(DataError, match="too few training images"):
        linear_probe(single, single, steps=1)


def test_blocks_are_scored_one_by_one() -> None:
    """Each is what nearest neighbours and least squares give on its class token alone."""
    train, test = with_blocks(80, 71, depth=3), with_blocks(50, 72, depth=3)
    found = layer_by_layer(train, test)
    assert [0, 1, 2] == [one.layer for one in found]
    for one in found:
        x, asked = train.by_layer[one.layer][0], test.by_layer[one.layer][0]
        votes = slow_votes(x, train.labels, asked, 4, 20, 0.07)
        assert (votes.argmax(1) == test.labels).mean() == one.knn
        scores = slow_ridge(x, train.labels, 4, 1024.0, asked)
        assert (scores.argmax(1) == test.labels).mean() == one.least_squares
    assert found[0].least_squares < found[2].least_squares
    with pytest.raises(UsageError, match="no blocks"):
        layer_by_layer(clusters(8), clusters(8))
