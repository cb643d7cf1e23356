"""Sound cut out of a recording: what is learned from it, and files of what was found."""

from __future__ import annotations

import re
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
from numpy.typing import NDArray

from mtslvr.detection.event_files import Event
from mtslvr.sound import stream
from mtslvr.sound.clips import clip_of
from mtslvr.sound.stream import SAMPLE_RATE
from mtslvr.storage import atomic


def cut(clip: Any, name: str, events: Sequence[Event]) -> list[NDArray[np.float32]]:
    """The sound of each event: float32 [samples], 16 kHz."""
    spans = [(round(event.start * SAMPLE_RATE), max(1, round(event.end * SAMPLE_RATE))) for event in events]
    parts: list[list[NDArray[np.float32]]] = [[] for _ in events]
    n = 0
    for block in stream.blocks(clip, name=name):
        for part, (start, end) in zip(parts, spans, strict=True):
            if start < n + len(block) and end > n:
                part.append(block[max(0, start - n) : end - n].copy())
        n += len(block)
    for event, (_, end) in zip(events, spans, strict=True):
        if end > n + SAMPLE_RATE // 20:
            raise ValueError(
                f"{name} ends at {n / SAMPLE_RATE:.2f} s, and the example {event.label!r} at {event.end:.2f} s: are the labels "
                "those of this recording?"
            )
    return [np.concatenate(part) for part in parts]


def save_clips(recording: str | Path, events: Sequence[Event], folder: Path, name: str | None = None) -> list[Path]:
    """Write each event as `<folder>/<label>/<recording> <start>-<end>.wav`, 16 bits, with the recording's own rate and channels.

    Such a folder is what `mtslvr fit` learns from, once the wrong clips are deleted.

    Args:
        recording: a file, which is read once, in memory that does not grow with it.
        events: of this recording.

    Returns:
        The files, one for each event.

    Raises:
        ValueError: the recording cannot be read; as `stream.blocks`.
        OSError: the folder cannot be written.
    """
    paths = [_clip_path(Path(recording).stem, event, folder) for event in events]
    with ExitStack() as stack:
        files: dict[int, soundfile.SoundFile] = {}
        n = 0
        for block, rate in clip_of(recording, str(recording)).blocks(str(recording)) if events else ():
            for i, event in enumerate(events):
                start, end = round(event.start * rate), round(event.end * rate)
                if start < n + len(block) and end > n:
                    if i not in files:
                        paths[i].parent.mkdir(parents=True, exist_ok=True)
                        temporary = stack.enter_context(atomic.whole(paths[i]))
                        sound = soundfile.SoundFile(temporary, "w", round(rate), block.shape[1], "PCM_16", format="WAV")
                        files[i] = stack.enter_context(sound)
                    files[i].write(np.clip(block[max(0, start - n) : end - n], -1, 1))
            n += len(block)
    return paths


def _clip_path(name: str, event: Event, folder: Path) -> Path:
    label = (
        re.sub(r"[^\w\-. ]+", "_", str(event.label)).strip(". ") or "_"
    )  # of letters that every system knows as names
    return folder / label / f"{name} {event.start:.2f}-{event.end:.2f}.wav"
