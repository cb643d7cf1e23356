"""Recordings spliced from real clips, with the events that are in them and examples to learn these from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mtslvr.events import Event
from mtslvr.sound import stream
from mtslvr.sound.stream import SAMPLE_RATE
from training.evaluation.datasets.common import Dataset

NOISE, OTHER = "noise", "other"  # labels of the examples of what is not looked for
FRAME = 160  # samples: 10 ms, in which a clip's level is measured
AUDIBLE = 40.0  # dB below its loudest frame: where a clip begins and ends
LEVEL, SPREAD = -20.0, 6.0  # dB: power of a clip, and how far it may be from that
GAP = (0.5, 4.0)  # seconds between two clips
UNASKED = 1 / 3  # share of clips of classes that are not looked for


@dataclass(frozen=True)
class Scene:
    """A recording and what there is to know about it.

    Args:
        wave: float32 [samples], 16 kHz.
        events: those of the classes looked for, in order.
        support: clips, float32 [samples], and their labels: the classes looked for, NOISE and OTHER.
    """

    wave: np.ndarray
    events: tuple[Event, ...]
    support: tuple[tuple[np.ndarray, str], ...]


def splice(
    dataset: Dataset,
    rng: np.random.Generator,
    *,
    n_labels: int = 4,
    n_shots: int = 5,
    seconds: float = 180.0,
    snr: float = 20.0,
    unasked: float = UNASKED,
    gap: tuple[float, float] = GAP,
) -> Scene:
    """Put a recording together: noise, in which clips sound at random times, levels and order.

    Some classes are looked for. Half of the others are in the recording too, in the way; clips of the other half are the
    examples of OTHER, so that nothing in the way has been heard before. The support lies in the same kind of noise. No
    group has clips both in the support and in the recording; no clip, where all the set is one group.

    Args:
        n_labels: classes looked for; the set needs two more.
        n_shots: examples of each label; those of NOISE are a second long.
        snr: dB from a clip's mean power, at LEVEL, to that of the noise.
        unasked: share of clips of classes that are not looked for.
        gap: seconds between two clips, from and to.

    Raises:
        ValueError: too few classes or clips.
    """
    classes = [str(name) for name in rng.permutation(dataset.classes)]
    if len(classes) < n_labels + 2:
        raise ValueError(f"{dataset.name} has {len(classes)} classes; {n_labels} labels need {n_labels + 2}")
    looked_for, others = classes[:n_labels], classes[n_labels:]
    known, strange = others[: len(others) // 2], others[len(others) // 2 :]
    heard, left = _apart(dataset, (*looked_for, *known), n_shots, rng)
    strange = [label for label in strange if left[label]]
    if short := [label for label in looked_for if len(heard[label]) < n_shots or not left[label]]:
        raise ValueError(f"{dataset.name}: too few clips of {short[0]} for {n_shots} examples and others to find")
    if not strange:
        raise ValueError(f"{dataset.name}: no clips of other groups are left to be in the way")

    def example(path: Path) -> np.ndarray:
        clip = audible(path, rng)
        return clip + noise(len(clip), rng, LEVEL - snr)

    support = [(example(path), label) for label in looked_for for path in heard[label][:n_shots]]
    pool = [path for label in known for path in heard[label]]
    support += [(example(pool[i]), OTHER) for i in rng.permutation(len(pool))[:n_shots]]
    support += [(noise(SAMPLE_RATE, rng, LEVEL - snr), NOISE) for _ in range(n_shots)]

    wave, at = noise(round(seconds * SAMPLE_RATE), rng, LEVEL - snr), _gap(rng, gap)
    events: list[Event] = []
    while True:
        label = str(rng.choice(strange if rng.random() < unasked else looked_for))
        clip = audible(left[label][rng.integers(len(left[label]))], rng)
        if at + len(clip) > len(wave):
            return Scene(wave, tuple(events), tuple(support))
        wave[at : at + len(clip)] += clip
        if label in looked_for:
            events.append(Event(at / SAMPLE_RATE, (at + len(clip)) / SAMPLE_RATE, label, 1.0))
        at += len(clip) + _gap(rng, gap)


def folded(scene: Scene) -> Scene:
    """The second half of a scene laid over the first, so that sounds overlap; events cut by the fold are left out."""
    half = len(scene.wave) // 2
    seconds = half / SAMPLE_RATE
    first = [event for event in scene.events if event.end <= seconds]
    second = [
        Event(event.start - seconds, event.end - seconds, event.label, 1.0)
        for event in scene.events
        if event.start >= seconds and event.end <= 2 * seconds
    ]
    events: list[Event] = []
    for event in sorted(first + second, key=lambda event: (str(event.label), event.start)):
        if events and events[-1].label == event.label and event.start <= events[-1].end:
            last = events.pop()  # one sound, to whoever hears it
            event = Event(last.start, max(last.end, event.end), event.label, 1.0)
        events.append(event)
    events.sort(key=lambda event: event.start)
    return Scene(scene.wave[:half] + scene.wave[half : 2 * half], tuple(events), scene.support)


def audible(path: Path, rng: np.random.Generator) -> np.ndarray:
    """A clip without the silence around it, at a random level: float32 [samples]."""
    wave = stream.read(path)
    power = np.array([np.square(wave[i : i + FRAME]).mean() for i in range(0, len(wave), FRAME)])
    loud = np.flatnonzero(power >= power.max() * 10 ** (-AUDIBLE / 10))
    wave = wave[loud[0] * FRAME : (loud[-1] + 1) * FRAME]
    gain = 10 ** ((LEVEL + rng.uniform(-SPREAD, SPREAD)) / 20) / np.sqrt(np.square(wave).mean())
    return (wave * min(gain, 1 / np.abs(wave).max())).astype(np.float32)


def noise(n_samples: int, rng: np.random.Generator, level: float) -> np.ndarray:
    """Pink noise of a power, in dB: float32 [n_samples]."""
    spectrum = np.fft.rfft(rng.standard_normal(n_samples))
    spectrum[1:] /= np.sqrt(np.arange(1, len(spectrum)))
    spectrum[0] = 0
    wave = np.fft.irfft(spectrum, n_samples)
    return (wave * 10 ** (level / 20) / wave.std()).astype(np.float32)


def _gap(rng: np.random.Generator, gap: tuple[float, float]) -> int:
    return round(rng.uniform(*gap) * SAMPLE_RATE)


def _apart(
    dataset: Dataset, labels: Sequence[str], n_shots: int, rng: np.random.Generator
) -> tuple[dict[str, list[Path]], dict[str, list[Path]]]:
    """Clips by class: those of as few groups as give each label n_shots, where it has so many, and those of the others."""
    one_group = len({clip.group for clip in dataset.clips}) == 1
    shuffled = [dataset.clips[i] for i in rng.permutation(len(dataset.clips))]
    members: dict[str, list[str]] = {}
    group = {clip.path: str(clip.path if one_group else clip.group) for clip in shuffled}
    for clip in shuffled:
        members.setdefault(group[clip.path], []).append(clip.label)
    counts, taken = dict.fromkeys(dataset.classes, 0), set()
    for clip in shuffled:
        if clip.label in labels and counts[clip.label] < n_shots and group[clip.path] not in taken:
            taken.add(group[clip.path])
            for label in members[group[clip.path]]:
                counts[label] += 1
    sides: list[dict[str, list[Path]]] = [{label: [] for label in dataset.classes} for _ in range(2)]
    for clip in shuffled:
        sides[group[clip.path] not in taken][clip.label].append(clip.path)
    return sides[0], sides[1]
