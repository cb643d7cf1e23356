"""Words and notes as a folder to be packed, beside recordings: single, short, and of many voices, languages and instruments.

    python -m training.corpus.rendered OPEN          # may be the folder that training.corpus.open_corpus fills
    python -m training.corpus OPEN PACKED

Needs Debian's espeak-ng, flite, fluidsynth, fluid-soundfont-gm, musescore-general-soundfont, and the lists of words
wamerican, wdutch, wfrench, witalian, wngerman, wpolish, wportuguese, wspanish, wswedish. Takes a few minutes of one core.

    OPEN/espeak-ng-<variant>/<n>.flac         words in nine languages, at a speed and pitch of their own
    OPEN/flite-<voice>/<n>.flac               English words
    OPEN/<soundfont>-<family>/<n>.flac        notes of the eight General MIDI programs of a family
    OPEN/sources.csv                          a row a source, as training.corpus.open_corpus writes it

All of it follows from the seed and the versions of these programs. A source that is there already is kept.
"""

from __future__ import annotations

import argparse
import random
import struct
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from functools import cache, partial
from pathlib import Path

import numpy as np
import soundfile
from tqdm import tqdm

from mtslvr.sound.stream import SAMPLE_RATE
from training.corpus.layouts import decode
from training.corpus.open_corpus import append_rows, output_of
from training.corpus.pack import quantise
from training.corpus.reader import read_rows

DICTIONARIES = Path("/usr/share/dict")
LANGUAGES = {  # of espeak-ng -> the list of words
    "de": "ngerman",
    "en-us": "american-english",
    "es": "spanish",
    "fr": "french",
    "it": "italian",
    "nl": "dutch",
    "pl": "polish",
    "pt": "portuguese",
    "sv": "swedish",
}
NAMES = """
Alex Alicia Andrea Andy Annie Denis Diogo Gene Henrique Hugo Jacky Lee Marco Mario Michael Mike Nguyen Storm adam anika antonio aunty belinda
benjamin boris caleb david ed edward grandma grandpa gustave iven john kaukovalta linda marcelo max michel miguel norbert pablo paul pedro quincy
rob robert sandro shelby steph travis victor whisper whisperf zac croak
"""
VARIANTS = (
    *(f"{kind}{number}" for kind, last in (("m", 8), ("f", 5), ("klatt", 6)) for number in range(1, last + 1)),
    *NAMES.split(),
)
FLITE = ("awb", "kal16", "rms", "slt")
SOUNDFONTS = {
    "fluid-soundfont-gm": "/usr/share/sounds/sf2/FluidR3_GM.sf2",
    "musescore-general-soundfont": "/usr/share/sounds/sf3/MuseScore_General.sf3",
}
GENERAL_MIDI = """
piano chromatic-percussion organ guitar bass strings ensemble brass reed pipe lead pad effects ethnic percussive sound-effects
"""
FAMILIES = GENERAL_MIDI.split()
LICENCES = {"espeak-ng": "GPL-3+", "flite": "BSD", **dict.fromkeys(SOUNDFONTS, "MIT")}  # of the program or soundfont
WORDS = {"espeak-ng": 240, "flite": 1200}  # of each voice of a program
NOTES = 120  # of a family
PROGRAMS = 8  # of a family
SPACE, TICKS = 2.5, 480  # seconds from note to note; MIDI's ticks a second


@cache
def words_of(language: str) -> list[str]:
    """The words of a language's list that are short enough to be said at once. Raises ValueError if it is not installed."""
    path = DICTIONARIES / LANGUAGES[language]
    if not path.exists():
        raise ValueError(f"{path} is missing: install Debian's lists of words, w{LANGUAGES[language]} or the like")
    lines = path.read_text(encoding="utf-8", errors="ignore").split("\n")
    return [word for word in lines if 2 < len(word) < 12 and word.isalpha()]


def spoken(voice: str, scratch: Path, rng: random.Random) -> Iterator[np.ndarray]:
    """Words, float32 [samples] each: `flite-<voice>` says English ones, `espeak-ng-<variant>` those of all languages."""
    program, _, name = voice.rpartition("-")
    words = {language: words_of(language) for language in (LANGUAGES if program == "espeak-ng" else ["en-us"])}
    wav = scratch / "word.wav"
    for _ in range(WORDS[program]):
        language = rng.choice(list(words))
        word = rng.choice(words[language])
        if program == "flite":
            how = ["-voice", name, "--setf", f"duration_stretch={rng.uniform(0.7, 1.4):.2f}", "-t", word, "-o"]
        else:
            pitch, speed = str(rng.randint(20, 80)), str(rng.randint(110, 220))
            how = ["-v", f"{language}+{name}", "-p", pitch, "-s", speed, word, "-w"]
        output_of(program, *how, str(wav))
        yield np.concatenate([*decode(wav)])


def midi(notes: Sequence[tuple[int, int, int, float]]) -> bytes:
    """A MIDI file of one channel with a note every SPACE seconds: (program, pitch, velocity, seconds) each."""

    def after(ticks: int, *event: int) -> bytes:  # MIDI writes numbers in groups of seven bits
        return bytes((0x80 | ticks >> 7, ticks & 0x7F, *event))

    track = b""
    for program, pitch, velocity, seconds in notes:
        held = round(seconds * TICKS)
        track += after(0, 0xC0, program) + after(0, 0x90, pitch, velocity) + after(held, 0x80, pitch, 0)
        track += after(round(SPACE * TICKS) - held, 0xB0, 120, 0)  # all sound off
    track += after(0, 0xFF, 0x2F, 0)
    header = struct.pack(">4sIHHH", b"MThd", 6, 0, 1, TICKS // 2)  # a quarter note is half a second
    return header + struct.pack(">4sI", b"MTrk", len(track)) + track


def played(soundfont: str, family: int, scratch: Path, rng: random.Random) -> Iterator[np.ndarray]:
    """Notes of a family's instruments, float32 [samples] each, dry."""
    notes = [
        (PROGRAMS * family + n % PROGRAMS, rng.randint(36, 88), rng.randint(40, 127), rng.uniform(0.2, SPACE - 0.3))
        for n in range(NOTES)
    ]
    (scratch / "notes.mid").write_bytes(midi(notes))
    files = [SOUNDFONTS[soundfont], str(scratch / "notes.mid")]
    output_of("fluidsynth", "-ni", "-R0", "-C0", "-g1", f"-r{SAMPLE_RATE}", f"-F{scratch / 'notes.wav'}", *files)
    wave = np.concatenate([*decode(scratch / "notes.wav")])
    space = round(SPACE * SAMPLE_RATE)
    for start in range(0, len(notes) * space, space):
        yield wave[start : start + space]


def renderers() -> dict[str, Callable[[Path, random.Random], Iterator[np.ndarray]]]:
    """What renders each source, by its name."""
    voices = [*(f"espeak-ng-{variant}" for variant in VARIANTS), *(f"flite-{voice}" for voice in FLITE)]
    found: dict[str, Callable[[Path, random.Random], Iterator[np.ndarray]]] = {
        voice: partial(spoken, voice) for voice in voices
    }
    for soundfont in SOUNDFONTS:
        found |= {f"{soundfont}-{name}": partial(played, soundfont, number) for number, name in enumerate(FAMILIES)}
    return found


def render(out: Path, seed: int = 0) -> None:
    """Renders every source that `out` does not list. Raises ValueError if a program or a file is missing."""
    out.mkdir(parents=True, exist_ok=True)
    table = out / "sources.csv"
    done = {row["source"] for row in read_rows(table)} if table.exists() else set()
    for source, sounds in tqdm(renderers().items(), unit="source"):
        if source in done:
            continue
        folder, n_samples = out / source, 0
        folder.mkdir(exist_ok=True)
        with tempfile.TemporaryDirectory() as scratch:
            for number, wave in enumerate(sounds(Path(scratch), random.Random(f"{seed} {source}"))):
                try:
                    samples = quantise(wave)
                except ValueError:  # near-silent: a note that the instrument does not have
                    continue
                soundfile.write(folder / f"{number}.flac", samples, SAMPLE_RATE)
                n_samples += len(samples)
        licence = next(terms for program, terms in LICENCES.items() if source.startswith(program))
        append_rows(table, ("source", "licence", "minutes"), [(source, licence, f"{n_samples / SAMPLE_RATE / 60:.2f}")])


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m training.corpus.rendered", description="Render words and notes for pretraining."
    )
    parser.add_argument("out", type=Path, help="the folder to fill; one begun before is gone on with")
    parser.add_argument("--seed", type=int, default=0, help="of words and notes; default: %(default)s")
    options = parser.parse_args(arguments)
    try:
        render(options.out, options.seed)
    except ValueError as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
