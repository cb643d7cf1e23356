"""How much of each head a task wants: its share of the classifier's weights (arXiv 2305.17191, table 6), and accuracy over the mix.

The mix is two numbers: each head's inner products, of vectors of unit length as FewShotClassifier takes them, are multiplied by 2 s (invariant)
and 2 (1 - s) (variant). At s = 1/2 that is the classifier as it is; at 0 and 1 one head is left. s is not fitted to a task,
which knows too little, but may be fitted to a data set, and then be tried on another.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from training.evaluation.episodes import Episodes
from training.evaluation.report import interval
from training.evaluation.solvers import CHUNK, paper_classifier, ridge, ridge_duals, unit, values

SHARES = np.linspace(0, 1, 11)  # s, of the invariant head


@dataclass(frozen=True)
class Mixes:
    """The mix of heads on sets; "fit" tasks choose a share, others test it.

    Args:
        accuracies: %, [n_sets][len(SHARES)], of the tests.
        best: share of the invariant head that the fit tasks of each set chose, [n_sets].
        transfer, intervals: what the share of set i gains on set j over equal shares: points of accuracy, [n_sets][n_sets].
        left_out: what the share that is best for the other sets together gains on each set, [n_sets].
        weights: share of the classifier's weights on the invariant head, ridge, mean over the tasks, [n_sets].
        paper_weights: the same of the paper's classifier.
        spread: share of the invariant head in the features' standard deviations, mean over features, [n_sets].
    """

    n_shots: int
    data: list[str]
    accuracies: list[list[float]]
    best: list[float]
    transfer: list[list[float]]
    intervals: list[list[float]]
    left_out: list[float]
    weights: list[float]
    paper_weights: list[float]
    spread: list[float]


def accuracies(features: np.ndarray, heads: Sequence[slice], episodes: Episodes) -> np.ndarray:
    """Share of queries that ridge puts into the right class at each mix: float64 [len(SHARES), n_tasks], in 0..1.

    Args:
        features: float [n_clips, D].
        heads: the columns of the invariant and of the variant head.
    """
    n_tasks, n_ways, n_shots = episodes.support.shape
    n_support = n_ways * n_shots
    clips = np.concatenate([episodes.support.reshape(n_tasks, -1), episodes.query.reshape(n_tasks, -1)], 1)
    columns = [torch.from_numpy(features[:, head]) for head in heads]
    expected = torch.arange(n_ways).repeat_interleave(episodes.query.shape[2])
    found = []
    for chunk in torch.from_numpy(clips).split(max(1, CHUNK // (clips.shape[1] * features.shape[1]))):
        parts = [unit(column[chunk].double()) for column in columns]
        invariant, variant = (part @ part[:, :n_support].mT for part in parts)
        mixed = (2 * share * invariant + 2 * (1 - share) * variant for share in SHARES)
        right = [ridge(products, n_ways, n_shots).argmax(-1) == expected for products in mixed]
        found.append(torch.stack(right).double().mean(-1))
    return torch.cat(found, 1).numpy()


def head_weights(
    features: np.ndarray, heads: Sequence[slice], episodes: Episodes, classifier: str = "ridge"
) -> np.ndarray:
    """Share of each head in the sum of |weights| of each task's classifier: float64 [n_tasks, n_heads].

    Args:
        classifier: "ridge", on features of unit length, or "paper", on raw ones: SGD from zero adds up multiples of the features, so that
            a head of larger numbers gets larger weights.

    Raises:
        ValueError: another classifier.
    """
    n_tasks, n_ways, n_shots = episodes.support.shape
    support = episodes.support.reshape(n_tasks, -1)
    if classifier == "paper":
        targets = np.repeat(np.arange(n_ways), n_shots)
        chosen = np.hstack([features[:, head] for head in heads])
        width = features[:, heads[0]].shape[1]
        masses = [np.abs(paper_classifier(chosen[task], targets).coef_).sum(0) for task in support]
        return np.array([[mass[:width].sum(), mass[width:].sum()] / mass.sum() for mass in masses])
    if classifier != "ridge":
        raise ValueError(f"classifier is {classifier!r}; expected ridge or paper")
    columns = [torch.from_numpy(features[:, head]) for head in heads]
    found = []
    for chunk in torch.from_numpy(support).split(max(1, CHUNK // (support.shape[1] * features.shape[1]))):
        parts = [unit(column[chunk].double()) for column in columns]
        kernel = sum((part @ part.mT for part in parts), torch.zeros(()))
        duals = ridge_duals(kernel, n_ways, n_shots) * values(kernel, n_ways, n_shots)[:, None]
        mass = torch.stack([(part.mT @ duals).abs().sum((1, 2)) for part in parts], 1)
        found.append(mass / mass.sum(1, keepdim=True))
    return torch.cat(found).numpy()


def compare(
    features: Sequence[np.ndarray],
    heads: list[slice],
    names: Sequence[str],
    fit: Sequence[Episodes],
    test: Sequence[Episodes],
    n_paper: int,
) -> Mixes:
    """Fit the mix on each set, and try it on each; n_paper tasks a set are given to the paper's classifier, which is slow."""
    pairs = list(zip(features, fit, test, strict=True))
    fitted = np.array([accuracies(vectors, heads, tasks).mean(1) for vectors, tasks, _ in pairs])  # [n_sets, n_shares]
    best = fitted.argmax(1)
    for_others = (fitted.sum(0) - fitted).argmax(1)
    curves = [100 * accuracies(vectors, heads, tasks) for vectors, _, tasks in pairs]
    equal = len(SHARES) // 2
    gains = [[curve[share] - curve[equal] for curve in curves] for share in best]
    few = [Episodes(tasks.support[:n_paper], tasks.query[:n_paper]) for tasks in test]
    return Mixes(
        n_shots=test[0].support.shape[2],
        data=list(names),
        accuracies=[curve.mean(1).tolist() for curve in curves],
        best=[float(SHARES[share]) for share in best],
        transfer=[[float(gain.mean()) for gain in row] for row in gains],
        intervals=[[interval(gain) for gain in row] for row in gains],
        left_out=[float((curve[share] - curve[equal]).mean()) for curve, share in zip(curves, for_others, strict=True)],
        weights=[float(head_weights(x, heads, tasks)[:, 0].mean()) for x, tasks in zip(features, test, strict=True)],
        paper_weights=[
            float(head_weights(x, heads, tasks, "paper")[:, 0].mean()) for x, tasks in zip(features, few, strict=True)
        ],
        spread=[
            float(own / (own + other)) for own, other in ([x[:, h].std(0).mean() for h in heads] for x in features)
        ],
    )
