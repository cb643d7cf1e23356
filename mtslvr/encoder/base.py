"""Encoder: what every model is, whatever computes its features: sound in, embeddings out."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sized
from typing import cast

import numpy as np
import torch
from torch import Tensor, nn
from tqdm import tqdm

from mtslvr.encoder import batching
from mtslvr.encoder.config import EncoderConfig
from mtslvr.encoder.spaces import Spaces
from mtslvr.sound import stream
from mtslvr.sound.clips import AudioLike, ClipsLike


class Encoder(nn.Module):
    """Clips to embeddings. A subclass computes the features of finished windows (`forward`)."""

    config: EncoderConfig

    @property
    def spaces(self) -> Spaces:
        """The embedding spaces, and the number of features D of each: {"combined": 1000, "invariant": 500, "variant": 500}."""
        return self.config.spaces

    @property
    @abstractmethod
    def device(self) -> torch.device:
        """Where the model runs."""

    @property
    @abstractmethod
    def fingerprint(self) -> str:
        """16 hex digits that identify weights and preprocessing: the same fingerprint, the same embeddings."""

    @abstractmethod
    def forward(self, waves: Tensor, space: str = "combined") -> Tensor:
        """Waveforms [B, samples], float32 in -1..1, 16 kHz, more than 512 samples, taken whole -> features [B, D]."""

    def __sklearn_clone__(self) -> Encoder:
        """Copies of an estimator share their encoder."""
        return self

    def embed(
        self,
        audio: AudioLike | ClipsLike,
        *,
        space: str = "combined",
        sample_rate: float | None = None,
        batch_size: int = 16,
        progress: bool | None = None,
    ) -> np.ndarray:
        """Embed one clip or several. A clip's vector does not depend on what else is embedded with it.

        A clip longer than 5 s is cut into consecutive windows of 5 s, whose vectors are averaged, each weighted by the seconds of sound in it;
        what is shorter than a window is repeated to fill it (paper, section 4.2).

        Args:
            audio: a clip: a path; the bytes of a sound file, or a binary file; an array or tensor [samples]; `(array, rate)`;
                `{"array", "sampling_rate"}`; an object with get_all_samples(). Or several: an iterable of these, or an array
                [clips, samples]. See `stream.blocks` for details.
            space: "combined" (invariant, then variant), "invariant" or "variant".
            sample_rate: Hz, of arrays that come without one; 16 kHz is taken, with a warning, if not given.
            batch_size: windows computed at a time; more need more memory.
            progress: show a progress bar; by default on a terminal, for what takes more than two seconds.

        Returns:
            float32 [D] for one clip, [n, D] for several.

        Raises:
            TypeError, ValueError: not a sound, or not a usable one; an unknown space. The message says which clip.

        Examples:
            >>> model = MTSLVR.from_pretrained()
            >>> model.embed("dog1.wav").shape
            (1000,)
            >>> model.embed(["dog1.wav", "rain1.wav"], space="invariant").shape
            (2, 500)
        """
        self.spaces.columns(space)  # refuses an unknown one before any work
        one, clips = stream.clips(audio, sample_rate)
        total = len(audio) if not one and isinstance(audio, Sized) else None
        quiet = None if progress is None else not progress
        bar = tqdm(
            batching.embed(self, clips, space, batch_size),
            "embedding",
            total,
            unit="clip",
            delay=2 if progress is None else 0,
            disable=True if one else quiet,
        )
        vectors = np.stack([vector for _, vector in bar])
        return cast(np.ndarray, vectors[0]) if one else vectors

    def embed_windows(
        self,
        clip: AudioLike,
        *,
        hop: float = 5.0,
        window: float = 5.0,
        space: str = "combined",
        sample_rate: float | None = None,
        batch_size: int = 16,
    ) -> tuple[np.ndarray, np.ndarray]:
        """Embed a recording of any length window by window, in memory that does not grow with it (but for the result).

        Args:
            clip: one clip; see `embed`.
            hop: seconds from the start of a window to that of the next.
            window: seconds of sound in each, at most 5. Its vector is what `embed` gives for a clip cut from its start to its end.

        Returns:
            Vectors, float32 [n, D], and the start and end of the sound in each window, float64 [n, 2] in seconds. The last window
            reaches the end of the recording, and may hold less than `window` seconds.

        Raises:
            TypeError, ValueError: as `embed`; several clips were given; hop or window is not a positive number, or window is over 5.

        Examples:
            >>> vectors, times = MTSLVR.from_pretrained().embed_windows("an_hour.wav", hop=2.5)
            >>> times[:2].tolist()
            [[0.0, 5.0], [2.5, 7.5]]
        """
        self.spaces.columns(space)  # refuses an unknown one before any work
        one, clips = stream.clips(clip, sample_rate)
        if not one:
            raise TypeError(
                f"embed_windows takes one clip, and got a {type(clip).__name__} of several: call it for each of them"
            )
        name, clip = next(clips)
        windows = (((start, end), wave) for wave, start, end in stream.windows(clip, hop=hop, window=window, name=name))
        bar = tqdm(
            batching.vectors(self, windows, space, batch_size), "embedding", unit="window", delay=2, disable=None
        )
        times, found = zip(*bar, strict=True)
        vectors = np.stack(found)
        batching.check_finite(vectors, name)
        return vectors, np.array(times, dtype=np.float64)
