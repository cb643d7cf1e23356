"""The HEAR benchmark's API (hearbenchmark.com/hear-api): a vector for each sound, and one for every 50 ms of it.

    model = load_model()
    vectors = get_scene_embeddings(audio, model)
    vectors, milliseconds = get_timestamp_embeddings(audio, model)

A timestamp's vector is that of the window centred on it, by a pass of its own through the network. Passes cannot share
their work exactly: a feature of the first stage already sees 43 frames of the spectrogram, and a window of 0.5 s has 16, so that each of its
features also sees where it ends. What is saved is what `MTSLVR.embed` does with a short clip, to repeat it to 5 s.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor, nn

from mtslvr.encoder import batching, frontend
from mtslvr.encoder.model import MTSLVR
from mtslvr.sound.mono import INTEGER_LIKE
from mtslvr.sound.stream import SAMPLE_RATE, WINDOW, n_samples

AROUND = 0.5  # seconds of sound around a timestamp
HOP = 0.05  # seconds from a timestamp to the next: the most that HEAR advises
MIN_HOP = 0.001  # seconds
BATCH_SIZE = 16  # windows computed at a time


class HearModel(nn.Module):
    """An encoder, and how HEAR is to use it; see `load_model` for the arguments.

    `sample_rate` is in Hz; `scene_embedding_size` and `timestamp_embedding_size` are the number of features D.
    """

    sample_rate = SAMPLE_RATE

    def __init__(self, encoder: MTSLVR, space: str = "combined", window: float = AROUND, hop: float = HOP) -> None:
        super().__init__()
        encoder.spaces.columns(space)  # refuses an unknown one
        self.n_window, self.n_hop = n_samples(window, "window", WINDOW / SAMPLE_RATE), n_samples(hop, "hop")
        if self.n_window <= frontend.N_FFT // 2:
            least = frontend.N_FFT / 2 / SAMPLE_RATE
            raise ValueError(
                f"window is {window}; expected more than {least:g} seconds, half a frame of the spectrogram"
            )
        if hop < MIN_HOP:
            raise ValueError(f"hop is {hop}; expected {MIN_HOP:g} seconds at least: each is a pass through the network")
        self.encoder, self.space = encoder, space
        self.scene_embedding_size = self.timestamp_embedding_size = encoder.spaces[space]
        self.eval()


def load_model(
    model_file_path: str | os.PathLike[str] = "", *, space: str = "combined", window: float = AROUND, hop: float = HOP
) -> HearModel:
    """A model for the two functions below, on the CPU; `.to(device)` moves it.

    Args:
        model_file_path: a folder or Hub repository, see `MTSLVR.from_pretrained`; nothing for the default weights.
        space: "combined" (invariant, then variant), "invariant" or "variant". HEAR gives only the path: for another space,
            let a module of your own have a load_model that does.
        window: seconds of sound around a timestamp, more than 0.032, at most 5.
        hop: seconds from one timestamp to the next, 0.001 at least.

    Raises:
        TypeError, ValueError, OSError: as `MTSLVR.from_pretrained`; an unknown space; window or hop out of range.
    """
    return HearModel(MTSLVR.from_pretrained(model_file_path or None), space, window, hop)


def get_scene_embeddings(audio: Tensor, model: HearModel) -> Tensor:
    """A vector for each sound, as `MTSLVR.embed` gives it.

    Args:
        audio: sounds of equal length, float32 [n, samples] in -1..1, mono, 16 kHz.
        model: from `load_model`.

    Returns:
        float32 [n, D], on the model's device.

    Raises:
        TypeError: another kind of audio or model.
        ValueError: no samples; NaN, infinite or integer-sized ones; another shape.
    """
    waves = _waves(audio, model)
    vectors = model.encoder.embed(waves, space=model.space, sample_rate=SAMPLE_RATE, progress=False)
    return torch.from_numpy(vectors).to(model.encoder.device)


def get_timestamp_embeddings(audio: Tensor, model: HearModel) -> tuple[Tensor, Tensor]:
    """A vector for every hop of each sound, at 0, 50, 100, ... ms, as far as the sound goes.

    A vector is that of the window centred on its time. Where a window reaches beyond an end, the sound is mirrored there, as
    for the spectrogram's frames: silence would look like a sound that starts and stops.

    Args:
        audio, model: see `get_scene_embeddings`, also for what is raised.

    Returns:
        Vectors, float32 [n, t, D], and times in ms, float32 [n, t], on the model's device; t = ceil(samples / hop).
    """
    waves = _waves(audio, model)
    n_times = math.ceil(waves.shape[1] / model.n_hop)
    windows = ((None, window) for wave in waves for window in _centred(wave, model.n_window, model.n_hop))
    found = np.empty((len(waves) * n_times, model.timestamp_embedding_size), np.float32)
    for i, (_, vector) in enumerate(batching.vectors(model.encoder, windows, model.space, BATCH_SIZE)):
        found[i] = vector
    vectors = torch.from_numpy(found.reshape(len(waves), n_times, -1))
    times = torch.arange(n_times) * (1000 * model.n_hop / SAMPLE_RATE)
    return vectors.to(model.encoder.device), times.repeat(len(waves), 1).to(model.encoder.device)


def _centred(wave: np.ndarray, n_window: int, n_hop: int) -> Iterator[np.ndarray]:
    """The windows, [n_window], whose centres are the samples 0, n_hop, 2 n_hop, ... of the wave."""
    before = n_window // 2
    padded = np.pad(wave, (before, n_window - before - 1), mode="reflect")
    return iter(np.lib.stride_tricks.sliding_window_view(padded, n_window)[::n_hop])


def _waves(audio: Tensor, model: HearModel) -> np.ndarray:
    """The checked sounds, float32 [n, samples]."""
    if not isinstance(model, HearModel):
        raise TypeError(f"model is of type {type(model).__name__}; expected what mtslvr.hear.load_model returns")
    if not isinstance(audio, Tensor) or not audio.is_floating_point():
        found = f"a {audio.dtype} tensor" if isinstance(audio, Tensor) else f"of type {type(audio).__name__}"
        raise TypeError(
            f"audio is {found}; expected a floating-point tensor [n, samples] in -1..1 at {SAMPLE_RATE:,} Hz"
        )
    if audio.ndim != 2 or not audio.numel():
        hint = "; give one sound as audio[None]" if audio.ndim == 1 and audio.numel() else ""
        raise ValueError(f"audio has shape {list(audio.shape)}; expected [n, samples], with at least one of each{hint}")
    waves = audio.detach().float().cpu().numpy()
    peaks = np.abs(waves).max(1)  # NaN if there is one
    if len(bad := np.flatnonzero(~np.isfinite(peaks))):
        raise ValueError(f"sound {bad[0]} has samples that are NaN or infinite: find why, or leave it out")
    if len(loud := np.flatnonzero(peaks > INTEGER_LIKE)):
        peak = peaks[loud[0]]
        raise ValueError(f"sound {loud[0]} reaches {peak:g}, where full scale is 1: divide 16-bit samples by 32768")
    return waves
