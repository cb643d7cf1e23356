"""How the sounds beside this script were cut and mixed: python docs/examples/sounds/build.py UNPACKED

UNPACKED holds 0ad, openclonk, redeclipse, scratch, sonic-pi and supertuxkart: the sound folders of those Debian packages
(SOURCES.md says which), with their archives unpacked.
"""

import random
import sys
from pathlib import Path

import numpy as np
import soundfile

from mtslvr.sound.stream import SAMPLE_RATE, read

HERE = Path(__file__).parent
KINDS = {  # Sonic Pi's names: what they are
    "kick": "bd_808 bd_ada bd_boom bd_fat bd_haus bd_klub bd_pure bd_sone bd_tek bd_zum drum_bass_hard drum_heavy_kick",
    "snare": "sn_dolf sn_dub sn_generic sn_zome drum_snare_hard drum_snare_soft elec_snare elec_hi_snare elec_mid_snare",
    "cymbal": "drum_cymbal_closed drum_cymbal_hard drum_cymbal_open drum_cymbal_pedal drum_splash_hard drum_splash_soft elec_cymbal",
    "tom": "drum_tom_hi_hard drum_tom_hi_soft drum_tom_lo_hard drum_tom_lo_soft drum_tom_mid_hard drum_tom_mid_soft",
    "bell": "perc_bell elec_bell elec_chime elec_triangle drum_cowbell",
    "bass": "bass_dnb_f bass_drop_c bass_hard_c bass_hit_c bass_thick_c bass_trance_c bass_voxy_c bass_woodsy_c",
}
GAIN = 0.02  # of the machine, whose mean level is 1 before
Labels = list[tuple[float, float, str]]


def cut(wave: np.ndarray, start: float, end: float) -> np.ndarray:
    return wave[round(start * SAMPLE_RATE) : round(end * SAMPLE_RATE)]


def level(wave: np.ndarray) -> float:
    """Root mean square of the loudest half second."""
    power = np.convolve(wave**2, np.ones(SAMPLE_RATE // 2) / (SAMPLE_RATE // 2))
    return float(np.sqrt(power.max()))


def mix(base: np.ndarray, sound: np.ndarray, at: float, decibels: float) -> np.ndarray:
    """`sound` added at `at` seconds, its loudest half second that much over the mean level of `base`."""
    mixed, start = base.copy(), round(at * SAMPLE_RATE)
    gain = 10 ** (decibels / 20) * np.sqrt(np.mean(base**2)) / level(sound)
    mixed[start : start + len(sound)] += gain * sound[: len(mixed) - start]
    return mixed


def write(name: str, wave: np.ndarray, gain: float | None = None) -> None:
    """As Ogg Opus; without a gain the peak is set to 0.7. What one microphone heard gets one gain."""
    path = HERE / name
    path.parent.mkdir(parents=True, exist_ok=True)
    wave = ((gain or 0.7 / np.abs(wave).max()) * wave).astype(np.float32)
    soundfile.write(path, wave, SAMPLE_RATE, format="OGG", subtype="OPUS", compression_level=0.9)


def write_labels(name: str, labels: Labels) -> None:
    rows = (f"{start:.2f}\t{end:.2f}\t{label}\n" for start, end, label in sorted(labels))
    (HERE / name).write_text("".join(rows), encoding="utf-8")


def birds(unpacked: Path) -> None:
    forest = [read(unpacked / f"redeclipse/ambience/forest{i}.ogg") for i in (1, 2, 3)]
    whip = read(unpacked / "supertuxkart/sfx/exotic-birds_2.ogg")
    field, seam = np.concatenate(forest[1:]), len(forest[1]) / SAMPLE_RATE
    # As the envelope in 4.5-7.8 kHz shows them; those less than 15 dB above its median are faint.
    labels = [(start, end, "whistle") for start, end in [(6.8, 9.2), (15.2, 16.8), (20.8, 22.3)]]
    labels += [(seam + s, seam + e, "whistle") for s, e in [(3.6, 6.0), (11.6, 13.3), (20.4, 22.0), (30.6, 32.4)]]
    faint = [(8.2, 8.5), (14.7, 14.8), (15.6, 16.6), (25.8, 26.6), (33.8, 34.6), (35.8, 36.4)]
    labels += [(seam + s, seam + e, "whistle (faint)") for s, e in faint]
    strangers = [
        *((11.5, "rooster", "scratch/Animal/Rooster.wav"), (18.2, "owl", "scratch/Animal/Owl.wav")),
        *((31.0, "hen", "0ad/fauna/animal/chicken_12.ogg"), (41.2, "crow", "sonic-pi/misc_crow.flac")),
        *((50.4, "goose", "scratch/Animal/Goose.wav"), (60.5, "duck", "scratch/Animal/Duck.wav")),
    ]
    added = [(at, name, read(unpacked / path)) for at, name, path in strangers]
    added += [(25.0, "whip", cut(whip, 10.75, 11.55)), (47.5, "whip", cut(whip, 14.55, 15.35))]
    base = field
    for at, name, wave in added:
        field = field + mix(base, wave, at, 12.0) - base  # all at one level over the forest alone
        labels.append((at, at + len(wave) / SAMPLE_RATE, name))
    gain = 0.7 / np.abs(field).max()
    for i, (start, end) in enumerate([(3.1, 5.1), (6.5, 8.2), (11.1, 13.0), (15.9, 17.6), (19.9, 21.7)]):
        write(f"birds/learn/whistle/{i + 1}.ogg", cut(forest[0], start, end), gain)
    for i, (start, end) in enumerate([(0, 3), (9, 11), (13.2, 15.6)]):
        write(f"birds/learn/noise/{i + 1}.ogg", cut(forest[0], start, end), gain)
    for i, (start, end) in enumerate([(0.1, 0.9), (5.0, 5.8)]):
        whipped = mix(cut(forest[0], 9, 9.8), cut(whip, start, end), 0, 12.0)
        write(f"birds/learn/whip/{i + 1}.ogg", whipped, gain)
    write("birds/field.ogg", field, gain)
    write_labels("birds/field.txt", labels)


def machine(unpacked: Path) -> None:
    rng = np.random.default_rng(0)
    motor, hall = (
        read(unpacked / f"openclonk/Structures.ocg/{name}.ogg") for name in ("Elevator.ocg/Moving", "Furnace.ocg/Loop")
    )
    metal = "openclonk/Hits.ocg/Materials.ocg/Metal.ocg"

    def running(part: int, seconds: float) -> np.ndarray:
        """The motor, over and over from random places, cross-faded, in the hall; part 0 to learn, part 1 to search."""
        n, fade = round(seconds * SAMPLE_RATE), SAMPLE_RATE // 10
        ramp = np.minimum(1, np.arange(1, fade + 1) / fade)
        wave = np.zeros(n + 4 * SAMPLE_RATE)
        at = 0
        while at < n:
            start = rng.uniform(0, 0.8) + 3.1 * part
            piece = cut(motor, start, start + 2.2).copy()
            piece[:fade] *= np.sqrt(ramp)
            piece[-fade:] *= np.sqrt(ramp[::-1])
            wave[at : at + len(piece)] += piece
            at += len(piece) - fade
        room = cut(hall, 6 * part, 6 * part + 6)
        room = np.tile(room, len(wave) // len(room) + 1)[:n]
        return wave[:n] / np.sqrt(np.mean(motor**2)) + 0.25 * room / np.sqrt(np.mean(hall**2))

    for i in range(6):
        write(f"machine/learn/normal/{i + 1}.ogg", running(0, 1.0), GAIN)
    learn = {
        "knock": [
            f"{metal}/DullMetalHit1.ogg",
            f"{metal}/LightMetalHit1.ogg",
            "openclonk/Objects.ocg/Weapons.ocg/Shield.ocg/MetalHit1.ogg",
        ],
        "squeak": ["openclonk/Structures.ocg/HingeCreak1.ogg", "openclonk/Structures.ocg/HingeCreak2.ogg"],
    }
    for kind, paths in learn.items():
        for i, path in enumerate(paths):
            write(
                f"machine/learn/{kind}/{i + 1}.ogg",
                mix(running(0, 1.0), cut(read(unpacked / path), 0, 0.8), 0.1, 0.0),
                GAIN,
            )
    shield = "openclonk/Objects.ocg/Weapons.ocg/Shield.ocg"
    faults = [
        *((6.0, "knock", f"{metal}/DullMetalHit2.ogg"), (12.5, "squeak", "openclonk/Structures.ocg/HingeCreak3.ogg")),
        *(
            (19.3, "rattle", "openclonk/Structures.ocg/StoneGate.ocg/Chain.ogg"),
            (26.1, "knock", f"{metal}/LightMetalHit2.ogg"),
        ),
        *((32.4, "hiss", "openclonk/Liquids.ocg/Pshshsh.ogg"), (38.7, "knock", f"{shield}/MetalHit3.ogg")),
        *((45.2, "squeak", "openclonk/Structures.ocg/HingeCreak3.ogg"), (52.6, "knock", f"{shield}/MetalHit4.ogg")),
    ]
    stream, labels = running(1, 60.0), []
    base = stream
    for at, kind, path in faults:
        wave = read(unpacked / path)
        stream = stream + mix(base, wave, at, 0.0) - base
        labels.append((at, at + len(wave) / SAMPLE_RATE, kind))
    write("machine/stream.ogg", stream, GAIN)
    write_labels("machine/stream.txt", labels)


def voices(unpacked: Path) -> None:
    for language in ("latin", "napatan", "persian"):
        for sex in ("female", "male"):
            paths = sorted((unpacked / "0ad/voice" / language / "civ").glob(f"civ_{sex}_*.ogg"))
            for path in random.Random(0).sample(paths, 15):
                write(f"voices/{language}/{sex}/{path.stem.removeprefix(f'civ_{sex}_')}.ogg", read(path))


def drums(unpacked: Path) -> None:
    for kind, names in KINDS.items():
        for name in names.split():
            wave = read(unpacked / f"sonic-pi/{name}.flac")[: round(1.2 * SAMPLE_RATE)]
            write(f"drums/{kind}-{name}.ogg", wave)


if __name__ == "__main__":
    for make in (birds, machine, voices, drums):
        make(Path(sys.argv[1]))
