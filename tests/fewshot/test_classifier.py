"""The few-shot classifier: scikit-learn's contract, the mathematics against slow oracles, bad input, and what it says of itself."""

from __future__ import annotations

import json
import math
import subprocess
import sys
import time
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from clusters import clusters
from scipy.optimize import minimize
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer
from sklearn.utils.estimator_checks import check_estimator

from mtslvr.fewshot import FewShotClassifier, calibration, linear, novelty
from mtslvr.fewshot.report import Report, wilson

# scikit-learn's contract


@pytest.mark.parametrize("method", linear.METHODS)
@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # some checks pass infinities on purpose
def test_check_estimator(method: str) -> None:
    checks = check_estimator(FewShotClassifier(method=method), on_skip=None)
    assert {check["check_name"] for check in checks if check["status"] == "skipped"} <= {
        "check_array_api_input",  # only with SCIPY_ARRAY_API set
        "check_classifier_data_not_an_array",  # only with pandas
    }
    assert not [check for check in checks if check["status"] not in ("passed", "skipped")]
    assert len(checks) > 50


def test_pipeline_grid_search_and_clone() -> None:
    X, y = clusters()
    names = np.array(["a", "bee", "c", "d"])[y]
    pipeline = make_pipeline(FunctionTransformer(), FewShotClassifier())
    assert cross_val_score(pipeline, X, names, cv=3).mean() > 0.9
    search = GridSearchCV(FewShotClassifier(), {"method": linear.METHODS, "space": ["combined", "variant"]}, cv=2)
    assert search.fit(X, names).best_score_ > 0.9
    copy = clone(FewShotClassifier(space="variant", C=3.0))
    assert copy.get_params()["space"] == "variant" and copy.C == 3.0


@pytest.mark.parametrize("method", linear.METHODS)
def test_many_whole_numbers_for_labels_are_no_regression(method: str) -> None:
    """scikit-learn warns of more than 20 classes with a clip or two each; warnings are errors here."""
    X = np.eye(30, 40)
    assert FewShotClassifier(method=method).fit(X, np.arange(30)).predict(X).tolist() == list(range(30))


def test_importing_it_does_not_import_torch() -> None:
    code = "import sys, mtslvr.fewshot; print('torch' in sys.modules, 'matplotlib' in sys.modules)"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=Path(__file__).parents[2])
    assert out.stdout.split() == ["False", "False"], out.stderr


# labels


@pytest.mark.parametrize(
    "names",
    [["dog", "cat", "owl", "pig"], [3, -1, 7, 2], [0.0, 4.0, 2.0, 1.0], [("a", 1), ("b", 2), ("a", 2), ("c", 0)]],
    ids=["str", "int", "float", "tuple"],
)
def test_labels_come_back_as_they_came(names: list[Any]) -> None:
    X, y = clusters()
    given = [names[number] for number in y]
    classifier = FewShotClassifier().fit(X, given)
    named = classifier.predict(X).tolist()
    assert named == given and type(named[0]) is type(given[0])
    assert classifier.classes_.tolist() == sorted(names)
    assert [given[i] for i in np.flatnonzero(classifier.predict_proba(X)[:, 0] > 0.5)] == [min(names)] * 6


def test_boolean_labels() -> None:
    X, y = clusters(n_classes=2)
    assert FewShotClassifier().fit(X, y == 1).predict(X).dtype == bool


# the mathematics


@pytest.mark.parametrize("method", linear.METHODS)
@pytest.mark.parametrize("shots", [1, 5])
def test_learns(method: str, shots: int) -> None:
    X, y = clusters(shots=shots, noise=0.8)
    queries, truth = clusters(shots=50, noise=0.8, seed=1)
    classifier = FewShotClassifier(method=method).fit(X, y)
    probabilities = classifier.predict_proba(queries)
    np.testing.assert_allclose(probabilities.sum(1), 1)
    np.testing.assert_array_equal(probabilities.argmax(1), classifier.predict(queries))
    assert classifier.score(queries, truth) > (0.7 if shots == 1 else 0.95)


def values(features: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """What a clip of each class is worth, 1 in the mean over clips: n clips n / (n + 8), near-duplicates among them counted once."""
    worth = []
    for number in range(targets.max() + 1):
        clips = features[targets == number]
        unit = [clip / np.linalg.norm(clip) for clip in clips]
        n_different = sum(1 / sum(float(a @ b) > 0.9 for b in unit) for a in unit)
        worth.append(n_different / (n_different + 8) / len(clips))
    return np.array(worth) / np.mean([worth[number] for number in targets])


@pytest.mark.parametrize("shape", [(12, 30), (40, 6)], ids=["wide", "tall"])
def test_ridge_minimises_its_loss(shape: tuple[int, int]) -> None:
    rng = np.random.default_rng(0)
    features, targets = rng.standard_normal(shape), np.arange(shape[0]) % 7 % 3  # 3 classes, unbalanced
    found = linear.fit("ridge", features, targets, 10.0)
    scale = values(features, targets)
    for number in range(3):

        def loss(w: np.ndarray, number: int = number) -> float:
            errors = (targets == number) - features @ w[:-1] - w[-1]
            return float((errors**2).sum() + (w[:-1] ** 2).sum() / 10.0)

        best = minimize(loss, np.zeros(shape[1] + 1), options={"gtol": 1e-8}).x
        np.testing.assert_allclose(found.weights[number], scale[number] * best[:-1], atol=1e-5)
    middle = sum(scale[number] * features[targets == number].sum(0) for number in range(3)) / len(targets)
    np.testing.assert_allclose(found.weights @ middle + found.biases, 0, atol=1e-12)


# Class 2 has one clip; class 0 is all of group 3, which holds clips of class 1 too.
GROUPED = np.array([0, 0, 1, 1, 1, 1, 2, 3, 3, 3, 3]), np.array([3, 3, 3, 4, 4, 5, 6, 7, 8, 8, 9])


@pytest.mark.parametrize("method", linear.METHODS)
@pytest.mark.parametrize("width", [4, 30], ids=["tall", "wide"])
@pytest.mark.parametrize("grouped", [False, True], ids=["clips", "groups"])
def test_leave_one_out_is_a_fit_without_the_clip(method: str, width: int, grouped: bool) -> None:
    rng = np.random.default_rng(0)
    targets, groups = GROUPED if grouped else (np.array([0, 0, 1, 1, 1, 1, 2, 3, 3, 3, 3]), np.arange(11))
    features = rng.standard_normal((11, width))
    features[[3, 8, 9]] = features[[4, 7, 7]] + 0.1  # near-duplicates, of other groups and of the same
    features = linear.unit_heads(features, [width])
    scores = linear.leave_out(linear.fit(method, features, targets, 10.0), targets, groups)
    unjudged = [0, 1, 6] if grouped else [6]  # no other clip of their class
    np.testing.assert_array_equal(np.flatnonzero(np.isnan(scores).any(1)), unjudged)
    for i in np.setdiff1d(np.arange(11), unjudged):
        others = np.flatnonzero(groups != groups[i])
        known, numbers = np.unique(targets[others], return_inverse=True)
        again = linear.fit(method, features[others], numbers, 10.0)
        expected = np.full(4, -np.inf)
        expected[known] = again.weights @ features[i] + again.biases
        found = scores[i, known] - scores[i, known].max()  # what all classes share is free
        expected = expected[known] - expected[known].max()
        np.testing.assert_allclose(found, expected, atol=1e-3 if method == "logistic" else 1e-6)
        assert np.isneginf(np.delete(scores[i], known)).all()


@pytest.mark.parametrize("method", linear.METHODS)
def test_the_report_is_that_of_classifiers_fitted_without_each_clip(method: str) -> None:
    """README's own case, two classes of two clips, and others, by the estimator itself."""
    for n_classes, shots in ((2, 2), (5, 2), (3, 4)):
        X, y = clusters(n_classes=n_classes, shots=shots, noise=2.5)
        report = FewShotClassifier(method=method).fit(X, y).report()
        others = [np.arange(len(y)) != i for i in range(len(y))]
        again = [FewShotClassifier(method=method).fit(X[o], y[o]).predict(X[~o])[0] for o in others]
        assert report.named == again


def test_groups_are_left_out_together() -> None:
    """Recordings that sound like themselves and not like their class: without groups the report is far too good."""
    rng = np.random.default_rng(0)
    recordings = np.repeat(np.arange(24), 2)
    X = np.repeat(rng.standard_normal((24, 40)), 2, 0) + 0.1 * rng.standard_normal((48, 40))
    y = recordings % 3
    apart, mixed = FewShotClassifier().fit(X, y, groups=recordings), FewShotClassifier().fit(X, y)
    assert mixed.report().accuracy > 0.9 and apart.report().accuracy < 0.6  # chance is 1/3
    assert mixed.temperature_ < apart.temperature_ / 2, "nor may it be so sure"
    np.testing.assert_array_equal(apart.coef_, mixed.coef_)
    named = FewShotClassifier().fit(X, y, groups=[f"recording {number}" for number in recordings])
    assert named.report().named == apart.report().named
    for groups, message in ((recordings[1:], "48 examples in X, and 47 groups"), ([None] * 48, "example 0 has none")):
        with pytest.raises(ValueError, match=message):
            FewShotClassifier().fit(X, y, groups=groups)


@pytest.mark.parametrize("method", linear.METHODS)
def test_adding_is_fitting_on_all(method: str) -> None:
    X, y = clusters(n_classes=5, noise=2.0)
    names, groups = np.array(list("abcde"))[y], np.arange(30) // 2
    new = np.flatnonzero((y == 4) | (np.arange(30) % 3 == 0))  # a new class, and more of those known
    old = np.setdiff1d(np.arange(30), new)
    grown = FewShotClassifier(method=method).fit(X[old], names[old], groups=groups[old])
    assert grown.add(X[new], names[new], groups=groups[new]) is grown
    order = np.concatenate([old, new])
    whole = FewShotClassifier(method=method).fit(X[order], names[order], groups=groups[order])
    assert grown.classes_.tolist() == list("abcde")
    np.testing.assert_allclose(grown.predict_proba(X), whole.predict_proba(X), atol=1e-6)
    assert grown.report() == whole.report()
    alone = FewShotClassifier(method=method).fit(X[old], names[old]).add(X[new], names[new])
    assert len(set(alone.groups_)) == 30, "without groups each clip is one"


def test_what_cannot_be_added_changes_nothing() -> None:
    X, y = clusters()
    classifier = FewShotClassifier().fit(X, y)
    before = classifier.predict_proba(X)
    for extra, labels, error, message in (
        (X[:2], ["dog", "cat"], TypeError, "several types"),
        (X[:2], [1], ValueError, "2 examples in X, and 1 labels"),
        (X[:2, 1:], [1, 1], ValueError, "39 features"),
        (X[:2] * np.nan, [1, 1], ValueError, "NaN"),
    ):
        with pytest.raises(error, match=message):
            classifier.add(extra, labels)
    np.testing.assert_array_equal(classifier.predict_proba(X), before)
    with pytest.raises(NotFittedError):
        FewShotClassifier().add(X, y)


def test_centroid_is_the_nearest_mean() -> None:
    X, y = clusters(noise=3.0)
    queries, _ = clusters(shots=20, noise=3.0, seed=1)
    classifier = FewShotClassifier(method="centroid").fit(X, y)
    heads = [queries[:, :20], queries[:, 20:]]
    features = np.hstack([head / np.linalg.norm(head, axis=1, keepdims=True) for head in heads])
    means = np.stack([classifier.support_[y == number].mean(0) for number in range(4)])
    slow = [np.argmin([np.linalg.norm(feature - mean) for mean in means]) for feature in features]
    np.testing.assert_array_equal(classifier.predict(queries), slow)


def test_one_shot_is_the_nearest_neighbour_by_cosine() -> None:
    X, y = clusters(n_classes=12, shots=1, noise=3.0)
    X -= 7
    queries = clusters(n_classes=12, shots=20, noise=3.0, seed=1)[0] - 7
    unit = [np.hstack([h / np.linalg.norm(h, axis=1, keepdims=True) for h in np.split(x, 2, 1)]) for x in (X, queries)]
    found = FewShotClassifier(method="centroid").fit(X, y).predict(queries)
    np.testing.assert_array_equal(found, y[(unit[1] @ unit[0].T).argmax(1)])


def test_heads_count_alike() -> None:
    X, y = clusters()
    stretched = X * np.repeat([1000, 0.01], 20).astype(np.float32)
    plain, scaled = FewShotClassifier().fit(X, y), FewShotClassifier().fit(stretched, y)
    np.testing.assert_allclose(plain.predict_proba(X), scaled.predict_proba(stretched), atol=1e-4)
    assert plain.head_weights_ == pytest.approx(scaled.head_weights_, abs=1e-3)


def test_head_weights_show_the_head_that_matters() -> None:
    X, y = clusters(shots=5, noise=0.5)
    X[:, :20] = np.random.default_rng(3).standard_normal((len(X), 20))  # nothing to learn in the invariant head
    classifier = FewShotClassifier().fit(X, y)
    assert sum(classifier.head_weights_.values()) == pytest.approx(1)
    assert classifier.head_weights_["variant"] > 0.55
    assert FewShotClassifier(space="variant").fit(X, y).head_weights_ == {"variant": 1.0}
    assert FewShotClassifier(n_invariant=0).fit(X, y).head_weights_ == {"combined": 1.0}
    assert FewShotClassifier().fit(X[:, 1:], y).head_weights_ == {"combined": 1.0}, "an odd width is one head"


@pytest.mark.parametrize(("space", "columns"), [("invariant", slice(0, 8)), ("variant", slice(8, 40))])
def test_space_chooses_columns(space: str, columns: slice) -> None:
    X, y = clusters()
    part = FewShotClassifier(space=space, n_invariant=8).fit(X, y)
    alone = FewShotClassifier(n_invariant=0).fit(X[:, columns], y)
    np.testing.assert_allclose(part.predict_proba(X), alone.predict_proba(X[:, columns]), atol=1e-12)


def test_unbalanced_shots_do_not_favour_the_large_class() -> None:
    X, y = clusters(n_classes=2, shots=41, noise=4.0)
    queries, _ = clusters(n_classes=2, shots=200, noise=4.0, seed=1)
    chosen = np.r_[0:41, 41:43]  # 41 shots against 2
    named = FewShotClassifier().fit(X[chosen], y[chosen]).predict(queries)
    assert 0.25 < (named == 0).mean() < 0.75


def recall(X: np.ndarray, y: np.ndarray, queries: np.ndarray, truth: np.ndarray) -> np.ndarray:
    named = FewShotClassifier().fit(X, y).predict(queries)
    return np.array([(named == number)[truth == number].mean() for number in range(truth.max() + 1)])


@pytest.mark.parametrize("noise", [1.0, 3.0])
def test_classes_of_unequal_size_are_on_a_level(noise: float) -> None:
    """Recall may not hang on the number of examples more than what they teach; with wide classes and with tight ones."""
    found = []
    for seed in range(30):
        means = np.random.default_rng([seed, 1]).standard_normal((2, 200))
        rng = np.random.default_rng(seed)
        y, truth = np.repeat([0, 1], [3, 30]), np.repeat([0, 1], 50)
        X, queries = (means[c] + noise * rng.standard_normal((len(c), 200)) for c in (y, truth))
        found.append(recall(X, y, queries, truth))
    assert abs(np.diff(np.mean(found, 0))[0]) < 0.1, np.mean(found, 0)


def test_near_duplicates_do_not_make_a_class_smaller() -> None:
    """A motor heard twenty times says as much of it as heard once: its new sounds are no alarms, for all that they differ from those."""
    found = []
    for seed in range(30):
        rng = np.random.default_rng(seed)
        means = rng.standard_normal((2, 200))
        y, truth = np.repeat([0, 1], [3, 60]), np.repeat([0, 1], 50)
        X, queries = (means[c] + 2 * rng.standard_normal((len(c), 200)) for c in (y, truth))
        X[3:] = np.repeat(X[3:6], 20, 0) + 0.1 * rng.standard_normal((60, 200))
        found.append(recall(X, y, queries, truth))
    assert abs(np.diff(np.mean(found, 0))[0]) < 0.1, np.mean(found, 0)


def test_the_order_and_company_of_queries_do_not_count() -> None:
    X, y = clusters()
    classifier = FewShotClassifier().fit(X, y)
    together = classifier.predict_proba(X)
    alone = np.vstack([classifier.predict_proba(x[None]) for x in X[::-1]])[::-1]
    np.testing.assert_allclose(together, alone, atol=1e-12)


def test_probabilities_are_calibrated_to_the_task() -> None:
    easy, hard = (FewShotClassifier().fit(*clusters(shots=10, noise=noise)) for noise in (0.5, 6.0))
    assert easy.temperature_ < hard.temperature_
    queries, truth = clusters(shots=200, noise=6.0, seed=1)
    probabilities = hard.predict_proba(queries)
    assert abs(probabilities.max(1).mean() - (probabilities.argmax(1) == truth).mean()) < 0.12


@pytest.mark.parametrize("n_classes", [2, 5, 20, 100, 1000])
def test_at_one_shot_an_example_is_recognised_whatever_the_number_of_classes(n_classes: int) -> None:
    """Heard again, in noise, it must pass the threshold of `detect`, 0.5; what is like nothing known must not."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((n_classes, 1000))
    probabilities = (classifier := FewShotClassifier().fit(X, np.arange(n_classes))).predict_proba(
        X + 0.3 * rng.standard_normal(X.shape)
    )
    assert np.diag(probabilities).min() > 0.8
    if n_classes > 2:
        assert classifier.predict_proba(rng.standard_normal((200, 1000))).max(1).mean() < 0.55


@pytest.mark.parametrize("method", linear.METHODS)
@pytest.mark.parametrize(("n_classes", "shots"), [(2, 1), (5, 1), (20, 1), (100, 1), (5, 5), (20, 20)])
def test_confidence_is_accuracy(method: str, n_classes: int, shots: int) -> None:
    """Classes that overlap: neither the number of classes nor that of shots, nor the method, may shift it far."""
    right, sure = [], []
    for seed in range(400 // n_classes if method != "logistic" else 20):
        rng = np.random.default_rng(seed)
        means = rng.standard_normal((n_classes, 24))
        y = np.repeat(np.arange(n_classes), shots)
        X, queries = (means[c] + rng.standard_normal((len(c), 24)) for c in (y, np.arange(n_classes)))
        probabilities = FewShotClassifier(method=method).fit(X, y).predict_proba(queries)
        right.append(probabilities.argmax(1) == np.arange(n_classes))
        sure.append(probabilities.max(1))
    assert abs(np.mean(right) - np.mean(sure)) < 0.2, (np.mean(right), np.mean(sure))


@pytest.mark.parametrize("factor", [0.1, 10])
def test_few_clips_do_not_decide_the_temperature(factor: float) -> None:
    """One clip that can be left out says little: what is usual holds; hundreds decide."""
    rng = np.random.default_rng(0)
    scores = np.zeros((600, 3))
    scores[:, 0] = rng.logistic(2.0, 1.0, 600)  # the first class is right, its temperature is about 1
    for n_clips, near in ((1, factor), (600, 1.0)):
        targets = np.r_[np.zeros(n_clips + 1, int), 1, 2]
        held_out = np.vstack([scores[:n_clips], np.full((3, 3), np.nan)])
        found = calibration.temperature(factor, held_out, targets, np.arange(n_clips + 3), np.random.RandomState(0))
        assert 0.4 * near < found < 2.5 * near


# open set


def test_reject() -> None:
    X, y = clusters(n_classes=6, noise=0.7)
    queries, truth = clusters(n_classes=6, shots=30, noise=0.7, seed=1)
    known = np.array(list("abcd"))
    classifier = FewShotClassifier().fit(X[y < 4], known[y[y < 4]])
    answers = classifier.predict(queries, reject="auto")
    assert answers.dtype == object
    assert np.mean(answers[truth >= 4] == "unknown") > 0.8
    assert np.mean(answers[truth < 4] == known[truth[truth < 4]]) > 0.8
    np.testing.assert_array_equal(answers, classifier.predict(queries, reject=classifier.threshold_))
    assert set(classifier.predict(queries, reject=1e-9, unknown_label=-1)) == {-1}
    np.testing.assert_array_equal(classifier.predict(queries, reject=1e9), classifier.predict(queries))
    for wrong in ("automatic", 0, -1.0, float("nan"), True):
        with pytest.raises(ValueError, match=r"expected None, 'auto' or a number above 0"):
            classifier.predict(queries, reject=wrong)


def test_novelty_against_a_slow_oracle() -> None:
    rng = np.random.default_rng(0)
    support, targets = rng.standard_normal((9, 3)), np.array([0, 0, 0, 1, 1, 1, 2, 2, 3])
    queries = rng.standard_normal((50, 3))
    slow = [min(np.linalg.norm(query - clip) for clip in support) for query in queries]
    np.testing.assert_allclose(novelty.nearest(queries, support), slow)
    others = [
        [np.linalg.norm(clip - other) for other in support[targets != t]]
        for clip, t in zip(support, targets, strict=True)
    ]
    random, alone = np.random.RandomState(0), np.arange(9)
    unit, threshold = novelty.measure(support, targets, alone, random)
    assert unit == pytest.approx(np.median([min(row) for row in others]))
    strangers = np.array([min(row) for row in others])
    known = np.array([min(np.linalg.norm(support[i] - support[j]) for j in range(9) if j != i) for i in range(8)])
    accepted, rejected = np.mean(strangers <= threshold * unit + 1e-9), np.mean(known > threshold * unit + 1e-9)
    assert abs(accepted - rejected) <= 1 / 8 + 1e-9
    # With groups the clips of one are no acquaintances of each other.
    groups = np.array([0, 0, 1, 2, 3, 4, 5, 5, 6])
    unit, threshold = novelty.measure(support, targets, groups, random)
    known = np.array(
        [min(np.linalg.norm(support[i] - support[j]) for j in range(9) if groups[j] != groups[i]) for i in range(6)]
    )
    accepted, rejected = np.mean(strangers <= threshold * unit + 1e-9), np.mean(known > threshold * unit + 1e-9)
    assert abs(accepted - rejected) <= 1 / 6 + 1e-9
    assert novelty.measure(support[[0, 3, 6]], np.arange(3), np.arange(3), random)[1] == novelty.THRESHOLD


def test_blocks_do_not_change_novelty(monkeypatch: pytest.MonkeyPatch) -> None:
    X, y = clusters()
    features = X.astype(np.float64)
    alone, random = np.arange(len(y)), np.random.RandomState(0)
    whole = novelty.measure(features, y, alone, random), novelty.nearest(features + 1, features)
    monkeypatch.setattr(novelty, "BLOCK", 50)
    assert novelty.measure(features, y, alone, random) == pytest.approx(whole[0])
    np.testing.assert_allclose(novelty.nearest(features + 1, features), whole[1], rtol=1e-6)


@pytest.mark.parametrize("module", [calibration, novelty])
def test_subsets_are_random_and_not_strided(module: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    """Classes in turn: every second or fourth clip is of one class, which alone is easy."""
    X, y = clusters(n_classes=4, shots=100, noise=3.0)
    X, y = X.reshape(4, 100, -1).swapaxes(0, 1).reshape(400, -1), y.reshape(4, 100).T.ravel()
    easy = y == 0
    X[easy] = X[easy].mean(0)
    whole = FewShotClassifier().fit(X, y)
    monkeypatch.setattr(module, "MAX_CLIPS", 100)
    some = FewShotClassifier().fit(X, y)
    assert some.temperature_ == pytest.approx(whole.temperature_, rel=0.3)
    assert some.threshold_ == pytest.approx(whole.threshold_, rel=0.1)
    assert some.unit_ == pytest.approx(whole.unit_, rel=0.1)
    again, other = FewShotClassifier().fit(X, y), FewShotClassifier(random_state=1).fit(X, y)
    figures = [(fitted.temperature_, fitted.unit_, fitted.threshold_) for fitted in (some, again, other)]
    assert figures[0] == figures[1] != figures[2]


# bad input


def test_bad_input() -> None:
    X, y = clusters()
    fitted = FewShotClassifier().fit(X, y)
    with pytest.raises(NotFittedError):
        FewShotClassifier().predict(X)
    with pytest.raises(NotFittedError):
        FewShotClassifier().report()
    with pytest.raises(ValueError, match="X has 39 features, but FewShotClassifier is expecting 40 features"):
        fitted.predict(X[:, 1:])
    with pytest.raises(ValueError, match=r"24 in X, and 23 labels in y; give one for each"):
        FewShotClassifier().fit(X, y[1:])
    with pytest.raises(ValueError, match="contains NaN"):
        FewShotClassifier().fit(np.where(X[3, 3] == X, np.nan, X), y)
    with pytest.raises(ValueError, match="contains NaN"):
        fitted.predict(np.full((1, 40), np.nan))
    with pytest.raises(ValueError, match=r"one class only .*'dog'.*at least two"):
        FewShotClassifier().fit(X, ["dog"] * len(X))
    with pytest.raises(TypeError, match=r"several types \(int, str\)"):
        FewShotClassifier().fit(X, ["dog", 1] * 12)
    with pytest.raises(TypeError, match=r"several types \(bool, int\)"):
        FewShotClassifier().fit(X, [True, 2] * 12)
    with pytest.raises(ValueError, match="Expected 2D array, got 1D"):
        fitted.predict(X[0])
    with pytest.raises(ValueError, match="Unknown label type"):
        FewShotClassifier().fit(X, np.linspace(0, 1, len(X)))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"space": "both"}, "space='both': expected one of combined, invariant, variant"),
        ({"method": "svm"}, "method='svm': expected one of ridge"),
        ({"C": 0.0}, "C=0.0: expected a number above 0"),
        ({"C": float("inf")}, "C=inf: expected a number above 0"),
        ({"n_invariant": 41}, "n_invariant=41: expected 0 to 40"),
        ({"n_invariant": 2.5}, "n_invariant=2.5: expected 0 to 40"),
        ({"n_invariant": 0, "space": "variant"}, "space is 'variant'; this model has 'combined'"),
    ],
)
def test_bad_settings(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        FewShotClassifier(**settings).fit(*clusters())


@pytest.mark.parametrize("method", linear.METHODS)
def test_embeddings_that_are_all_alike(method: str) -> None:
    classifier = FewShotClassifier(method=method).fit(np.ones((4, 10)), [0, 0, 1, 1])
    np.testing.assert_allclose(classifier.predict_proba(np.ones((1, 10))), 0.5, atol=0.01)  # SGD is never quite there
    assert classifier.report().to_dict()["clips"] == 4


# speed


def test_speed() -> None:
    X, y = clusters(n_classes=5, shots=5, width=1000)

    def fastest(classifier: FewShotClassifier) -> float:
        times = []
        for _ in range(7):
            start = time.perf_counter()
            classifier.fit(X, y)
            times.append(time.perf_counter() - start)
        return min(times)

    assert fastest(FewShotClassifier()) < 0.05
    assert fastest(FewShotClassifier(method="centroid")) < 0.05


@pytest.mark.slow
def test_many_classes_take_seconds() -> None:
    X, y = clusters(n_classes=400, shots=10, width=400)
    start = time.process_time()
    FewShotClassifier().fit(X, y)
    assert time.process_time() - start < 4


# report


def test_report() -> None:
    X, y = clusters(shots=6, noise=0.7)
    names = np.array(["cat", "dog", "owl", "pig"])[y]
    names[2] = "dog"  # a cat
    X, names = np.vstack([X, -X[:1]]), np.append(names, "yak")  # a class of one clip
    report = FewShotClassifier().fit(X, names).report()
    found = report.to_dict()
    assert (found["clips"], found["judged"]) == (25, 24)
    assert found["suspects"][0][:3] == [2, "dog", "cat"]
    assert ["dog", "cat", 1] in found["confusions"]
    assert found["low"] < found["accuracy"] < found["high"]
    rows = {row["label"]: row for row in found["per_class"]}
    assert rows["yak"] == {
        **rows["yak"],
        "clips": 1,
        "judged": 0,
        "right": 0,
        "accuracy": None,
        "low": None,
        "high": None,
    }
    assert rows["dog"]["clips"] == 7 and rows["dog"]["right"] == 6
    assert json.loads(json.dumps(found)) == found
    text = str(report)
    assert "look again at clip 2, labelled dog: the others say cat" in text
    assert "record next: " in text and "24 tested by leave-one-out" in text
    assert max(map(len, text.splitlines())) <= 80


@pytest.mark.parametrize(("n_classes", "shots"), [(2, 2), (5, 2), (5, 6)])
def test_right_labels_are_not_suspected_and_swapped_ones_are(n_classes: int, shots: int) -> None:
    rng = np.random.default_rng(0)
    accused, caught, n_swapped = 0, 0, 0
    for seed in range(30):
        X, y = clusters(n_classes=n_classes, shots=shots, noise=1.5, seed=seed)
        accused += len(FewShotClassifier().fit(X - 7, y).report().suspects)
        swapped = rng.integers(len(y))
        wrong = np.where(np.arange(len(y)) == swapped, (y + 1) % n_classes, y)
        suspects = {clip for clip, *_ in FewShotClassifier().fit(X - 7, wrong).report().suspects}
        caught, n_swapped = caught + (swapped in suspects), n_swapped + 1
    assert accused <= 0.01 * 30 * n_classes * shots
    assert caught > n_swapped * (0.1 if shots == 2 else 0.5)


def test_report_of_one_clip_a_class() -> None:
    report = FewShotClassifier().fit(*clusters(shots=1)).report()
    assert "accuracy unknown" in str(report) and report.to_dict()["accuracy"] is None


def test_report_wants_recordings_where_they_help() -> None:
    X, y = clusters(n_classes=4, shots=6, noise=0.5)
    X[y == 1] = X[y == 0] + 0.01  # two classes that cannot be told apart
    report = FewShotClassifier().fit(X, y).report()
    assert set(report.record_next[:2]) == {0, 1}
    assert {pair[:2] for pair in report.confusions} <= {(0, 1), (1, 0)}


def test_the_interval_counts_groups_and_a_class_of_one_group_is_not_tested() -> None:
    X, y = clusters(n_classes=3, shots=8, noise=2.0)
    groups = np.arange(24) // 4
    groups[:8] = 0  # all of class 0
    grouped = FewShotClassifier().fit(X, y, groups=groups).report()
    text = str(grouped)
    assert "24 clips of 3 classes from 5 groups; 16 tested by leave-one-group-out" in text
    assert [row["judged"] for row in grouped.per_class] == [0, 8, 8] and math.isnan(grouped.per_class[0]["low"])
    assert grouped.interval() == pytest.approx(wilson(round(4 * grouped.accuracy), 4))
    alone = FewShotClassifier().fit(X, y, groups=y).report()
    assert "accuracy unknown: no class has two groups" in str(alone)


def test_near_duplicates_are_told_and_what_they_mean() -> None:
    rng = np.random.default_rng(0)
    recordings = np.repeat(np.arange(24), 2)
    X = np.repeat(rng.standard_normal((24, 40)), 2, 0) + 0.1 * rng.standard_normal((48, 40))
    y = recordings % 3
    report = FewShotClassifier().fit(X, y).report()
    assert report.duplicates is not None
    first, second, n_clips, accuracy = report.duplicates
    assert recordings[first] == recordings[second] and n_clips == 48
    apart = FewShotClassifier().fit(X, y, groups=recordings).report()
    assert accuracy == apart.accuracy < report.accuracy - 0.3
    assert apart.duplicates is None, "who names groups has been asked"
    text = " ".join(str(report).split())
    assert f"48 clips are near-duplicates within their class, such as clip {first} and clip {second}" in text
    assert f"left out together, accuracy is {accuracy:.1%}" in text
    assert report.to_dict()["near_duplicates"] == [first, second, 48, accuracy]
    X, y = clusters(noise=3.0)
    assert FewShotClassifier().fit(X, y).report().duplicates is None
    twins = FewShotClassifier().fit(np.vstack([X, X[:1]]), np.append(y, y[0])).report()
    assert twins.duplicates is not None and twins.duplicates[:3] == (0, 24, 2)


def test_wilson_interval() -> None:
    assert wilson(8, 10) == pytest.approx((0.4902, 0.9433), abs=1e-4)  # Wilson's formula as in Newcombe 1998
    assert wilson(0, 10)[0] == 0.0 and wilson(10, 10)[1] == 1.0
    low, high = wilson(5, 10)
    assert low + high == pytest.approx(1)


@pytest.mark.parametrize(("n_classes", "shots"), [(2, 3), (4, 6), (40, 2), (3, 1)])
def test_plot(tmp_path: Path, n_classes: int, shots: int) -> None:
    pytest.importorskip("matplotlib")
    report = FewShotClassifier().fit(*clusters(n_classes=n_classes, shots=shots)).report()
    assert np.array(report.places).shape == (n_classes * shots, 2)
    report.plot(tmp_path / "report.png")
    assert (tmp_path / "report.png").read_bytes().startswith(b"\x89PNG")


def test_map_shows_what_separates() -> None:
    rng = np.random.default_rng(0)
    targets = np.repeat(np.arange(3), 10)
    features = rng.standard_normal((30, 50))
    features[:, :2] += 9 * np.array([[1, 0], [0, 1], [-1, -1]])[targets]
    places = np.array(
        Report.of([0, 1, 2], targets, np.arange(30), np.full(30, -1), np.zeros(30), np.zeros(30), features).places
    )
    means = np.stack([places[targets == number].mean(0) for number in range(3)])
    nearest = np.linalg.norm(places[:, None] - means, axis=2).argmin(1)
    np.testing.assert_array_equal(nearest, targets)
