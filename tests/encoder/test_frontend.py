from types import ModuleType

import golden
import numpy as np
import pytest
import torch

from mtslvr.encoder.frontend import HOP, N_FFT, N_MELS, Frontend, mel_filterbank, n_frames
from mtslvr.sound.stream import SAMPLE_RATE


def circular(difference: torch.Tensor) -> torch.Tensor:
    return (difference + torch.pi) % (2 * torch.pi) - torch.pi


def test_image_equals_the_authors() -> None:
    numbers = golden.arrays()
    image, expected = Frontend(golden.MEAN, golden.STD)(numbers["wave"]), numbers["spectrogram"]
    assert image.shape == expected.shape == (2, 3, 128, 157)
    for channel in (0, 1):
        assert (image[:, channel] - expected[:, channel]).norm() < 1e-5 * expected[:, channel].norm()
    # The phase means nothing where there is no magnitude, and jumps by 2 pi: compared on the circle, weighted.
    weight = 10 ** (expected[:, 1] / 10)
    error = (weight * circular(image[:, 2] - expected[:, 2]).abs()).sum() / weight.sum()
    assert error < 1e-5


def test_filterbank_equals_torchaudio(torchaudio: ModuleType) -> None:
    expected = torchaudio.functional.melscale_fbanks(N_FFT // 2 + 1, 0.0, SAMPLE_RATE / 2, N_MELS, SAMPLE_RATE)
    torch.testing.assert_close(mel_filterbank(), expected, atol=1e-4, rtol=1e-4)  # torchaudio works in float32


def test_one_fft_serves_both_windows(torchaudio: ModuleType) -> None:
    wave = torch.randn(1, 16_000, generator=torch.Generator().manual_seed(0))
    image = Frontend(0.0, 1.0)(wave)
    spectrogram = torchaudio.transforms.Spectrogram(N_FFT, hop_length=HOP, power=2.0)(wave)  # its own Hann window
    expected = 10 * torch.log10(spectrogram.transpose(1, 2) @ mel_filterbank() + 2.220446e-16).transpose(1, 2)
    torch.testing.assert_close(image[:, 0], expected, atol=2e-3, rtol=0)


@pytest.mark.parametrize(
    ("n_samples", "frames"), [(160_000, 313), (80_000, 157), (64_000, 126), (16_000, 32), (513, 2)]
)
def test_number_of_frames(n_samples: int, frames: int) -> None:
    assert n_frames(n_samples) == frames
    assert Frontend(0.0, 1.0)(torch.zeros(1, n_samples)).shape == (1, 3, N_MELS, frames)


def test_a_clip_does_not_depend_on_its_batch() -> None:
    random = torch.Generator().manual_seed(1)
    hard = [
        torch.zeros(80_000),
        torch.full((80_000,), 0.3),
        torch.sin(0.3 * torch.arange(80_000)),
        torch.eye(1, 80_000)[0],
    ]
    waves = torch.stack([*hard, *(0.1 * torch.randn(80_000, generator=random) for _ in range(4))])
    frontend = Frontend(1e-4, 0.1)
    together = frontend(waves)
    for i in range(len(waves)):
        assert torch.equal(frontend(waves[i : i + 1])[0], together[i])


def test_silence_and_its_gradient_are_finite() -> None:
    wave = torch.zeros(1, 16_000, requires_grad=True)
    image = Frontend(0.0, 0.1)(wave)
    image.sum().backward()
    assert image.isfinite().all()
    assert wave.grad is not None
    assert wave.grad.isfinite().all()


def test_tone_lights_up_its_own_filter() -> None:
    time = np.arange(80_000) / SAMPLE_RATE
    for hertz in (440.0, 1000.0, 4000.0):
        image = Frontend(0.0, 1.0)(torch.tensor(np.sin(2 * np.pi * hertz * time), dtype=torch.float32)[None])
        brightest = int(image[0, 0, :, 78].argmax())
        mel = 2595 * np.log10(1 + hertz / 700)
        assert abs(brightest - (mel / (2595 * np.log10(1 + 8000 / 700)) * (N_MELS + 1) - 1)) <= 1.5
