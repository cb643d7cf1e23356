"""Where a recording holds the sounds that a few-shot classifier knows, or a few examples in the recording itself show.

Short windows slide over the recording. Each is classified, each step from one window's start to the next's takes the
mean of the windows that cover it, and steps of one label become events.
"""

from __future__ import annotations

import itertools
import os
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from mtslvr.detection.background import N_SEEN, learn, share_of
from mtslvr.detection.cutting import cut
from mtslvr.detection.event_files import Event, read_events, write_events
from mtslvr.detection.settings import AUTO, Grid, background_of, one_recording
from mtslvr.detection.steps import Probabilities, averaged, merged
from mtslvr.detection.windows import Heard, Spool, heard
from mtslvr.fewshot import FewShotClassifier, inputs, linear, novelty
from mtslvr.fewshot.learned import Learned
from mtslvr.sound.clips import AudioLike
from mtslvr.sound.stream import SAMPLE_RATE

if TYPE_CHECKING:
    from mtslvr.encoder.model import MTSLVR

__all__ = ["AUTO", "Event", "detect", "detect_like", "read_events", "write_events"]
THRESHOLD, SHARED_THRESHOLD = 0.5, 0.25  # probability of an event: of one at a time, and where several may sound
BATCH = 256  # windows classified at a time


def detect(
    recording: AudioLike,
    classifier: FewShotClassifier,
    *,
    window: float | None = None,
    hop: float | None = None,
    threshold: float | None = None,
    reject: str | float | None = None,
    background: Any = AUTO,
    exclusive: bool = True,
    min_duration: float = 0.5,
    sample_rate: float | None = None,
    batch_size: int = 16,
) -> list[Event]:
    """Find events in a recording of any length. Digital silence is never one.

    Args:
        recording: one clip, see `MTSLVR.embed`.
        classifier: fitted; its `embedder()` embeds the windows.
        window: seconds that are classified at a time, at most 5; about as long as the events, or shorter. None: the median
            length of the clips that were learned, between 0.5 and 5 s; 1 s where embeddings were.
        hop: seconds from the start of a window to that of the next, at most `window`: how finely events are timed. Time is
            spent in proportion to 1 / hop. None: a quarter of the window, at most 0.5 s.
        threshold: minimum probability of an event, mean of the windows around; 0 to 1. None: 0.5, and 0.25 where sounds may
            overlap, as they share the probability then.
        reject: windows more novel than this are none of the classes: a number, or "auto" (experimental), which is strict
            on windows; see `FewShotClassifier.predict`.
        background: what makes no event. "auto" learns it from the recording itself, at least half of which should be
            background (nothing is learned where silence makes up half, or of fewer than 20 windows);
            a label, or a list of labels, are classes of the classifier, and "auto" may be among them; None: nothing.
        exclusive: one class at a time, the likeliest. False: every class that reaches the threshold, so that several may sound
            at once.
        min_duration: seconds; shorter gaps within an event are bridged, and then shorter events are dropped.
        sample_rate: Hz, of a recording that is an array without a rate.
        batch_size: windows computed at a time; more need more memory.

    Returns:
        Events, by their start. Those of different labels may overlap where the labels alternate quickly, or not `exclusive`.

    Raises:
        TypeError, ValueError: the recording is not one usable clip; a parameter is not in its range; `background` is no label
            of the classifier, or all of them; the classifier was fitted with another model.
        sklearn.exceptions.NotFittedError: it was not fitted.

    Warns:
        UserWarning: classes whose own examples do not reach the threshold.

    Examples:
        >>> classifier = fit_fewshot(["dog1.wav", "dog2.wav", "rain1.wav", "rain2.wav"], ["dog", "dog", "rain", "rain"])
        >>> for event in detect("an_hour.wav", classifier):
        ...     line = f"{event.start:.2f} {event.end:.2f} {event.label} {event.confidence:.2f}"
    """
    if not hasattr(classifier, "embedder"):
        raise TypeError(
            f"classifier is of type {type(classifier).__name__}; expected a FewShotClassifier, such as fit_fewshot(...), or "
            'FewShotClassifier.from_pretrained("folder")'
        )
    encoder = classifier.embedder()
    labels = classifier.classes_.tolist()
    learns, is_event = background_of(labels, background)
    if threshold is None:
        threshold = THRESHOLD if exclusive else SHARED_THRESHOLD
    grid = Grid.of(window, hop, min_duration, threshold, batch_size, getattr(classifier, "seconds_", None))
    known = classifier.learned_
    least_novel = novelty.threshold(reject, known.threshold)
    name, clip = one_recording(recording, sample_rate, "detect")
    windows: Any = heard(encoder, clip, classifier.space, name=name, **grid.of_windows)
    judge = known
    if learns:
        windows = Spool(windows)
        if share := share_of(windows.sounding):
            seen = classifier.features_of(windows[_some(np.arange(windows.sounding.sum()))])
            numbers = np.where(is_event, np.cumsum(is_event) - 1, -1)  # labels of the background join what is learned
            judge = learn(
                known.method, known.strength, known.support, numbers[known.targets], known.groups, seen, share
            )
            labels = [label for label, wanted in zip(labels, is_event, strict=True) if wanted]
            is_event = np.append(np.ones(len(labels), bool), False)

    def classify(vectors: NDArray[Any]) -> NDArray[np.float64]:
        features = classifier.features_of(vectors)
        probabilities = judge.probabilities(features)
        if reject is not None:
            probabilities[known.novelty(features) > least_novel] = 0
        return probabilities

    _tell_unreachable(judge, labels, is_event, threshold)
    return _events(windows, classify, labels, is_event, grid, threshold, exclusive=exclusive)


def detect_like(
    recording: AudioLike,
    examples: Sequence[Event],
    *,
    model: MTSLVR | str | os.PathLike[str] | None = None,
    window: float | None = None,
    hop: float | None = None,
    threshold: float = 0.7,
    min_duration: float = 0.5,
    sample_rate: float | None = None,
    batch_size: int = 16,
) -> list[Event]:
    """Find the rest of the events of which a few are marked in the same recording.

    The marked events are learned, and as background what is usual in the recording beside them.

    Args:
        recording: one clip, see `MTSLVR.embed`.
        examples: a few events of each label, one at least, such as `read_events("labels.txt")` reads.
        model: the encoder: an MTSLVR, or the name of its folder or Hub repository; the default weights if not given.
        window, hop, min_duration, sample_rate, batch_size: see `detect`; the window is as long as the median of the examples,
            if not given.
        threshold: minimum probability of an event; there are few classes to tell apart, so it is higher than for `detect`.

    Returns:
        Events, by their start, without those that are examples.

    Raises:
        TypeError, ValueError: as `detect`; no examples, or one that ends after the recording; nothing beside the examples.
    """
    if not examples:
        raise ValueError("examples is empty: mark at least one event of each sound that is looked for")
    encoder = inputs.encoder(inputs.named(model))
    typical = float(np.median([event.end - event.start for event in examples]))
    grid = Grid.of(window, hop, min_duration, threshold, batch_size, typical)
    name, clip = one_recording(recording, sample_rate, "detect_like")
    clip = clip.kept(name)  # it is gone through twice
    waves = cut(clip, name, examples)
    labels = sorted({event.label for event in examples})
    targets = np.array([labels.index(event.label) for event in examples])
    vectors = encoder.embed([(wave, SAMPLE_RATE) for wave in waves], batch_size=batch_size, progress=False)

    widths = [encoder.spaces[head] for head in encoder.spaces.heads()]

    def features_of(vectors: NDArray[Any]) -> NDArray[np.float64]:
        return linear.unit_heads(vectors, widths)

    windows = Spool(heard(encoder, clip, "combined", name=name, **grid.of_windows))
    times = windows.times[windows.sounding]
    beside = np.ones(len(times), bool)
    for event in examples:
        beside &= (times[:, 1] <= event.start) | (times[:, 0] >= event.end)
    if not beside.any():
        raise ValueError(f"{name} holds nothing but the examples, and silence: there is nothing to search")
    usual = FewShotClassifier()  # whose method and strength are taken
    support, groups = features_of(vectors), np.arange(len(examples))
    seen = features_of(windows[_some(np.flatnonzero(beside))])
    judge = learn(usual.method, usual.C, support, targets, groups, seen, share_of(windows.sounding))
    is_event = np.append(np.ones(len(labels), bool), False)

    def classify(vectors: NDArray[Any]) -> NDArray[np.float64]:
        return judge.probabilities(features_of(vectors))

    _tell_unreachable(judge, labels, is_event, threshold)
    found = _events(windows, classify, labels, is_event, grid, threshold)
    return [event for event in found if not any(_is_example(event, example) for example in examples)]


def _events(
    windows: Any,
    classify: Callable[[NDArray[Any]], NDArray[np.float64]],
    labels: list[Any],
    is_event: NDArray[np.bool_],
    grid: Grid,
    threshold: float,
    *,
    exclusive: bool = True,
) -> list[Event]:
    def classified() -> Iterator[Probabilities]:
        stream_of: Iterator[Heard] = iter(windows)
        while batch := list(itertools.islice(stream_of, BATCH)):
            probabilities = np.zeros((len(batch), len(is_event)))
            if sounding := [i for i, (_, _, vector) in enumerate(batch) if vector is not None]:
                probabilities[sounding] = classify(np.stack([vector for _, _, vector in batch if vector is not None]))
            yield from ((start, end, row) for (start, end, _), row in zip(batch, probabilities, strict=True))

    n_window, n_hop = round(grid.window * SAMPLE_RATE), max(1, round(grid.hop * SAMPLE_RATE))
    steps = averaged(classified(), n_hop / SAMPLE_RATE, n_covering=-(-n_window // n_hop))
    found = merged(steps, is_event, threshold, grid.min_duration, exclusive=exclusive)
    return sorted((Event(start, end, labels[i], p) for start, end, i, p in found), key=lambda event: event.start)


def _tell_unreachable(judge: Learned, labels: list[Any], is_event: NDArray[np.bool_], threshold: float) -> None:
    """Warn of the classes that will never be found, as not even their own examples reach the threshold."""
    probabilities = judge.probabilities(judge.support)
    best = [float(probabilities[judge.targets == i, i].max()) for i in range(len(labels))]
    low = {label: p for label, p, wanted in zip(labels, best, is_event, strict=False) if wanted and p < threshold}
    if low:
        shown = ", ".join(f"{label!r} {p:.2f}" for label, p in itertools.islice(low.items(), 5))
        none = " No event will be found." if len(low) == is_event.sum() else ""
        warnings.warn(
            f"the threshold of {threshold:g} is above the probability that {len(low)} of {is_event.sum()} classes reach on their "
            f"own examples ({shown}{', ...' if len(low) > 5 else ''}).{none} Give a lower threshold, or more examples",
            UserWarning,
            stacklevel=3,
        )


def _some(rows: NDArray[np.intp]) -> NDArray[np.intp]:
    """At most N_SEEN of the rows, the same ones each time, in order."""
    return np.sort(np.random.default_rng(0).permutation(rows)[:N_SEEN])


def _is_example(event: Event, example: Event) -> bool:
    """Whether most of an event is an example of its label."""
    overlap = min(event.end, example.end) - max(event.start, example.start)
    return bool(event.label == example.label and overlap > (event.end - event.start) / 2)
