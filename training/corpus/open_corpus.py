"""An open corpus of real sound for anybody: what the free packages of Debian hold, as a folder to be packed.

    python -m training.corpus.open_corpus OPEN                      # the packages of open_corpus.txt: 12 GB to fetch
    python -m training.corpus.open_corpus OPEN bambam ./other.deb   # or packages of one's own choice, by name or file
    python -m training.corpus OPEN PACKED

Speech, instruments, animals, machines, game effects, ambience, music. Runs on Debian and its relatives, without root:
`apt-get download` and `dpkg-deb -x` fetch and unpack, nothing is installed. A package that this machine's suites do not
have is passed over and named at the end. Sound inside .zip and .pk3 archives is found too.

    OPEN/<package>/.../<file>.flac   mono at 16 kHz, at most --minutes a package, taken in random order
    OPEN/<package>/copyright         the terms, as Debian states them
    OPEN/sources.csv                 source,licence,minutes: a row a finished package, and what training.corpus reads
    OPEN/files.csv                   path,seconds,sha256,skipped: every sound file, and why it was left out if it was

Left out: near-silence, duplicates (the same samples), contrib and non-free, and whatever an evaluation set may contain
(DENIED). A run that was interrupted goes on, package by package. The licence is a hint, the names in debian/copyright:
weights trained on the sound are not the sound, but say what they were trained on.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import io
import random
import re
import shutil
import subprocess
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path, PurePosixPath

import numpy as np
import soundfile
from tqdm import tqdm

from mtslvr.sound.stream import SAMPLE_RATE
from training.corpus.layouts import SUFFIXES, decode, sound_files
from training.corpus.pack import quantise
from training.corpus.reader import read_rows

PACKAGES = Path(__file__).with_name("open_corpus.txt")
MINUTES = 20.0  # of sound that one package may give: music would outweigh everything
ARCHIVES = {".zip", ".pk3", ".pk4", ".love"}  # all of them zip files
MAX_MEMBER = 512 * 1024**2  # bytes; a larger file in an archive is no sound effect, but may be a bomb
# In these the evaluation sets were recorded or collected: never to be heard before. Looked for in names and terms.
DENIED = re.compile(
    r"\besc-?50\b|ravdess|watkins[ _-]?marine|voxceleb|fsdkaggle|speech[ _-]?accent[ _-]?archive|xeno-?canto|emo-?db\b"
    r"|\bfsdd\b|free[ _-]spoken[ _-]digit|philharmonia|open[ _-]?source[ _-]?drum-?kit",
    re.IGNORECASE,
)


def fetch(package: str, folder: Path) -> Path:
    """The .deb of a package, downloaded into `folder`; the path itself of one that is here. Raises ValueError."""
    if package.endswith(".deb"):
        return Path(package).resolve()
    output_of("apt-get", "download", package, cwd=folder)
    return next(folder.glob("*.deb"))


def output_of(*command: str, cwd: Path | None = None) -> str:
    """Its standard output. Raises ValueError, with its last words, if the command fails or is not there."""
    try:
        result = subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=True)
    except FileNotFoundError as error:
        raise ValueError(f"{command[0]} is not installed: this script needs Debian or a relative") from error
    except subprocess.CalledProcessError as error:
        raise ValueError(f"{' '.join(command)} failed: {error.stderr.strip()[-200:]}") from error
    return result.stdout.strip()


def licence_hint(copyright_text: str) -> str:
    """The names of the licences in a machine-readable debian/copyright, or where to look."""
    names = re.findall(r"^License:[ \t]*(\S.*?)[ \t]*$", copyright_text, re.MULTILINE)
    return "; ".join(sorted(set(names))) or "see the package's debian/copyright"


def unpacked_sounds(folder: Path) -> Iterator[tuple[str, Callable[[], Path | io.BytesIO]]]:
    """(path inside the package, what opens it) for all the sound in an unpacked package, in archives too."""
    for path in sound_files(folder):
        if not path.is_symlink():
            yield path.relative_to(folder).as_posix(), partial(Path, path)
    for path in sorted(path for path in folder.rglob("*") if path.suffix.lower() in ARCHIVES):
        if path.is_file() and not path.is_symlink() and zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                members = archive.infolist()
            for member in members:
                inside = PurePosixPath(member.filename.lstrip("/"))
                if inside.suffix.lower() in SUFFIXES and ".." not in inside.parts:
                    yield (path.relative_to(folder) / inside).as_posix(), partial(_open_member, path, member)


def _open_member(archive: Path, member: zipfile.ZipInfo) -> io.BytesIO:
    if member.file_size > MAX_MEMBER:
        raise ValueError(f"{member.file_size} bytes, too many for sound in an archive")
    try:
        with zipfile.ZipFile(archive) as opened:
            return io.BytesIO(opened.read(member))
    except (zipfile.BadZipFile, zlib.error) as error:
        raise ValueError(f"damaged archive: {error}") from error


class OpenCorpus:
    """The folder being filled, and what it holds already."""

    def __init__(self, out: Path, minutes: float = MINUTES) -> None:
        """minutes: of sound at most from one package."""
        self.out, self.max_samples = out, round(minutes * 60 * SAMPLE_RATE)
        out.mkdir(parents=True, exist_ok=True)
        self.done = {row["source"] for row in _rows(out / "sources.csv")}
        self.hashes = {row["sha256"] for row in _rows(out / "files.csv") if row["path"].split("/")[0] in self.done}

    def add(self, package: str) -> None:
        """Fetches a package and takes its sound in. Raises ValueError if it cannot be had or must not be used."""
        if package in self.done:
            return
        with tempfile.TemporaryDirectory(dir=self.out, prefix=".") as scratch:
            folder = Path(scratch)
            deb = fetch(package, folder)
            name, section = (output_of("dpkg-deb", "-f", str(deb), field) for field in ("Package", "Section"))
            if name in self.done:
                return
            if section.startswith(("contrib", "non-free")):
                raise ValueError(f"{name} is in {section}, which is not free")
            output_of("dpkg-deb", "-x", str(deb), str(folder / "unpacked"))
            if deb.parent == folder:
                deb.unlink()
            terms = folder / "unpacked/usr/share/doc" / name / "copyright"
            terms_text = terms.read_text(encoding="utf-8", errors="replace") if terms.exists() else ""
            if denied := DENIED.search(f"{name}\n{terms_text}"):
                raise ValueError(f"{name} may hold sound of an evaluation set: {denied[0]}")
            rows = self._keep(name, list(unpacked_sounds(folder / "unpacked")), folder / "kept")
            (folder / "kept/copyright").write_text(terms_text, encoding="utf-8")
            shutil.rmtree(self.out / name, ignore_errors=True)
            (folder / "kept").rename(self.out / name)
        append_rows(self.out / "files.csv", ("path", "seconds", "sha256", "skipped"), rows)
        n_minutes = sum(float(seconds) for _, seconds, _, skipped in rows if not skipped) / 60
        row = (name, licence_hint(terms_text), f"{n_minutes:.2f}")
        append_rows(self.out / "sources.csv", ("source", "licence", "minutes"), [row])
        self.done.add(name)

    def _keep(
        self, package: str, sounds: list[tuple[str, Callable[[], Path | io.BytesIO]]], folder: Path
    ) -> list[tuple[str, str, str, str]]:
        """Writes what is to be kept into `folder`, up to the cap; the rows of files.csv."""
        folder.mkdir()
        rows, room = [], self.max_samples
        for path, open_sound in random.Random(package).sample(sounds, len(sounds)):
            seconds, digest = "0", ""
            try:
                if denied := DENIED.search(path):
                    raise ValueError(f"of an evaluation set: {denied[0]}")
                if room <= 0:
                    raise ValueError("the package has given its minutes")
                samples = quantise(np.concatenate([*decode(open_sound())] or [np.empty(0, np.float32)]))
                digest = hashlib.sha256(samples.tobytes()).hexdigest()
                if digest in self.hashes:
                    raise ValueError("duplicate")
                samples = samples[:room]
                target = folder / f"{path}.flac"
                target.parent.mkdir(parents=True, exist_ok=True)
                soundfile.write(target, samples, SAMPLE_RATE)
                self.hashes.add(digest)
                room -= len(samples)
                seconds, skipped = f"{len(samples) / SAMPLE_RATE:.2f}", ""
            except (OSError, RuntimeError, ValueError) as error:
                skipped = str(error)
            rows.append((f"{package}/{path}", seconds, digest, skipped))
        return rows


def _rows(table: Path) -> list[dict[str, str]]:
    return read_rows(table) if table.exists() else []


def append_rows(table: Path, columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    new = not table.exists()
    with table.open("a", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerows([columns, *rows] if new else rows)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m training.corpus.open_corpus", description="Assemble an open corpus."
    )
    parser.add_argument("out", type=Path, help="the folder to fill; one begun before is gone on with")
    parser.add_argument(
        "packages", nargs="*", help="names of packages, or .deb files; by default those of open_corpus.txt"
    )
    parser.add_argument("--minutes", type=float, default=MINUTES, help="of sound at most from one package")
    options = parser.parse_args(arguments)
    lines = PACKAGES.read_text(encoding="utf-8").splitlines()
    listed = [line.split()[0] for line in lines if line.strip() and not line.startswith("#")]
    corpus, failures = OpenCorpus(options.out, options.minutes), []
    for package in tqdm(options.packages or listed, unit="package"):
        try:
            corpus.add(package)
        except ValueError as error:
            failures.append(f"{package}: {error}")
    print("\n".join(["Passed over:", *failures] if failures else ["All packages are in."]))


if __name__ == "__main__":
    main()
