"""Reading a packed corpus: statistics, splits and crops."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from training.corpus.pack import pack
from training.corpus.reader import BALANCES, Corpus

LENGTHS = {"one": [1600, 12_000], "two": [6000], "three": [1600] * 4, "four": [2000, 1600]}  # samples
N_SAMPLES = sum(map(sum, LENGTHS.values()))


def ramp(start: int, length: int) -> np.ndarray:
    """Samples that tell where they lie: no two in the corpus are alike."""
    return np.arange(start, start + length) + 100


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    folder = tmp_path_factory.mktemp("corpus")
    start = 0
    for source in sorted(LENGTHS):
        for index, length in enumerate(LENGTHS[source]):
            (folder / "in" / source).mkdir(parents=True, exist_ok=True)
            soundfile.write(folder / f"in/{source}/{index}.wav", ramp(start, length).astype(np.int16), 16_000)
            start += length
    pack(folder / "in", folder / "out", licence="CC0", shard_bytes=30_000)
    return Corpus(folder / "out")


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_statistics_are_those_of_the_samples(packed: Corpus) -> None:
    shards = sorted(packed.folder.glob("shard-*.i16"))
    assert len(shards) > 1
    wave = np.concatenate([np.fromfile(shard, "<i2") for shard in shards]).astype(np.float64) / 32768
    assert len(wave) == N_SAMPLES
    assert packed.mean == pytest.approx(wave.mean(), rel=1e-12)
    assert packed.std == pytest.approx(wave.std(), rel=1e-9)
    assert packed.hours == pytest.approx(N_SAMPLES / 16_000 / 3600)
    assert packed.sources == sorted(LENGTHS)
    assert len(packed) == sum(map(len, LENGTHS.values()))
    assert "9 pieces" in repr(packed)


def test_pieces_are_what_was_packed(packed: Corpus) -> None:
    for corpus in (packed, packed.to("cpu")):
        start = 0
        for index, length in enumerate(corpus.lengths.tolist()):
            piece = corpus.piece(index)
            np.testing.assert_array_equal(piece.wave.numpy() * 32768, ramp(start, length))
            assert piece.path.startswith(piece.source + "/")
            assert piece.licence == "CC0"
            start += length
    with pytest.raises(IndexError):
        packed.piece(len(packed))


def test_split_is_by_source_and_by_seed(packed: Corpus) -> None:
    seen = set()
    for seed in range(10):
        train, validation = packed.split(0.3, seed)
        assert set(train.sources).isdisjoint(validation.sources)
        assert sorted(train.sources + validation.sources) == packed.sources
        assert len(train) + len(validation) == len(packed)
        assert 0 < validation.hours <= 0.3 * packed.hours
        assert packed.split(0.3, seed)[1].sources == validation.sources
        assert {train.piece(i).source for i in range(len(train))} == set(train.sources)
        seen.add(tuple(validation.sources))
    assert len(seen) > 1


@pytest.mark.slow
def test_split_comes_near_the_share_it_was_asked_for(tmp_path: Path) -> None:
    for index in range(60):
        (tmp_path / "in").mkdir(exist_ok=True)
        soundfile.write(tmp_path / f"in/{index}.wav", np.full(1600 + 97 * index, 0.1), 16_000)
    pack(tmp_path / "in", tmp_path / "out")
    packed = Corpus(tmp_path / "out")
    for share in (0.1, 0.5):
        train, validation = packed.split(share)
        assert validation.hours / packed.hours == pytest.approx(share, abs=0.02)
        assert train.hours + validation.hours == pytest.approx(packed.hours)


def test_split_takes_the_smallest_source_if_all_exceed_the_share(packed: Corpus) -> None:
    assert packed.split(0.01)[1].sources == ["four"]


def test_split_refuses_what_cannot_be_split(packed: Corpus) -> None:
    with pytest.raises(ValueError, match="between 0 and 1"):
        packed.split(1.0)
    with pytest.raises(ValueError, match="needs two"):
        packed.select(lambda row: row["source"] == "two").split()


def test_select(packed: Corpus) -> None:
    part = packed.select(lambda row: row["source"] in ("one", "four"))
    assert part.sources == ["four", "one"]
    assert [int(n) for n in part.lengths] == LENGTHS["four"] + LENGTHS["one"]
    assert (part.crops(5, 100, generator()) != 0).all()
    with pytest.raises(ValueError, match="no piece"):
        packed.select(lambda row: row["licence"] == "GPL")


@pytest.mark.slow
def test_a_part_loads_its_own_samples_only(packed: Corpus) -> None:
    _, validation = packed.split(0.3)
    loaded = validation.to("cpu")
    assert [samples.numel() for samples in loaded._shards] == [int(validation.lengths.sum())]
    for balance in BALANCES:
        expected = validation.crops(50, 1700, generator(3), balance)
        torch.testing.assert_close(loaded.crops(50, 1700, generator(3), balance), expected, rtol=0, atol=0)
    assert loaded.to("cpu").piece(1).path == validation.piece(1).path


@pytest.mark.parametrize("loaded", [False, True])
def test_crops_lie_within_one_piece_and_are_tiled_from_its_start(packed: Corpus, loaded: bool) -> None:
    corpus = packed.to("cpu") if loaded else packed
    crops = (corpus.crops(300, 1900, generator(), "piece") * 32768).int().numpy()
    assert crops.shape == (300, 1900)
    starts, tiled = corpus_starts(), set()
    for crop in crops:
        owner = np.searchsorted(starts, crop[0] - 100, side="right") - 1
        length = int(corpus.lengths[owner])
        phase = int(crop[0]) - 100 - starts[owner]
        assert phase <= max(length - 1900, 0)
        np.testing.assert_array_equal(crop, np.resize(ramp(starts[owner] + phase, min(length, 1900)), 1900))
        tiled.add(length < 1900)
    assert tiled == {True, False}


def corpus_starts() -> np.ndarray:
    """Where each piece of the corpus starts, in samples."""
    lengths = [length for source in sorted(LENGTHS) for length in LENGTHS[source]]
    return np.cumsum([0, *lengths[:-1]])


def test_crops_reach_both_ends_of_a_piece(packed: Corpus) -> None:
    corpus = packed.select(lambda row: row["path"] == "four/0.wav")
    first = corpus.crops(500, 1998, generator())[:, 0] * 32768
    assert set(first.int().tolist()) == {100, 101, 102}


def test_crops_are_decided_by_the_generator_alone(packed: Corpus) -> None:
    torch.manual_seed(1)
    first = packed.crops(20, 1000, generator(7))
    torch.manual_seed(2)
    assert torch.equal(packed.crops(20, 1000, generator(7)), first)
    assert not torch.equal(packed.crops(20, 1000, generator(8)), first)
    shared = generator(7)
    assert not torch.equal(packed.crops(20, 1000, shared), packed.crops(20, 1000, shared))


@pytest.mark.parametrize("balance", BALANCES)
def test_balance_draws_sources_as_often_as_it_says(packed: Corpus, balance: str) -> None:
    n = 20_000
    first = (packed.to("cpu").crops(n, 1, generator(), balance)[:, 0] * 32768).round().long().numpy()
    weight = {
        "duration": {source: sum(lengths) for source, lengths in LENGTHS.items()},
        "piece": {source: len(lengths) for source, lengths in LENGTHS.items()},
        "source": dict.fromkeys(LENGTHS, 1),
        "sqrt": {source: sum(lengths) ** 0.5 for source, lengths in LENGTHS.items()},
    }[balance]
    ends = np.cumsum([sum(LENGTHS[source]) for source in sorted(LENGTHS)])
    seen = np.bincount(np.searchsorted(ends, first - 100, side="right"), minlength=len(ends)) / n
    wanted = np.array([weight[source] for source in sorted(LENGTHS)]) / sum(weight.values())
    np.testing.assert_allclose(seen, wanted, atol=0.015)  # 4 standard errors
    if balance != "piece":  # within a source, all sound alike: of "one", 1600 samples of 13,600 are its first piece
        of_one = first[(first >= 100 + ends[0]) & (first < 100 + ends[1])] - 100 - ends[0]
        assert np.mean(of_one < 1600) == pytest.approx(1600 / 13_600, abs=0.02)


def test_crops_of_one_source_come_together(packed: Corpus) -> None:
    corpus = packed.to("cpu")
    first = (corpus.crops(400, 1, generator(), "source", 4)[:, 0] * 32768).round().long().numpy()
    ends = np.cumsum([sum(LENGTHS[source]) for source in sorted(LENGTHS)])
    sources = np.searchsorted(ends, first - 100, side="right").reshape(100, 4)
    assert (sources == sources[:, :1]).all() and len(set(sources[:, 0])) == len(ends)
    assert len(set(first)) > 390  # other samples of it


def test_crops_begin_at_the_loudest_of_some_places(packed: Corpus) -> None:
    plain, loudest = (packed.crops(300, 1600, generator(), loudest=n) for n in (1, 6))  # later is louder, see ramp
    assert torch.equal(plain, packed.crops(300, 1600, generator()))
    energy = [crops.square().sum(1) for crops in (plain, loudest)]
    assert (energy[1] > energy[0]).float().mean() > 0.3  # pieces of 12,000 samples have other places to offer
    steps = (loudest[:, 1:] - loudest[:, :-1]) * 32768
    assert ((steps - 1).abs() < 0.1).sum(1).min() >= 1598, "each is of one place"


def test_crops_refuse(packed: Corpus) -> None:
    with pytest.raises(ValueError, match="10 crops, 4 per source"):
        packed.crops(10, 10, generator(), per_source=4)
    with pytest.raises(ValueError, match="balance is 'equal', expected one of duration"):
        packed.crops(1, 10, generator(), "equal")


def test_opening_what_is_no_corpus(packed: Corpus, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"has no corpus\.json: make it"):
        Corpus(tmp_path)
    info = (packed.folder / "corpus.json").read_text()
    (tmp_path / "corpus.json").write_text(info.replace('"format_version": 1', '"format_version": 2'))
    with pytest.raises(ValueError, match="format 2, expected 1"):
        Corpus(tmp_path)
