"""Packing: every layout in miniature, bad files, and a packing killed at any point that ends the same."""

from __future__ import annotations

import io
import json
import signal
import subprocess
import sys
import types
from pathlib import Path

import numpy as np
import pytest
import soundfile

from training.corpus import __main__ as packing
from training.corpus import layouts
from training.corpus.pack import pack, quantise
from training.corpus.reader import Corpus, read_rows

RATE = 16_000
ROOT = Path(__file__).parents[3]


def noise(seconds: float, rate: int = RATE, seed: int = 0, channels: int = 0) -> np.ndarray:
    shape = (int(seconds * rate), channels) if channels else (int(seconds * rate),)
    return (np.random.default_rng(seed).uniform(-0.5, 0.5, shape)).astype(np.float32)


def tone(seconds: float, rate: int, hz: float = 440) -> np.ndarray:
    return 0.5 * np.sin(2 * np.pi * hz * np.arange(int(seconds * rate)) / rate)


def write(path: Path, wave: np.ndarray, rate: int = RATE, **options: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, wave, rate, **options)
    return path


def rows(folder: Path, table: str = "manifest.csv") -> list[dict[str, str]]:
    return read_rows(folder / table)


def packed_bytes(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


# --- layouts -------------------------------------------------------------------------------------------------------


def test_folder_is_packed_by_first_sub_folder(tmp_path: Path) -> None:
    write(tmp_path / "in/birds/deep/a.wav", noise(0.5, seed=1))
    write(tmp_path / "in/birds/b.FLAC", noise(0.3, seed=2), format="FLAC")
    write(tmp_path / "in/flat.ogg", noise(0.2, seed=3))
    (tmp_path / "in/notes.txt").write_text("no sound")
    write(tmp_path / "in/.hidden/c.wav", noise(0.2))
    write(tmp_path / "in/birds/._b.wav", noise(0.2))
    (tmp_path / "in/sources.csv").write_text("source,licence\nbirds,CC0-1.0\n")
    pack(tmp_path / "in", tmp_path / "out", licence="CC BY 4.0")
    packed = Corpus(tmp_path / "out")
    pieces = [packed.piece(i) for i in range(len(packed))]
    assert [(p.source, p.licence, p.path, len(p.wave)) for p in pieces] == [
        ("birds", "CC0-1.0", "birds/b.FLAC", 4800),
        ("birds", "CC0-1.0", "birds/deep/a.wav", 8000),
        ("flat", "CC BY 4.0", "flat.ogg", 3200),
    ]
    info = json.loads((tmp_path / "out/corpus.json").read_text())
    assert info["pieces_by_source"] == {"birds": 2, "flat": 1}
    assert info["pieces_by_licence"] == {"CC0-1.0": 2, "CC BY 4.0": 1}
    assert info["origin"] == {"name": "in", "layout": "folder"}


def test_sixteen_bit_sound_at_16_khz_is_packed_without_loss(tmp_path: Path) -> None:
    samples = np.random.default_rng(0).integers(-32768, 32768, 5000).astype(np.int16)
    samples[:2] = -32768, 32767
    write(tmp_path / "in/a.wav", samples)
    pack(tmp_path / "in", tmp_path / "out")
    np.testing.assert_array_equal(np.fromfile(tmp_path / "out/shard-00000.i16", "<i2"), samples)


def test_other_rates_and_channels_become_mono_at_16_khz(tmp_path: Path) -> None:
    left = tone(1, 44_100)
    write(tmp_path / "in/a.wav", np.stack([left, 0 * left], axis=1), 44_100, subtype="FLOAT")
    pack(tmp_path / "in", tmp_path / "out")
    wave = Corpus(tmp_path / "out").piece(0).wave.numpy()
    assert len(wave) == RATE
    np.testing.assert_allclose(wave[500:-500], tone(1, RATE)[500:-500] / 2, atol=2e-3)


@pytest.mark.slow
def test_long_files_are_cut_and_nothing_is_lost_between(tmp_path: Path) -> None:
    wave = noise(125, 8000)
    write(tmp_path / "in/a.wav", wave, 8000)
    pack(tmp_path / "in", tmp_path / "out", shard_bytes=1_000_000)
    assert [(r["shard"], r["start"], r["length"], r["path"]) for r in rows(tmp_path / "out")] == [
        ("0", "0", "960000", "a.wav"),
        ("1", "0", "960000", "a.wav"),
        ("2", "0", "80000", "a.wav"),
    ]


@pytest.mark.slow
def test_parts_are_sliced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(layouts, "PART_BLOCK", 20_000)  # a piece across the boundary, and one beyond it
    write(tmp_path / "in/part-0.opus", noise(3), format="OGG", subtype="OPUS")
    write(tmp_path / "in/part-1.opus", noise(1, seed=1), format="OGG", subtype="OPUS")
    table = "part,start,length,source\n0,0,16000,one\n0,16000,9000,two\n0,25000,23000,one\n1,0,16000,three\n1,9000,9000,three\n"
    (tmp_path / "in/pieces.csv").write_text(table)
    pack(tmp_path / "in", tmp_path / "out", licence="free")
    packed = Corpus(tmp_path / "out")
    whole, _ = soundfile.read(tmp_path / "in/part-0.opus", dtype="float32")
    assert [r["path"] for r in rows(tmp_path / "out")] == [
        "part-0.opus@0", "part-0.opus@16000", "part-0.opus@25000", "part-1.opus@0",
    ]  # fmt: skip
    assert packed.sources == ["one", "three", "two"]
    for index, part in enumerate([whole[:16000], whole[16000:25000]]):
        np.testing.assert_allclose(packed.piece(index).wave.numpy(), part, atol=1 / 32768)
    # Past the boundary Opus starts anew, and its memory fades.
    np.testing.assert_allclose(packed.piece(2).wave.numpy()[3200:], whole[28200:], atol=2 / 32768)
    assert rows(tmp_path / "out", "bad_files.csv") == [
        {"path": "part-1.opus@9000", "reason": "ValueError: part-1.opus ends 2000 samples before the piece does"}
    ]


def test_fsd50k_takes_the_development_clips_with_their_licences(tmp_path: Path) -> None:
    for name in ("64760", "16399", "99"):
        write(tmp_path / f"in/FSD50K.dev_audio/{name}.wav", noise(0.2))
    (tmp_path / "in/FSD50K.ground_truth").mkdir()
    table = 'fname,labels,mids,split\n64760,"Electric_guitar,Music","/m/02sgy,/m/04rlf",train\n'
    table += "16399,Rain,/m/06mb1,val\n7,Rain,/m/06mb1,val\n"
    (tmp_path / "in/FSD50K.ground_truth/dev.csv").write_text(table)
    (tmp_path / "in/FSD50K.metadata").mkdir()
    (tmp_path / "in/FSD50K.metadata/dev_clips_info_FSD50K.json").write_text('{"64760": {"license": "CC0"}}')
    pack(tmp_path / "in", tmp_path / "out")
    assert [(r["source"], r["licence"]) for r in rows(tmp_path / "out")] == [("64760", "CC0"), ("16399", "unknown")]
    assert [r["path"] for r in rows(tmp_path / "out", "bad_files.csv")] == ["FSD50K.dev_audio/7.wav"]


def test_audioset_finds_the_usual_names(tmp_path: Path) -> None:
    names = ["--4gqARaEJE", "deep/Y-0Cyrz9sMOo_30.000", "YouTubeYear_0_10", "not-in-the-list"]
    for name in names:
        write(tmp_path / f"in/{name}.wav", noise(0.2))
    table = "# Segments csv created Sun Mar  5 10:54:31 2017\n# num_ytids=4\n# YTID, start_seconds, end_seconds, positive_labels\n"
    for video in ("--4gqARaEJE", "-0Cyrz9sMOo", "YouTubeYear", "gone0000000"):
        table += f'{video}, 0.000, 10.000, "/m/068hy,/m/07q6cd_"\n'
    (tmp_path / "in/balanced_train_segments.csv").write_text(table)
    pack(tmp_path / "in", tmp_path / "out")
    assert Corpus(tmp_path / "out").sources == ["--4gqARaEJE", "-0Cyrz9sMOo", "YouTubeYear"]


class FakeHub(types.ModuleType):
    """The part of the datasets package that is used."""

    def __init__(self) -> None:
        super().__init__("datasets")
        self.asked: list[object] = []

    def load_dataset(self, name: str, config: str | None, *, split: str, streaming: bool) -> FakeHub:
        self.asked = [name, config, split, streaming]
        return self

    def Audio(self, decode: bool) -> bool:
        return decode

    def cast_column(self, column: str, feature: bool) -> list[dict[str, object]]:
        assert (column, feature) == ("audio", False)
        data = io.BytesIO()
        soundfile.write(data, noise(0.2), RATE, format="FLAC")
        whole = {"bytes": data.getvalue(), "path": "a.flac"}
        return [{"audio": whole, "video_id": "x"}, {"audio": whole}, {"audio": {"bytes": b"no", "path": "b"}}]


def test_hub_data_set_is_streamed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hub = FakeHub()
    monkeypatch.setitem(sys.modules, "datasets", hub)
    pack("agkphysics/AudioSet:balanced:test", tmp_path / "out", layout="hub")
    assert hub.asked == ["agkphysics/AudioSet", "balanced", "test", True]
    assert [(r["source"], r["path"]) for r in rows(tmp_path / "out")] == [("x", "test/0"), ("test/1", "test/1")]
    assert [r["path"] for r in rows(tmp_path / "out", "bad_files.csv")] == ["test/2"]


def test_hub_without_the_package_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(ImportError, match="pip install datasets"):
        pack("owner/name", tmp_path / "out", layout="hub")


# --- what is skipped -----------------------------------------------------------------------------------------------


def test_bad_files_are_listed_with_the_reason(tmp_path: Path) -> None:
    write(tmp_path / "in/good.wav", noise(1))
    (tmp_path / "in/broken.wav").write_text("version https://git-lfs.github.com/spec/v1")
    write(tmp_path / "in/empty.wav", noise(0))
    write(tmp_path / "in/nan.wav", np.full(RATE, np.nan), subtype="FLOAT")
    write(tmp_path / "in/rate.wav", noise(1), 7)
    write(tmp_path / "in/short.wav", noise(0.05))
    write(tmp_path / "in/silent.wav", noise(1) * 1e-3)
    pack(tmp_path / "in", tmp_path / "out")
    assert [r["path"] for r in rows(tmp_path / "out")] == ["good.wav"]
    reasons = {r["path"]: r["reason"] for r in rows(tmp_path / "out", "bad_files.csv")}
    expected = {"broken": "Format not rec", "empty": "no samples", "nan": "not finite", "rate": "7 Hz"}
    expected |= {"short": "too short: 800", "silent": "near-silent"}
    assert set(reasons) == {f"{name}.wav" for name in expected}
    for name, part in expected.items():
        assert part in reasons[f"{name}.wav"]


def test_bad_files_get_another_try_when_the_list_is_deleted(tmp_path: Path) -> None:
    write(tmp_path / "in/a.wav", noise(1))
    (tmp_path / "in/b.wav").write_text("not yet downloaded")
    pack(tmp_path / "in", tmp_path / "out")
    write(tmp_path / "in/b.wav", noise(1))
    pack(tmp_path / "in", tmp_path / "out")
    assert len(Corpus(tmp_path / "out")) == 1
    (tmp_path / "out/bad_files.csv").unlink()
    pack(tmp_path / "in", tmp_path / "out")
    assert len(Corpus(tmp_path / "out")) == 2
    assert rows(tmp_path / "out", "bad_files.csv") == []


def test_what_exceeds_full_scale_is_scaled_down() -> None:
    wave = np.linspace(-2, 2, 2001, dtype=np.float32)
    np.testing.assert_allclose(quantise(wave) / 32768, wave / 2, atol=1 / 32768)


# --- resuming ------------------------------------------------------------------------------------------------------

KILLED = """
import os, signal, sys
from training.corpus import pack
pack.COMMIT_BYTES = 24_000
add, n_added = pack.Packer.add, 0
def add_or_die(*args):
    global n_added
    add(*args)
    n_added += 1
    if n_added == int(sys.argv[3]):
        os.kill(os.getpid(), signal.SIGKILL)
pack.Packer.add = add_or_die
pack.pack(sys.argv[1], sys.argv[2], shard_bytes=20_000)
"""


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twenty files in shards of three, and one broken file."""
    folder = tmp_path_factory.mktemp("many") / "in"
    for index in range(20):
        write(folder / f"{index % 4}/{index:02}.wav", noise(0.2 + 0.01 * index, seed=index))
    (folder / "1/broken.wav").write_text("no sound")
    pack(folder, folder.parent / "whole", shard_bytes=20_000)
    return folder


def test_a_killed_packing_ends_as_if_it_had_not_been(many: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-c", KILLED, str(many), str(tmp_path / "out"), "11"]
    result = subprocess.run(command, check=False, cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert result.returncode == -signal.SIGKILL, result.stderr
    with pytest.raises(ValueError, match="not packed to its end"):
        Corpus(tmp_path / "out")
    n_bytes = json.loads((tmp_path / "out/corpus.json").read_text())["manifest.csv bytes"]
    n_committed = (tmp_path / "out/manifest.csv").read_bytes()[:n_bytes].count(b"\n") - 1
    assert 3 < n_committed < 11
    names = {row["path"] for row in rows(tmp_path / "out")[:n_committed]}
    decoded: list[str] = []
    pack_module = sys.modules["training.corpus.pack"]
    with pytest.MonkeyPatch.context() as patch:
        real = pack_module.decoded
        patch.setattr(pack_module, "decoded", lambda recording: decoded.append(recording.path) or real(recording))
        pack(many, tmp_path / "out", shard_bytes=20_000)
    assert names.isdisjoint(decoded)  # nothing is done again
    assert packed_bytes(tmp_path / "out") == packed_bytes(many.parent / "whole")


def test_torn_tables_and_shards_are_cut_back(many: Path, tmp_path: Path) -> None:
    whole = packed_bytes(many.parent / "whole")
    (tmp_path / "out").mkdir()
    for name, data in whole.items():
        (tmp_path / "out" / name).write_bytes(data)
    with (tmp_path / "out/manifest.csv").open("a") as file:
        file.write('6,0,3200,0,unknown,"0/00')
    with (tmp_path / "out/bad_files.csv").open("a") as file:
        file.write("1/x.wav,bec")
    last = max(name for name in whole if name.startswith("shard"))
    with (tmp_path / "out" / last).open("ab") as file:
        file.write(b"123")
    (tmp_path / "out/shard-00099.i16").write_bytes(b"1234")
    pack(many, tmp_path / "out", shard_bytes=20_000)
    assert packed_bytes(tmp_path / "out") == whole


def test_a_finished_packing_takes_new_files_in(tmp_path: Path) -> None:
    write(tmp_path / "in/a.wav", noise(1))
    pack(tmp_path / "in", tmp_path / "out")
    write(tmp_path / "in/b.wav", noise(1, seed=1))
    pack(tmp_path / "in", tmp_path / "out")
    packed = Corpus(tmp_path / "out")
    np.testing.assert_allclose(packed.piece(1).wave.numpy(), noise(1, seed=1), atol=1 / 32768)
    assert len(packed) == 2


# --- refusals ------------------------------------------------------------------------------------------------------


def test_a_shard_shorter_than_the_manifest_is_refused(many: Path, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    for name, data in packed_bytes(many.parent / "whole").items():
        (tmp_path / "out" / name).write_bytes(data[:-2] if name.startswith("shard") else data)
    with pytest.raises(ValueError, match="shorter than the manifest"):
        pack(many, tmp_path / "out", shard_bytes=20_000)
    with pytest.raises(ValueError, match="copy it again"):
        Corpus(tmp_path / "out")


def test_refusals_say_what_is_wrong(many: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="not a folder"):
        pack(tmp_path / "nowhere", tmp_path / "out")
    with pytest.raises(ValueError, match="layout is 'zip', expected one of auto, parts"):
        pack(many, tmp_path / "out", layout="zip")
    with pytest.raises(ValueError, match=r"no .*pieces\.csv"):
        pack(many, tmp_path / "out", layout="parts")
    with pytest.raises(ValueError, match=r"'name': 'in'.*give another folder"):
        pack(tmp_path, many.parent / "whole")
    with pytest.raises(ValueError, match=r"no corpus\.json"):
        pack(many, many)
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match="nothing could be packed"):
        pack(tmp_path / "empty", tmp_path / "out")
    (tmp_path / "odd").mkdir()
    (tmp_path / "odd/pieces.csv").write_text("part,start\n")
    with pytest.raises(ValueError, match=r"lacks the columns \['length', 'source'\]"):
        pack(tmp_path / "odd", tmp_path / "out2")


def test_command_line(many: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "licences.csv").write_text("source,licence\n0,CC0\n")
    packing.main([str(many), str(tmp_path / "out"), "--sources", str(tmp_path / "licences.csv"), "--licence", "GPL"])
    assert "20 pieces" in capsys.readouterr().out
    assert {(r["source"], r["licence"]) for r in rows(tmp_path / "out")} == {
        ("0", "CC0"), ("1", "GPL"), ("2", "GPL"), ("3", "GPL"),
    }  # fmt: skip
