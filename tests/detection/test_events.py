"""Events in a recording: their times on recordings where these are known, and what is done with bad input."""

from __future__ import annotations

import math
import tracemalloc
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mtslvr import events
from mtslvr.detection.steps import averaged, merged
from mtslvr.encoder.spaces import Spaces
from mtslvr.events import Event, detect, detect_like
from mtslvr.fewshot import FewShotClassifier
from mtslvr.storage.assets import DEMO_RECORDINGS

RATE = 16_000
CLASSES = ["cat", "dog", "rain"]  # sounds of 0.1, 0.2 and 0.3 throughout; anything else is strange
STRANGE = 0.4


class Encoder:
    """Embeds a window as the shares of the sounds in it, and remembers how many it was asked for."""

    training = False
    device = torch.device("cpu")
    spaces = Spaces(4)

    def __init__(self) -> None:
        self.asked = 0

    def __call__(self, waves: torch.Tensor, space: str) -> torch.Tensor:
        self.asked += len(waves)
        assert waves.shape[1] == 5 * RATE and waves.dtype == torch.float32 and space == "combined"
        levels = torch.tensor([0.1, 0.2, 0.3, STRANGE])
        return (waves[:, None] - levels[:, None]).abs().le(0.01).float().mean(2)

    def embed(self, clips: Sequence[tuple[np.ndarray, int]], **options: Any) -> np.ndarray:
        waves = np.stack([np.resize(wave, 5 * RATE) for wave, _ in clips])
        return self(torch.from_numpy(waves), "combined").numpy()


class Shares:
    """Takes these shares for probabilities; what is half strange is new to it."""

    threshold = 1.0
    support, targets = np.eye(4)[:3], np.arange(3)

    def probabilities(self, features: np.ndarray) -> np.ndarray:
        sounds = features[:, :3] + 1e-9
        return sounds / sounds.sum(1, keepdims=True)

    def novelty(self, features: np.ndarray) -> np.ndarray:
        return 4 * features[:, 3]


class Classifier:
    space, seconds_, learned_ = "combined", None, Shares()

    def __init__(self) -> None:
        self.classes_ = np.array(CLASSES)
        self.encoder = Encoder()

    def embedder(self) -> Encoder:
        return self.encoder

    def features_of(self, vectors: np.ndarray) -> np.ndarray:
        return vectors


def recording(*parts: tuple[float, float]) -> tuple[np.ndarray, int]:
    """Parts of (seconds, level), one after the other."""
    return np.concatenate([np.full(round(s * RATE), level, np.float32) for s, level in parts]), RATE


def found(parts: Sequence[tuple[float, float]], classifier: Any = None, **options: Any) -> list[tuple[Any, ...]]:
    options = {"background": None, "window": 1.0} | options
    found = detect(recording(*parts), classifier or Classifier(), **options)
    assert all(0.5 <= event.confidence <= 1 for event in found)
    return [(event.start, event.end, event.label) for event in found]


SCENE = [(3, 0.0), (2, 0.1), (4, 0.0), (1, 0.2), (1, 0.1), (2.5, 0.0), (3, 0.2)]
TRUE = [(3, 5, "cat"), (9, 10, "dog"), (10, 11, "cat"), (13.5, 16.5, "dog")]


@pytest.mark.parametrize(("window", "hop"), [(1.0, 0.25), (1.0, 0.5), (0.5, 0.5), (0.8, 0.3)])
def test_known_times_are_found(window: float, hop: float) -> None:
    events = found(SCENE, window=window, hop=hop)
    assert [label for *_, label in events] == [label for *_, label in TRUE]
    for (start, end, _), (true_start, true_end, _) in zip(events, TRUE, strict=True):
        assert abs(start - true_start) < max(hop, window / 2) + 1e-6
        assert abs(end - true_end) < max(hop, window / 2) + 1e-6


def test_digital_silence_is_no_event_and_costs_nothing() -> None:
    classifier = Classifier()
    with pytest.warns(UserWarning, match="silence"):
        assert found([(20, 0.0)], classifier) == []
    assert classifier.encoder.asked == 0


def test_labels_of_the_background_make_no_event() -> None:
    scene = [(3, 0.3), (2, 0.1), (4, 0.3)]
    assert [label for *_, label in found(scene)] == ["rain", "cat", "rain"]
    for background in ("rain", ["rain"], {"rain", "dog"}):
        assert [label for *_, label in found(scene, background=background)] == ["cat"]


def test_what_is_new_to_the_classifier_is_rejected() -> None:
    scene = [(3, STRANGE), (2, 0.1), (4, STRANGE)]
    assert [label for *_, label in found(scene, reject=None)] == ["cat"] * len(found(scene, reject=None))
    ((start, end, label),) = found(scene, reject="auto")
    assert label == "cat"
    assert abs(start - 3) <= 0.5 and abs(end - 5) <= 0.5


def test_several_sounds_at_once() -> None:
    """Every other sample of a cat and of a dog, between the two alone."""
    both = np.tile(np.float32([0.1, 0.2]), 3 * RATE // 2)
    alone = recording((3, 0.1), (2, 0.0))[0], recording((2, 0.0), (3, 0.2))[0]
    audio = np.concatenate([alone[0], both, alone[1]]), RATE
    options: dict[str, Any] = {"window": 1.0, "background": None}
    events = detect(audio, Classifier(), exclusive=False, **options)  # type: ignore[arg-type]
    assert [(e.label, e.start, e.end) for e in events] == [
        ("cat", 0, pytest.approx(3, abs=1.0)),
        ("cat", pytest.approx(5, abs=1.0), pytest.approx(8, abs=1.0)),
        ("dog", pytest.approx(5, abs=1.0), pytest.approx(8, abs=1.0)),
        ("dog", pytest.approx(10, abs=1.0), 13),
    ]
    one = [e.label for e in detect(audio, Classifier(), **options) if 5.5 < e.start + 1 < 7.5]  # type: ignore[arg-type]
    assert len(one) <= 1, "the likeliest alone"


def test_a_recording_shorter_than_a_window() -> None:
    assert found([(0.3, 0.1)], min_duration=0) == [(0, 0.3, "cat")]
    assert found([(0.3, 0.1)], min_duration=0.5) == []
    assert found([(1 / RATE, 0.1)], min_duration=0) == [(0, 1 / RATE, "cat")]


def test_events_end_where_the_recording_ends() -> None:
    (event,) = found([(7.77, 0.1)])
    assert event == (0, 7.77, "cat")


def test_labels_keep_their_type() -> None:
    classifier = Classifier()
    classifier.classes_ = np.array([3, 5, 8])
    (event,) = detect(recording((2, 0.2)), classifier, background=None)  # type: ignore[arg-type]
    assert event.label == 5 and type(event.label) is int


def test_tuples_are_labels_too() -> None:
    classifier = Classifier()
    classifier.classes_ = np.empty(3, object)
    classifier.classes_[:] = [("a", 1), ("b", 2), ("c", 3)]
    assert detect(recording((2, 0.2)), classifier, background=None)[0].label == ("b", 2)  # type: ignore[arg-type]
    assert detect(recording((2, 0.2)), classifier, background=("b", 2)) == []  # type: ignore[arg-type]


def test_a_number_rejects_what_is_more_novel() -> None:
    scene = [(3, 0.1), (0.6, STRANGE), (3, 0.1)]
    assert len(found(scene, min_duration=0.2)) == 1, "some of each window over the strange part is a cat"
    assert len(found(scene, min_duration=0.2, reject=1.0)) == 2
    assert found(scene, min_duration=0.2, reject=100.0) == found(scene, min_duration=0.2)


def test_a_window_is_computed_once_whatever_is_asked() -> None:
    asked = []
    for options in ({}, {"reject": "auto"}, {"background": "auto", "reject": 1.0}):
        classifier: Any = real_classifier()
        detect(recording((8, 0.3), (2, 0.1)), classifier, window=1.0, hop=0.5, **options)  # type: ignore[arg-type]
        asked.append(classifier.embedder().asked)
    assert asked == [19, 19, 19]


@pytest.mark.parametrize("batch_size", [1, 7, np.int64(4)])
def test_batches_change_nothing_and_silence_keeps_its_place(batch_size: Any) -> None:
    assert found(SCENE, batch_size=batch_size) == found(SCENE)


# Classes that cannot be found, and windows as long as the examples


class Unsure(Shares):
    def probabilities(self, features: np.ndarray) -> np.ndarray:
        return 0.4 * super().probabilities(features)


def test_a_threshold_out_of_reach_is_told() -> None:
    classifier: Any = Classifier()
    classifier.learned_ = Unsure()
    with pytest.warns(
        UserWarning, match=r"3 of 3 classes.*'cat' 0.40.*No event will be found\. Give a lower threshold"
    ):
        assert detect(recording((2, 0.1)), classifier, background=None) == []
    assert len(detect(recording((2, 0.1)), classifier, background=None, threshold=0.3)) == 1
    with pytest.warns(UserWarning, match="2 of 2 classes"):
        detect(recording((2, 0.1)), classifier, background="cat")


def test_the_window_follows_the_length_of_the_examples(monkeypatch: pytest.MonkeyPatch) -> None:
    taken: list[tuple[float, float]] = []
    real = events.heard
    monkeypatch.setattr(
        events,
        "heard",
        lambda *a, window, hop, **k: taken.append((window, hop)) or real(*a, window=window, hop=hop, **k),
    )
    for seconds in (None, 0.1, 0.8, 3.0, 30.0):
        classifier: Any = Classifier()
        classifier.seconds_ = seconds
        detect(recording((6, 0.1)), classifier, background=None)
    detect(recording((6, 0.1)), classifier, background=None, window=2.0)
    assert taken == [(1.0, 0.25), (0.5, 0.125), (0.8, 0.2), (3.0, 0.5), (5.0, 0.5), (2.0, 0.5)]


def test_a_classifier_keeps_the_length_of_its_examples(tmp_path: Path) -> None:
    clips = [str(DEMO_RECORDINGS / kind / f"{i}.ogg") for kind in ("drum", "thunder") for i in (1, 2)]
    classifier = FewShotClassifier().fit(clips, [0, 0, 1, 1])
    assert classifier.seconds_ == pytest.approx(np.median([soundfile.info(clip).duration for clip in clips]), abs=0.01)
    classifier.save_pretrained(tmp_path / "c")
    assert FewShotClassifier.from_pretrained(tmp_path / "c").seconds_ == classifier.seconds_


# The background learned from the recording


def real_classifier(labels: Sequence[Any] = ("cat", "cat", "dog", "dog"), examples: Any = None) -> FewShotClassifier:
    """Fitted to pure sounds of 0.1 and 0.2, in some noise; it has never heard what else there is."""
    X = (
        np.array([[1, 0, 0.1, 0], [1, 0.05, 0, 0.1], [0, 1, 0, 0.1], [0.05, 1, 0.1, 0]])
        if examples is None
        else examples
    )
    classifier = FewShotClassifier(n_invariant=0).fit(X, list(labels))
    encoder: Any = Encoder()
    classifier.embedder = lambda: encoder  # type: ignore[method-assign]
    return classifier


AUTO_SCENE = [(10, 0.3), (2, 0.1), (10, 0.3), (2, 0.2), (10, 0.3)]


@pytest.mark.parametrize("labels", [("cat", "cat", "dog", "dog"), (3, 3, 5, 5), ("auto", "auto", "dog", "dog")])
def test_what_is_usual_in_a_recording_makes_no_event(labels: Sequence[Any]) -> None:
    classifier = real_classifier(labels)
    background = None if "auto" in labels else "auto"
    events = detect(recording(*AUTO_SCENE), classifier, window=1.0, background=background)
    if background is None:  # a label of that name is that label
        assert sum(event.end - event.start for event in events) > 20
        return
    assert [event.label for event in events] == [labels[0], labels[2]]
    assert [round(event.start) for event in events] == [10, 22] and [round(event.end) for event in events] == [12, 24]
    assert detect(recording(*AUTO_SCENE), classifier, window=1.0) == events, "it is the default"


def test_a_label_of_the_background_and_the_recording_together() -> None:
    events = detect(recording(*AUTO_SCENE), real_classifier(), window=1.0, background=["dog", "auto"])
    assert [event.label for event in events] == ["cat"]


def test_nothing_is_learned_from_silence() -> None:
    with pytest.warns(UserWarning, match="silence"):
        assert detect(recording((9, 0.0)), real_classifier()) == []


def test_the_classifier_itself_is_not_changed() -> None:
    classifier = real_classifier()
    before = classifier.coef_.copy()
    detect(recording(*AUTO_SCENE), classifier, window=1.0)
    assert classifier.classes_.tolist() == ["cat", "dog"] and np.array_equal(classifier.coef_, before)


# The rest of what is marked


def test_more_of_what_is_marked_is_found_in_the_rest(tmp_path: Path) -> None:
    scene = [(5, 0.3), (2, 0.1), (5, 0.3), (2, 0.1), (5, 0.3), (2, 0.1), (8, 0.3), (2, 0.1), (5, 0.3)]
    marked = [Event(5, 7, "call", 1.0), Event(12, 14, "call", 1.0)]
    wave, rate = recording(*scene)
    soundfile.write(tmp_path / "a.wav", wave, rate, "FLOAT")
    with open(tmp_path / "a.wav", "rb") as file:
        for audio in ((wave, rate), tmp_path / "a.wav", file):
            first, second = detect_like(audio, marked, model=Encoder())  # type: ignore[arg-type]
            assert first.label == second.label == "call"
            assert abs(first.start - 19) <= 1 and abs(first.end - 21) <= 1
            assert abs(second.start - 29) <= 1 and abs(second.end - 31) <= 1


@pytest.mark.parametrize(
    ("marked", "message"),
    [
        ([], "examples is empty"),
        ([Event(2, 9, "call", 1.0)], "ends at 4.00 s, and the example 'call' at 9.00 s: are the labels"),
        ([Event(0, 4, "call", 1.0)], "holds nothing but the examples"),
    ],
)
def test_examples_that_do_not_fit_the_recording(marked: list[Event], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        detect_like(recording((4, 0.1)), marked, model=Encoder())


# The parts


@settings(max_examples=60, deadline=None)
@given(n=st.integers(1, 200), n_window=st.integers(1, 40), n_hop=st.integers(1, 40), seed=st.integers(0, 9))
def test_a_step_is_the_mean_of_the_windows_over_it(n: int, n_window: int, n_hop: int, seed: int) -> None:
    """Against its definition, in whole seconds."""
    n_hop = min(n_hop, n_window)
    starts = [0]
    while starts[-1] + n_window < n:
        starts.append(starts[-1] + n_hop)
    values = np.random.default_rng(seed).random((len(starts), 2))
    windows = [(float(s), float(min(s + n_window, n)), v) for s, v in zip(starts, values, strict=True)]
    steps = list(averaged(windows, n_hop, -(-n_window // n_hop)))
    assert [start for start, *_ in steps] == list(range(0, n, n_hop))
    assert [end for _, end, _ in steps] == [min(start + n_hop, n) for start in range(0, n, n_hop)]
    for start, end, mean in steps:
        over = [v for (from_, to, v) in windows if from_ < end and to > start]
        np.testing.assert_allclose(mean, np.mean(over, axis=0))


def runs(text: str, threshold: float = 0.5, min_duration: float = 0.0) -> list[tuple[float, float, str]]:
    """Events in steps of 1 s, a letter each: A and B surely a and b, a and b less so, a dot nothing."""
    sure = {"A": (1.0, 0.0), "B": (0.0, 1.0), "a": (0.6, 0.2), "b": (0.2, 0.6), ".": (0.0, 0.0)}
    steps = ((float(i), float(i + 1), np.array(sure[letter])) for i, letter in enumerate(text))
    return [(s, e, "ab"[i]) for s, e, i, _ in merged(steps, np.array([True, True]), threshold, min_duration)]


def test_steps_of_one_label_become_an_event() -> None:
    assert runs("..AAA.B") == [(2, 5, "a"), (6, 7, "b")]
    assert runs("AAB") == [(0, 2, "a"), (2, 3, "b")]
    assert runs("AaA", threshold=0.7) == [(0, 1, "a"), (2, 3, "a")]
    assert runs("...", threshold=0.0) == []


def test_short_gaps_are_bridged_and_short_events_dropped() -> None:
    assert runs("AA.AA", min_duration=2) == [(0, 5, "a")]
    assert runs("AA..AA", min_duration=2) == [(0, 2, "a"), (4, 6, "a")]
    assert runs("A...AA", min_duration=2) == [(4, 6, "a")]
    assert runs("A.A", min_duration=2) == [(0, 3, "a")]
    assert runs("AABAA", min_duration=2) == [(0, 5, "a")]


def test_confidence_is_the_mean_where_the_label_was_heard() -> None:
    steps = [(0.0, 1.0, np.array([1.0])), (1.0, 2.0, np.array([0.0])), (2.0, 2.5, np.array([0.7]))]
    ((*_, confidence),) = merged(steps, np.array([True]), 0.5, 2.0)
    assert confidence == pytest.approx((1.0 + 0.7 * 0.5) / 1.5)


def test_an_event_is_given_as_soon_as_it_is_over() -> None:
    def steps() -> Iterator[tuple[float, float, np.ndarray]]:
        yield 0.0, 1.0, np.array([1.0])
        yield 1.0, 2.0, np.array([0.0])
        raise RuntimeError("read too far")

    assert next(merged(steps(), np.array([True]), 0.5, 1.0))[:3] == (0, 1, 0)


@pytest.mark.slow
def test_memory_does_not_grow_with_the_recording(tmp_path: Path) -> None:
    def peak(minutes: int) -> int:
        path = tmp_path / f"{minutes}.wav"
        with soundfile.SoundFile(path, "w", RATE, 1, "FLOAT") as file:
            for _ in range(minutes):
                file.write(recording((50, 0.0), (10, 0.1))[0])
        tracemalloc.start()
        events = detect(path, Classifier(), window=1.0, hop=1.0, background=None)  # type: ignore[arg-type]
        assert len(events) == minutes
        size = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return size

    assert peak(1) < 30e6
    assert peak(12) < 1.1 * peak(4)


# Bad input


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"hop": 0}, "hop is 0; expected seconds, more than 0"),
        ({"hop": -1}, "hop is -1"),
        ({"hop": math.nan}, "hop is nan"),
        ({"hop": "1"}, "hop is of type str"),
        ({"hop": 1.5, "window": 1}, "hop is 1.5; expected seconds, more than 0, at most 1"),
        ({"window": 0}, "window is 0"),
        ({"window": 5.1}, "window is 5.1; expected seconds, more than 0, at most 5"),
        ({"window": math.inf}, "window is inf"),
        ({"threshold": 1.1}, "threshold is 1.1; expected 0 to 1"),
        ({"threshold": math.nan}, "threshold is nan"),
        ({"threshold": True}, "threshold is of type bool"),
        ({"min_duration": -0.1}, "min_duration is -0.1; expected 0 or more"),
        ({"min_duration": math.inf}, "min_duration is inf"),
        ({"min_duration": "0"}, "min_duration is of type str"),
        ({"batch_size": 0}, "batch_size is 0; expected a whole number above 0"),
        ({"batch_size": 1.5}, "batch_size is 1.5; expected a whole number above 0"),
        ({"batch_size": True}, "batch_size is True"),
        ({"reject": "always"}, "reject='always'"),
        ({"reject": -1}, "reject=-1"),
        ({"background": ["auto", "wind"]}, "background='wind' is not a label"),
        (
            {"background": "wind"},
            r"background='wind' is not a label of the classifier, which has \['cat', 'dog', 'rain'\]",
        ),
        ({"background": CLASSES}, "background holds all of the classifier's labels"),
    ],
)
def test_a_parameter_out_of_its_range(options: dict[str, Any], message: str) -> None:
    classifier = Classifier()
    with pytest.raises((TypeError, ValueError), match=message):
        detect(recording((2, 0.1)), classifier, **options)  # type: ignore[arg-type]
    assert not classifier.encoder.asked, "found out before any work"


@pytest.mark.parametrize(
    ("audio", "message"),
    [
        ("/nowhere/a.wav", "no such file: /nowhere/a.wav"),
        ([recording((1, 0.1))], "detect takes one recording, and got a list of several"),
        (np.zeros((3, 40_000), np.float32), "detect takes one recording"),
        ((np.array([], np.float32), RATE), "empty"),
        ((np.full(RATE, np.nan, np.float32), RATE), "NaN"),
    ],
)
def test_what_is_no_recording(audio: Any, message: str) -> None:
    with pytest.raises((TypeError, ValueError), match=message):
        detect(audio, Classifier())  # type: ignore[arg-type]


def test_an_array_without_a_rate() -> None:
    wave, rate = recording((2, 0.1))
    assert len(detect(wave, Classifier(), sample_rate=rate, background=None)) == 1  # type: ignore[arg-type]
    with pytest.warns(UserWarning, match="16,000 Hz is assumed"):
        detect(wave, Classifier(), background=None)  # type: ignore[arg-type]


# The real thing


@pytest.mark.slow
def test_the_demo_recordings_are_found_in_noise_that_was_never_learned() -> None:
    from mtslvr.sound import stream

    kinds = ("laughter", "splash", "thunder")
    learnt = [DEMO_RECORDINGS / kind / f"{i}.ogg" for kind in kinds for i in (1, 2, 3)]
    classifier = FewShotClassifier().fit([str(path) for path in learnt], [path.parent.name for path in learnt])
    wave, true = np.zeros(4 * RATE, np.float32), []
    for kind in kinds:
        sound = stream.read(DEMO_RECORDINGS / kind / "5.ogg")
        true.append(Event(len(wave) / RATE, (len(wave) + len(sound)) / RATE, kind, 1.0))
        wave = np.concatenate([wave, 0.5 * sound / np.abs(sound).max(), np.zeros(4 * RATE, np.float32)])
    wave += 0.003 * np.random.default_rng(0).standard_normal(len(wave)).astype(np.float32)
    found = detect((wave, RATE), classifier, window=1.0, hop=0.5)
    for event in true:
        assert any(e.label == event.label and e.start < event.end and e.end > event.start for e in found)
    assert sum(e.end - e.start for e in found) < 1.5 * sum(e.end - e.start for e in true), "and not the noise"


def test_what_is_no_classifier_is_refused() -> None:
    with pytest.raises(TypeError, match="classifier is of type str; expected a FewShotClassifier"):
        detect(np.zeros(RATE), "my-sounds", sample_rate=RATE)  # type: ignore[arg-type]
