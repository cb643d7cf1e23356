"""Unlabelled sound for pretraining, packed once (training/corpus/pack.py) and then read as random crops on the device.

To pack a folder of sound, FSD50K, AudioSet or a data set of the Hub:

    python -m training.corpus SOURCE OUT

To train on it:

    train, validation = Corpus(OUT).split(validation=0.1, seed=0)
    train = train.to("cuda")                                       # int16: 12 hours take 1.4 GB
    waves = train.crops(100, 80_000, torch.Generator("cuda"))      # float32 [100, 80000]

Reading needs NumPy and torch alone.
"""

from __future__ import annotations

import copy
import csv
import hashlib
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from training.corpus.heard import Heard

FORMAT_VERSION = 1
FULL_SCALE = 32_768  # int16 units of the amplitude 1.0
BALANCES = ("duration", "piece", "source", "sqrt")


def shard_name(shard: int) -> str:
    return f"shard-{shard:05d}.i16"


def read_rows(table: Path) -> list[dict[str, str]]:
    """The rows of a CSV file with a header."""
    with table.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


class Piece(NamedTuple):
    """A piece to look at or to listen to: its waveform, float32 [samples] in -1..1, and where it comes from."""

    wave: torch.Tensor
    source: str
    licence: str
    path: str


class Corpus:
    """A packed corpus, or the part of one that `split` or `select` gave.

    sample_rate: hz. mean, std: of all samples of the whole packing, with full scale at 1.0.
    sources: the names of the sources, sorted. hours: of sound.
    starts, lengths: int64 [pieces], in samples, on the corpus's device.
    heard: what teachers heard in it, after `taught_by`; else None.
    The samples stay in memory-mapped shards until `to` loads them.
    """

    def __init__(self, folder: str | Path) -> None:
        """Opens a folder that training/corpus/pack.py made. Raises ValueError if it is none, or not finished."""
        self.folder = Path(folder)
        info_path = self.folder / "corpus.json"
        if not info_path.exists():
            raise ValueError(f"{folder} has no corpus.json: make it with `python -m training.corpus SOURCE {folder}`")
        info = json.loads(info_path.read_text(encoding="utf-8"))
        if info["format_version"] != FORMAT_VERSION:
            raise ValueError(f"{folder} has format {info['format_version']}, expected {FORMAT_VERSION}: pack it again")
        if "n_pieces" not in info:
            raise ValueError(f"{folder} is not packed to its end: start the same packing again, it goes on")
        self.heard: Heard | None = None
        self.sample_rate: int = info["sample_rate"]
        self.mean: float = info["mean"]
        self.std: float = info["std"]
        rows = read_rows(self.folder / "manifest.csv")
        shard_of, starts, lengths = (
            torch.tensor([int(row[key]) for row in rows]) for key in ("shard", "start", "length")
        )
        # Mapped copy-on-write because torch has no read-only tensors: nothing written can reach the files.
        paths = [self.folder / shard_name(shard) for shard in range(int(shard_of.max()) + 1)]
        shards = [torch.from_numpy(np.memmap(path, dtype="<i2", mode="c")) for path in paths]
        for shard, path in enumerate(paths):
            needed = int((starts + lengths)[shard_of == shard].max())
            if len(shards[shard]) < needed:
                raise ValueError(f"{path} has {len(shards[shard])} samples of {needed}: copy it again")
        self._fill(rows, shards, shard_of, starts, lengths)

    def _fill(
        self,
        rows: list[dict[str, str]],
        shards: list[torch.Tensor],
        shard_of: torch.Tensor,
        starts: torch.Tensor,
        lengths: torch.Tensor,
    ) -> None:
        self._rows, self._shards, self._shard_of = rows, shards, shard_of
        self.starts, self.lengths = starts, lengths
        self.hours = float(lengths.sum()) / self.sample_rate / 3600
        self.sources = sorted({row["source"] for row in rows})
        number = {source: index for index, source in enumerate(self.sources)}
        source_of = torch.tensor([number[row["source"]] for row in rows], device=lengths.device)
        self._source_lengths = torch.zeros(len(number), dtype=torch.int64, device=lengths.device)
        self._source_lengths.index_add_(0, source_of, lengths)  # [sources], samples
        share = lengths / self._source_lengths[source_of]  # of a piece in its source's duration
        self._source_of = source_of
        self._weights = {
            "piece": torch.ones_like(share),
            "duration": lengths.float(),
            "source": share,
            "sqrt": share * self._source_lengths[source_of].sqrt(),
        }

    def __len__(self) -> int:
        """The number of pieces."""
        return len(self._rows)

    def __repr__(self) -> str:
        return f"<Corpus {self.folder}: {len(self)} pieces, {self.hours:.2f} h, {len(self.sources)} sources>"

    @property
    def digest(self) -> str:
        """16 hex digits that identify the whole packing, wherever it lies: its manifest and statistics."""
        digest = hashlib.sha256((self.folder / "manifest.csv").read_bytes())
        digest.update(repr((self.mean, self.std)).encode())
        return digest.hexdigest()[:16]

    @property
    def device(self) -> torch.device:
        return self.lengths.device

    def piece(self, index: int) -> Piece:
        """The piece at `index` in the manifest's order. Raises IndexError."""
        row = self._rows[index]
        start, length = int(self.starts[index]), int(self.lengths[index])
        samples = self._shards[int(self._shard_of[index])][start : start + length]
        return Piece(samples.float() / FULL_SCALE, row["source"], row["licence"], row["path"])

    def select(self, keep: Callable[[dict[str, str]], bool]) -> Corpus:
        """The pieces whose manifest row passes, e.g. `lambda row: row["licence"] == "CC0"`. Raises ValueError if none."""
        indices = [index for index, row in enumerate(self._rows) if keep(row)]
        if not indices:
            raise ValueError(f"no piece of {self!r} was selected; its sources are {', '.join(self.sources[:10])}, ...")
        part, rows, where = copy.copy(self), [self._rows[i] for i in indices], torch.tensor(indices, device=self.device)
        part._fill(rows, self._shards, self._shard_of[where], self.starts[where], self.lengths[where])
        part.heard = self.heard and self.heard.select(where)
        return part

    def taught_by(self, names: Sequence[str]) -> Corpus:
        """The same corpus, which must be a whole packing, with what these teachers heard in it. Raises ValueError, see Heard."""
        taught = copy.copy(self)
        taught.heard = Heard(self.folder, names, self.lengths)
        return taught

    def split(self, validation: float = 0.1, seed: int = 0) -> tuple[Corpus, Corpus]:
        """Training and validation parts with no source in common: a crop's neighbours are never on the other side.

        validation: share of the duration, 0..1; sources are drawn in random order and kept while they fit in it.
        Raises ValueError if the share is not inside 0..1 or there are fewer than two sources.
        """
        if not 0 < validation < 1:
            raise ValueError(f"validation is {validation}, expected a share of the duration between 0 and 1")
        if len(self.sources) < 2:
            raise ValueError(
                f"{self!r} has one source, but a split by source needs two: sort the sound into sub-folders"
            )
        lengths = dict(zip(self.sources, self._source_lengths.tolist(), strict=True))
        room = validation * sum(lengths.values())
        held_out: set[str] = set()
        for index in torch.randperm(len(lengths), generator=torch.Generator().manual_seed(seed)).tolist():
            if lengths[self.sources[index]] <= room:
                held_out.add(self.sources[index])
                room -= lengths[self.sources[index]]
        if not held_out:  # every source is larger than the share
            held_out = {min(lengths, key=lengths.__getitem__)}
        return self.select(lambda row: row["source"] not in held_out), self.select(
            lambda row: row["source"] in held_out
        )

    def to(self, device: str | torch.device) -> Corpus:
        """The same corpus with its samples (and only its own, after a split) in one int16 tensor on `device`."""
        lengths = self.lengths.cpu()
        starts = lengths.cumsum(0) - lengths
        samples = np.empty(int(lengths.sum()), dtype=np.int16)
        shards = [shard.cpu().numpy() for shard in self._shards]  # NumPy: torch starts its threads for every copy
        places = zip(self._shard_of.tolist(), self.starts.tolist(), starts.tolist(), lengths.tolist(), strict=True)
        for shard, old, new, length in places:
            samples[new : new + length] = shards[shard][old : old + length]
        moved, first = copy.copy(self), torch.zeros_like(starts)
        held = torch.from_numpy(samples).to(device)
        moved._fill(self._rows, [held], first.to(device), starts.to(device), lengths.to(device))
        moved.heard = self.heard and self.heard.to(device)
        return moved

    def crops(
        self,
        n: int,
        length: int,
        generator: torch.Generator,
        balance: str = "sqrt",
        per_source: int = 1,
        loudest: int = 1,
    ) -> torch.Tensor:
        """The sound of random `places`, float32 [n, length] in -1..1; a piece shorter than `length` samples is tiled from its start."""
        return self.cut(*self.places(n, length, generator, balance, per_source, loudest), length)

    def places(
        self,
        n: int,
        length: int,
        generator: torch.Generator,
        balance: str = "sqrt",
        per_source: int = 1,
        loudest: int = 1,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Random places of crops of `length` samples: their pieces, and their first samples in them, int64 [n] twice.

        generator: on the corpus's device; it alone decides the crops.
        balance: how often a piece is drawn. "duration": all sound alike; "piece": all pieces alike; "source": all
            sources alike, and sound alike in each; "sqrt": sources by the square root of their duration, between the two.
        per_source: crops drawn together, from the source of a piece that the balance chose, and there by duration; n is a multiple of it.
        loudest: random places looked at for each crop, of which the one with the most energy is taken: recordings are silent for long.
        Raises ValueError if the balance is unknown, n is no multiple of per_source, or the generator is on another device.
        """
        if balance not in BALANCES:
            raise ValueError(f"balance is {balance!r}, expected one of {', '.join(BALANCES)}")
        if generator.device.type != self.device.type:
            raise ValueError(f"generator is on {generator.device}, the corpus on {self.device}: make it on the same")
        if n % per_source:
            raise ValueError(f"{n} crops, {per_source} per source: expected a multiple")
        drawn = torch.multinomial(self._weights[balance], n // per_source, replacement=True, generator=generator)
        if per_source > 1:
            same = self._source_of[drawn, None] == self._source_of  # [n / per_source, pieces]
            drawn = torch.multinomial(same * self.lengths.float(), per_source, replacement=True, generator=generator)
            drawn = drawn.flatten()  # [n]
        lengths = self.lengths[drawn]
        n_starts = (lengths - length).clamp(min=0) + 1
        phase = torch.randint(2**31 - 1, (n, loudest), generator=generator, device=self.device) % n_starts[:, None]
        if loudest == 1:
            return drawn, phase[:, 0]
        energies = torch.stack([self.cut(drawn, place, length).square().sum(1) for place in phase.T], 1)
        return drawn, phase.gather(1, energies.argmax(1, keepdim=True))[:, 0]

    def cut(self, drawn: torch.Tensor, first: torch.Tensor, length: int) -> torch.Tensor:
        """The samples of pieces from their sample `first` on, tiled: int64 [n] twice -> float32 [n, length]."""
        offsets = torch.arange(length, device=self.device)
        within = (first[:, None] + offsets) % self.lengths[drawn, None]
        index = self.starts[drawn, None] + within  # [n, length], in the shard
        if len(self._shards) == 1:
            return self._shards[0][index].float() / FULL_SCALE
        crops = torch.empty(len(drawn), length)
        for shard, samples in enumerate(self._shards):
            here = self._shard_of[drawn] == shard
            crops[here] = samples[index[here]].float() / FULL_SCALE
        return crops
