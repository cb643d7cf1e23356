"""Events in a recording: their times on recordings where these are known, and what is done with bad input."""

from __future__ import annotations

import csv
import math
import tracemalloc
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from mtslvr.events import Event, averaged, detect, merged, write_events
from mtslvr.fewshot import FewShotClassifier
from mtslvr.storage.assets import DEMO_RECORDINGS

RATE = 16_000
CLASSES = ["cat", "dog", "rain"]  # sounds of 0.1, 0.2 and 0.3 throughout; anything else is strange
STRANGE = 0.4


class Encoder:
    """Embeds a window as the shares of the sounds in it, and remembers how many it was asked for."""

    def __init__(self) -> None:
        self.asked = 0

    def embed(self, clips: Sequence[tuple[np.ndarray, int]], **options: Any) -> np.ndarray:
        self.asked += len(clips)
        assert all(rate == RATE and len(wave) == 5 * RATE for wave, rate in clips)
        levels = [0.1, 0.2, 0.3, STRANGE]
        return np.array([[np.isclose(wave, level, atol=0.01).mean() for level in levels] for wave, _ in clips])


class Classifier:
    """Takes these shares for probabilities; what is half strange is new to it."""

    def __init__(self) -> None:
        self.classes_ = np.array(CLASSES)
        self.encoder = Encoder()

    def embedder(self) -> Encoder:
        return self.encoder

    def predict_proba(self, X: np.ndarray) -> np.ndarray:
        sounds = X[:, :3] + 1e-9
        return sounds / sounds.sum(1, keepdims=True)

    def predict(self, X: np.ndarray, *, reject: Any = None, unknown_label: Any = "unknown") -> np.ndarray:
        named = self.classes_[X[:, :3].argmax(1)].astype(object)
        if reject is not None:
            named[X[:, 3] >= 0.5] = unknown_label
        return named


def recording(*parts: tuple[float, float]) -> tuple[np.ndarray, int]:
    """Parts of (seconds, level), one after the other."""
    return np.concatenate([np.full(round(s * RATE), level, np.float32) for s, level in parts]), RATE


def found(parts: Sequence[tuple[float, float]], classifier: Any = None, **options: Any) -> list[tuple[Any, ...]]:
    events = detect(recording(*parts), classifier or Classifier(), **options)
    assert all(0.5 <= event.confidence <= 1 for event in events)
    return [(event.start, event.end, event.label) for event in events]


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
    (event,) = detect(recording((2, 0.2)), classifier)  # type: ignore[arg-type]
    assert event.label == 5 and type(event.label) is int


def test_tuples_are_labels_too() -> None:
    classifier = Classifier()
    classifier.classes_ = np.empty(3, object)
    classifier.classes_[:] = [("a", 1), ("b", 2), ("c", 3)]
    assert detect(recording((2, 0.2)), classifier)[0].label == ("b", 2)  # type: ignore[arg-type]
    assert detect(recording((2, 0.2)), classifier, background=("b", 2)) == []  # type: ignore[arg-type]


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
        events = detect(path, Classifier(), window=1.0, hop=1.0)  # type: ignore[arg-type]
        assert len(events) == minutes
        size = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return size

    assert peak(1) < 30e6
    assert peak(12) < 1.1 * peak(2)


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
        ({"window": None}, "window is of type NoneType"),
        ({"threshold": 1.1}, "threshold is 1.1; expected 0 to 1"),
        ({"threshold": math.nan}, "threshold is nan"),
        ({"threshold": True}, "threshold is of type bool"),
        ({"min_duration": -0.1}, "min_duration is -0.1; expected 0 or more"),
        ({"min_duration": math.inf}, "min_duration is inf"),
        ({"min_duration": "0"}, "min_duration is of type str"),
        ({"batch_size": 0}, "batch_size is 0; expected 1 or more"),
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
    assert len(detect(wave, Classifier(), sample_rate=rate)) == 1  # type: ignore[arg-type]
    with pytest.warns(UserWarning, match="16,000 Hz is assumed"):
        detect(wave, Classifier())  # type: ignore[arg-type]


# Files


EVENTS = [Event(0.25, 1.5, "dog", 0.75), Event(61.0, 62.00049, "cat, \tsleepy\n", 0.5)]


def test_a_table_reads_back(tmp_path: Path) -> None:
    write_events(tmp_path / "events.csv", EVENTS)
    with open(tmp_path / "events.csv", newline="", encoding="utf-8") as file:
        assert list(csv.reader(file)) == [
            ["start", "end", "label", "confidence"],
            ["0.250", "1.500", "dog", "0.750"],
            ["61.000", "62.000", "cat, \tsleepy\n", "0.500"],
        ]


def test_a_label_track_for_audacity(tmp_path: Path) -> None:
    write_events(str(tmp_path / "labels.txt"), EVENTS)
    assert (tmp_path / "labels.txt").read_text() == "0.250000\t1.500000\tdog\n61.000000\t62.000490\tcat, sleepy\n"


def test_no_events_are_an_empty_file(tmp_path: Path) -> None:
    write_events(tmp_path / "a.csv", [])
    write_events(tmp_path / "a.txt", [])
    assert (tmp_path / "a.csv").read_text() == "start,end,label,confidence\n"
    assert (tmp_path / "a.txt").read_text() == ""


def test_written_whole_or_not_at_all(tmp_path: Path) -> None:
    def events() -> Iterator[Event]:
        yield EVENTS[0]
        raise RuntimeError("broken")

    write_events(tmp_path / "a.csv", EVENTS)
    before = (tmp_path / "a.csv").read_bytes()
    with pytest.raises(RuntimeError, match="broken"):
        write_events(tmp_path / "a.csv", events())
    assert (tmp_path / "a.csv").read_bytes() == before
    assert len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize(
    ("name", "message"),
    [("a.json", "ends in .csv, .txt"), ("a", "ends in .csv, .txt"), ("no/a.csv", "its folder does not exist")],
)
def test_a_file_that_cannot_be_written(tmp_path: Path, name: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        write_events(tmp_path / name, EVENTS)


# The real thing


@pytest.mark.slow
def test_the_demo_recordings_are_found() -> None:
    from mtslvr.sound import stream

    kinds = ("laughter", "splash", "thunder")
    learnt = [DEMO_RECORDINGS / kind / f"{i}.ogg" for kind in kinds for i in (1, 2, 3)]
    classifier = FewShotClassifier().fit([str(path) for path in learnt], [path.parent.name for path in learnt])
    parts, true, at = [np.zeros(2 * RATE, np.float32)], [], 2.0
    for kind in kinds:
        wave = stream.read(DEMO_RECORDINGS / kind / "5.ogg")
        true.append((at, at + len(wave) / RATE, kind))
        parts += [wave, np.zeros(2 * RATE, np.float32)]
        at += len(wave) / RATE + 2
    events = detect((np.concatenate(parts), RATE), classifier, hop=0.5)
    for start, end, kind in true:
        assert any(e.label == kind and e.start < end and e.end > start and abs(e.start - start) < 1 for e in events)


def test_what_is_no_classifier_is_refused() -> None:
    with pytest.raises(TypeError, match="classifier is of type str; expected a FewShotClassifier"):
        detect(np.zeros(RATE), "my-sounds", sample_rate=RATE)  # type: ignore[arg-type]
