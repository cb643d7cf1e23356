"""What the network is shown: batches of pairs of augmented views."""

from __future__ import annotations

import torch
from torch import Tensor

from mtslvr.encoder.frontend import Frontend
from mtslvr.sound.stream import SAMPLE_RATE
from training.augment.chain import Chain, augment, differences, sample_chain, sample_parameters
from training.config import PretrainConfig
from training.corpus.reader import Corpus
from training.corpus.synth import synthesize

DEVICE_SEED = 2**42  # from a batch's seed for chains and parameters to that for crops and noise
LENGTH_STEP = 0.5  # seconds from one length of crops to the next
SYNTHETIC_STD = 0.09  # of the waveform, for a run without a corpus; measured on synthesize()'s output


class Views:
    """Batches of augmented pairs. What a batch holds follows from its seed alone, so a resumed run sees what it would have seen.

    Calling it gives the images of both views, float32 [n, 3, 128, T] in channels_last order, their labels [n, 7], the same for both,
    how their parameters differ, [n, 7] (augment.differences), and what the corpus's teachers heard in the clean crops, [n, D] (D is 0 without any).
    """

    def __init__(self, config: PretrainConfig, corpus: Corpus | None, n: int, device: torch.device) -> None:
        self.config, self.corpus, self.n, self.device = config, corpus, n, device
        mean, std = (corpus.mean, corpus.std) if corpus else (0.0, SYNTHETIC_STD)
        self.frontend = Frontend(mean, std).to(device)

    @torch.no_grad()
    def __call__(self, seed: int) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
        on_host = torch.Generator().manual_seed(seed)
        on_device = torch.Generator(self.device).manual_seed(seed + DEVICE_SEED)  # or, on a CPU, both would draw alike
        length = round(self._seconds(on_host) * SAMPLE_RATE)
        n_synthetic = self.n if self.corpus is None else round(self.config.synthetic * self.n)
        waves, heard = [], torch.empty(self.n, 0, device=self.device)
        if n_synthetic:
            waves.append(synthesize(n_synthetic, length, on_device))
        if self.corpus is not None and n_synthetic < self.n:
            n_real = self.n - n_synthetic
            how = (self.config.balance, self.config.per_source, self.config.loudest)
            places = self.corpus.places(n_real, length, on_device, *how)
            waves.append(self.corpus.cut(*places, length))
            if self.config.teachers:
                assert self.corpus.heard is not None  # pretrain.py has asked for it
                heard = self.corpus.heard(*places, length)
        chain = sample_chain(self.n, on_host, exclude=self.config.exclude)
        if self.config.clean:
            unchanged = torch.rand(self.n, 1, generator=on_host) < self.config.clean
            chain = Chain(chain.order.masked_fill(unchanged, -1))
        both = chain.repeat(2)  # the same chain for both views, other parameters
        parameters = sample_parameters(both, length, on_host, self.config.strengths)
        augmented = augment(torch.cat(waves).repeat(2, 1), both, parameters, on_device)
        low, high = self.config.gain_db
        if (low, high) != (0, 0):
            gain_db = low + (high - low) * torch.rand(2 * self.n, 1, generator=on_host)
            augmented *= (10 ** (gain_db / 20)).to(self.device)
        images = self.frontend(augmented)
        view1, view2 = images.contiguous(memory_format=torch.channels_last).chunk(2)
        targets = differences(chain, parameters, length, self.config.strengths)
        return view1, view2, chain.labels.to(self.device), targets.to(self.device), heard

    def _seconds(self, generator: torch.Generator) -> float:
        """The length of a batch's crops: words are told in short ones, what goes on in long ones."""
        shortest, longest = self.config.shortest, self.config.seconds
        if not shortest:
            return longest
        n_lengths = int((longest - shortest) / LENGTH_STEP) + 1
        return shortest + LENGTH_STEP * int(torch.randint(n_lengths, (), generator=generator))
