"""The open corpus, from tiny Debian packages made here."""

from __future__ import annotations

import io
import shutil
import subprocess
import zipfile
from pathlib import Path

import numpy as np
import pytest
import soundfile

from training.corpus import __main__ as packing
from training.corpus import open_corpus
from training.corpus.reader import Corpus, read_rows

pytestmark = pytest.mark.skipif(shutil.which("dpkg-deb") is None, reason="needs dpkg-deb")

TERMS = """Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/

Files: *
Copyright: 2001 Somebody
License: GPL-2+

Files: sounds/*
License: CC0-1.0

License: GPL-2+
 This program is free software.
"""


def sound(seconds: float, seed: int, rate: int = 16_000, peak: float = 0.5) -> bytes:
    data = io.BytesIO()
    wave = np.random.default_rng(seed).uniform(-peak, peak, int(seconds * rate))
    soundfile.write(data, wave, rate, format="WAV")
    return data.getvalue()


def build(folder: Path, name: str, files: dict[str, bytes], terms: str = TERMS, section: str = "games") -> str:
    """A .deb with `files` under /usr/share/<name>; its path."""
    tree = folder / name
    contents = {f"usr/share/{name}/{path}": data for path, data in files.items()}
    contents[f"usr/share/doc/{name}/copyright"] = terms.encode()
    contents["DEBIAN/control"] = (
        f"Package: {name}\nVersion: 1\nArchitecture: all\nSection: {section}\n"
        "Maintainer: Nobody <nobody@example.org>\nDescription: sound\n"
    ).encode()
    for path, data in contents.items():
        (tree / path).parent.mkdir(parents=True, exist_ok=True)
        (tree / path).write_bytes(data)
    for path in [tree, *tree.rglob("*")]:
        path.chmod(0o755 if path.is_dir() else 0o644)
    deb = folder / f"{name}_1_all.deb"
    subprocess.run(["dpkg-deb", "--build", "--root-owner-group", tree, deb], check=True, capture_output=True)
    return str(deb)


def archive(files: dict[str, bytes], damage: bytes = b"") -> bytes:
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w") as opened:
        for path, content in files.items():
            opened.writestr(path, content)
    return data.getvalue().replace(damage, b"\0" * len(damage)) if damage else data.getvalue()


def kept(out: Path) -> set[str]:
    return {row["path"] for row in read_rows(out / "files.csv") if not row["skipped"]}


def skipped(out: Path) -> dict[str, str]:
    return {row["path"].split("/")[-1]: row["skipped"] for row in read_rows(out / "files.csv") if row["skipped"]}


def test_a_package_becomes_a_folder_that_can_be_packed(tmp_path: Path) -> None:
    damaged = sound(1, 9)
    files = {
        "a.wav": sound(1, 1, rate=44_100),
        "deep/b.wav": sound(1, 2),
        "copy-of-b.wav": sound(1, 2),
        "silent.wav": sound(1, 3, peak=1e-4),
        "broken.ogg": b"no sound",
        "empty.wav": sound(0, 3),
        "ESC-50/dog.wav": sound(1, 4),
        "esc5000.wav": sound(1, 5),
        "readme.txt": b"text",
        "data.pk3": archive({"music/c.wav": sound(1, 6), "../evil.wav": sound(1, 7), "/top.wav": sound(1, 8)}),
        "torn.zip": archive({"d.wav": damaged}, damage=damaged[100:200]),
    }
    out = tmp_path / "out"
    open_corpus.main([str(out), build(tmp_path, "toy-data", files)])
    base = "toy-data/usr/share/toy-data/"
    expected = {"a.wav", "esc5000.wav", "data.pk3/music/c.wav", "data.pk3/top.wav"}
    one_of_two = kept(out) & {base + "deep/b.wav", base + "copy-of-b.wav"}
    assert len(one_of_two) == 1
    assert kept(out) - one_of_two == {base + path for path in expected}
    reasons = skipped(out)
    assert {"duplicate"} <= set(reasons.values())
    assert "near-silent" in reasons["silent.wav"]
    assert "too short" in reasons["empty.wav"]
    assert "not rec" in reasons["broken.ogg"]
    assert reasons["dog.wav"] == "of an evaluation set: ESC-50"
    assert "damaged archive" in reasons["d.wav"]
    assert (out / "toy-data/copyright").read_text() == TERMS
    assert not list(tmp_path.rglob("evil*"))
    assert read_rows(out / "sources.csv") == [{"source": "toy-data", "licence": "CC0-1.0; GPL-2+", "minutes": "0.08"}]

    packing.main([str(out), str(tmp_path / "packed")])
    packed = Corpus(tmp_path / "packed")
    assert {row["path"].removesuffix(".flac") for row in read_rows(packed.folder / "manifest.csv")} == kept(out)
    assert (packed.sources, packed.piece(0).licence) == (["toy-data"], "CC0-1.0; GPL-2+")
    assert set(packed.lengths.tolist()) == {16_000}


def test_a_package_gives_its_minutes_and_no_more(tmp_path: Path) -> None:
    deb = build(tmp_path, "toy", {f"{index}.wav": sound(2, index) for index in range(5)})
    open_corpus.main([str(tmp_path / "out"), deb, "--minutes", str(5 / 60)])
    lengths = [soundfile.info(path).frames / 16_000 for path in (tmp_path / "out").rglob("*.flac")]
    assert sorted(lengths) == [1, 2, 2]
    assert list(skipped(tmp_path / "out").values()) == ["the package has given its minutes"] * 2


def test_what_may_not_be_used_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    files = {"a.wav": sound(1, 1)}
    debs = [
        build(tmp_path, "birds", files, terms="License: CC-BY-4.0\nSource: https://xeno-canto.org\n"),
        build(tmp_path, "secret", files, section="non-free/games"),
        build(tmp_path, "plain", files, terms="Do as you like.\nCopyright John Watkins"),
        str(tmp_path / "gone.deb"),
    ]
    open_corpus.main([str(tmp_path / "out"), *debs])
    said = capsys.readouterr().out
    assert "birds may hold sound of an evaluation set: xeno-canto" in said
    assert "secret is in non-free/games" in said
    assert "gone.deb" in said
    assert [row["source"] for row in read_rows(tmp_path / "out/sources.csv")] == ["plain"]
    assert "debian/copyright" in read_rows(tmp_path / "out/sources.csv")[0]["licence"]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["files.csv", "plain", "sources.csv"]


def test_an_interrupted_run_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    debs = {"one": {"a.wav": sound(1, 1)}, "two": {"a.wav": sound(1, 1), "b.wav": sound(1, 2)}}
    one, two = (build(tmp_path, name, files) for name, files in debs.items())
    out = tmp_path / "out"
    open_corpus.main([str(out), one])
    # Killed between the table of files and the table of sources: the package is taken in once more.
    (out / "two").mkdir()
    (out / "two/left-over.flac").write_bytes(b"")
    with (out / "files.csv").open("a") as file:
        file.write("two/usr/share/two/b.wav,1.00,0123,\n")
    fetched: list[str] = []
    fetch = open_corpus.fetch
    monkeypatch.setattr(open_corpus, "fetch", lambda package, folder: fetched.append(package) or fetch(package, folder))
    open_corpus.main([str(out), one, two])
    assert [path.name for path in (out / "two").rglob("*.flac")] == ["b.wav.flac"]
    assert [row["source"] for row in read_rows(out / "sources.csv")] == ["one", "two"]
    assert skipped(out) == {"a.wav": "duplicate"}
    open_corpus.main([str(out), two])
    assert [row["source"] for row in read_rows(out / "sources.csv")] == ["one", "two"]


def test_packages_are_downloaded_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    deb = Path(build(tmp_path, "toy", {"a.wav": sound(1, 1)}))
    tools = tmp_path / "bin"
    tools.mkdir()
    fake = f'#!/bin/sh\n[ "$1 $2" = "download toy" ] || {{ echo "E: Unable to locate package $2" >&2; exit 100; }}\ncp {deb} .\n'
    (tools / "apt-get").write_text(fake)
    (tools / "apt-get").chmod(0o755)
    monkeypatch.setenv("PATH", str(tools), prepend=":")
    opened = open_corpus.OpenCorpus(tmp_path / "out")
    opened.add("toy")
    assert kept(tmp_path / "out") == {"toy/usr/share/toy/a.wav"}
    with pytest.raises(ValueError, match="Unable to locate package nothing"):
        opened.add("nothing")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ValueError, match="apt-get is not installed"):
        opened.add("other")


def test_the_list_of_packages_has_no_doubles(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    monkeypatch.setattr(open_corpus.OpenCorpus, "add", lambda self, package: asked.append(package))
    open_corpus.main([str(tmp_path / "out")])
    assert len(asked) == len(set(asked)) > 150
    assert "bambam" in asked
