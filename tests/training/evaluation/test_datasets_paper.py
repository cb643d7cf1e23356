"""The ten sets of the paper, read from miniatures of their official downloads, each with its traps."""

from __future__ import annotations

import importlib
import io
from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import soundfile

from mtslvr.sound.files import sounds_in
from training.evaluation.datasets import commonvoice
from training.evaluation.datasets.common import Clip, Dataset, class_splits, split
from training.evaluation.encoders import LogMel, Network

Expected = list[tuple[str, str, str | None]]  # path inside the set, label, group; in order

SPECIES = ("Sylvia curruca_Lesser Whitethroat", "Sayornis saya_Say's Phoebe", "Ara macao_Scarlet Macaw")
POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"0" * 64 + b"\nsize 72940\n"  # of 128 bytes


@cache
def sound(seconds: float, kind: str = "WAV") -> bytes:
    """An encoded sound, silent and at 8 kHz."""
    file = io.BytesIO()
    soundfile.write(file, np.zeros(round(8000 * seconds)), 8000, format=kind)
    return file.getvalue()


def put(root: Path, *paths: str, content: bytes | None = None) -> None:
    for path in paths:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(content or sound(0.1, "MP3" if path.endswith(".mp3") else "WAV"))


def write(root: Path, path: str, *lines: str) -> None:
    put(root, path, content="".join(f"{line}\n" for line in lines).encode())


def esc50(root: Path) -> Expected:
    write(
        root,
        "meta/esc50.csv",
        "filename,fold,target,category,esc10,src_file,take",
        "1-100032-A-0.wav,1,0,dog,True,100032,A",
        "1-137-A-32.wav,1,32,keyboard_typing,False,137,A",
        "1-137-B-32.wav,1,32,keyboard_typing,False,137,B",
    )
    put(root, "audio/1-137-B-32.wav", "audio/1-137-A-32.wav", "audio/1-100032-A-0.wav")
    write(root, "meta/esc50-human.xlsx", "no matter")
    return [
        ("audio/1-100032-A-0.wav", "dog", "100032"),
        ("audio/1-137-A-32.wav", "keyboard_typing", "137"),
        ("audio/1-137-B-32.wav", "keyboard_typing", "137"),
    ]


def nsynth(root: Path) -> Expected:
    paths = [
        "nsynth-train/audio/bass_synthetic_033-022-050.wav",
        "nsynth-train/audio/synth_lead_synthetic_011-090-127.wav",
        "nsynth-valid/audio/bass_synthetic_033-100-025.wav",
        "nsynth-test/audio/keyboard_electronic_001-021-025.wav",
    ]
    put(root, *paths)
    for part in ("train", "valid", "test"):
        write(root, f"nsynth-{part}/examples.json", "{}")
    labels = ["bass_synthetic_033", "synth_lead_synthetic_011", "bass_synthetic_033", "keyboard_electronic_001"]
    return [(path, label, None) for path, label in zip(paths, labels, strict=True)]


def fsdkaggle18(root: Path) -> Expected:
    write(
        root,
        "FSDKaggle2018.meta/train_post_competition.csv",
        "fname,label,manually_verified,freesound_id,license",
        "00044347.wav,Hi-hat,0,28739,Attribution",
    )
    write(
        root,
        "FSDKaggle2018.meta/test_post_competition_scoring_clips.csv",
        "fname,label,usage,freesound_id,license",
        "00326aa9.wav,Keys_jangling,Private,355125,Creative Commons 0",
    )
    paths = ["FSDKaggle2018.audio_train/00044347.wav", "FSDKaggle2018.audio_test/00326aa9.wav"]
    put(root, *paths, "FSDKaggle2018.audio_test/ffffffff.wav")  # one of the clips that were never scored
    return [(paths[0], "Hi-hat", "28739"), (paths[1], "Keys_jangling", "355125")]


def watkins(root: Path) -> Expected:
    kept = ["Beluga,_White_Whale/5800600A.wav", "Frasers_Dolphin/72021001.wav", "Frasers_Dolphin/72021002.wav"]
    put(root, *kept[:2])
    put(root, kept[2], content=sound(180))
    put(root, "Frasers_Dolphin/72021003.wav", content=sound(180.1))
    return [(path, path.split("/")[0], None) for path in kept]


def birdclef(root: Path) -> Expected:
    enough, enough_of_more, too_few_once_pruned = SPECIES
    for species, n_short, n_long in ((enough, 50, 0), (enough_of_more, 50, 1), (too_few_once_pruned, 49, 1)):
        put(root, *(f"{species}/XC{i:03}.mp3" for i in range(n_short)))
        put(root, *(f"{species}/XC9{i:03}.wav" for i in range(n_long)), content=sound(181))
    return [(f"{species}/XC{i:03}.mp3", species, None) for species in sorted(SPECIES[:2]) for i in range(50)]


def voxceleb(root: Path) -> Expected:
    paths = [
        "vox1_dev_wav/wav/id10001/1zcIwhmdeo4/00001.wav",
        "vox1_dev_wav/wav/id10001/7gWzIy6yIIk/00001.wav",
        "vox1_test_wav/wav/id10270/5r0dWxy17C8/00012.wav",
    ]
    put(root, *paths)
    write(root, "vox1_meta.csv", "VoxCeleb1 ID\tVGGFace1 ID")
    return [(path, path.split("/")[2], path.split("/")[3]) for path in paths]


def speechcommands(root: Path) -> Expected:
    paths = ["backward/0165e0e8_nohash_0.wav", "backward/0165e0e8_nohash_1.wav", "zero/004ae714_nohash_0.wav"]
    put(root, *paths, "_background_noise_/doing_the_dishes.wav", "_background_noise_/0165e0e8_nohash_2.wav")
    write(root, "testing_list.txt", paths[0])
    return [(path, path.split("/")[0], path.split("/")[1][:8]) for path in paths]


def cremad(root: Path) -> Expected:
    # The third one's name is as it is in the official release.
    names = ["1001_DFA_ANG_XX", "1001_IEO_FEA_HI", "1040_ITH_SAD_X", "1076_MTI_SAD_XX"]
    put(root, *(f"AudioWAV/{name}.wav" for name in names), "AudioMP3/1001_DFA_ANG_XX.mp3", "AudioWAV/._1001.wav")
    return [(f"AudioWAV/{name}.wav", name[9:12], name[:4]) for name in names]


def speechaccent(root: Path) -> Expected:
    write(
        root,
        "speakers_all.csv",
        "age,age_onset,birthplace,filename,native_language,sex,speakerid,country,file_missing?,,,",
        '27,9,"virginia, south africa",afrikaans1,afrikaans,female,1,south africa,FALSE,,,',
        '40,5,"pretoria, south africa",afrikaans2,afrikaans,male,2,south africa,FALSE,,,',
        '25,15,"diekabo, ivory coast",agni1,agni,male,3,ivory coast,FALSE,,,',
        '24,12,"koussi, senegal",balanta,balanta,male,788,senegal,TRUE,,,',
        '41,15,"bilwi, puerto cabezas, nicaragua",nicaragua,nicaragua,male,2084,nicaragua,FALSE,,,',  # has no file
        '33,4,"colombo, sri lanka",sinhalese1,sinhalese,female,317,sri lanka,FALSE,,,',  # neither has this one
        '19,6,"prishtina, kosovo",albanian1,albanian,male,4,kosovo,FALSE,,,',
        '33,15,"tirana, albania",albanian2,albanian,male,5,albania,TRUE,,,',  # and so there is one Albanian left
    )
    folder = "recordings/recordings"
    put(root, *(f"{folder}/{name}.mp3" for name in ("afrikaans1", "afrikaans2", "agni1", "albanian1")))
    write(root, "reading-passage.txt", "Please call Stella.")
    return [(f"{folder}/afrikaans{speaker}.mp3", "afrikaans", speaker) for speaker in "12"]


def commonvoice_(root: Path) -> Expected:
    for locale in ("fy-NL", "tok"):
        folder = f"cv-corpus-12.0-delta-2022-12-07-{locale}/{locale}"
        put(root, *(f"{folder}/clips/common_voice_{locale}_{i}.mp3" for i in (35000001, 35000002)))
        write(
            root,
            f"{folder}/validated.tsv",
            "client_id\tpath\tsentence\tup_votes",
            f'vera{locale}\tcommon_voice_{locale}_34999999.mp3\t"toki, a quotation mark that never ends\t2',
            f"anna{locale}\tcommon_voice_{locale}_35000001.mp3\ttoki\t2",
        )
        write(
            root,
            f"{folder}/other.tsv",
            "client_id\tpath\tsentence",
            f"otto{locale}\tcommon_voice_{locale}_35000002.mp3\ta",
        )
    return [
        (
            f"cv-corpus-12.0-delta-2022-12-07-{locale}/{locale}/clips/common_voice_{locale}_3500000{i}.mp3",
            locale,
            f"{speaker}{locale}",
        )
        for locale in ("fy-NL", "tok")
        for i, speaker in ((1, "anna"), (2, "otto"))
    ]


# name: what builds it, and a folder inside it that users give instead
MINIATURES: dict[str, tuple[Callable[[Path], Expected], str]] = {
    "esc50": (esc50, "audio"),
    "nsynth": (nsynth, "nsynth-test"),
    "fsdkaggle18": (fsdkaggle18, "FSDKaggle2018.meta"),
    "watkins": (watkins, "."),
    "birdclef": (birdclef, "."),
    "voxceleb": (voxceleb, "."),
    "speechcommands": (speechcommands, "."),
    "cremad": (cremad, "AudioWAV"),
    "speechaccent": (speechaccent, "recordings"),
    "commonvoice": (commonvoice_, "."),
}


def read(name: str, root: Path) -> Dataset:
    dataset = importlib.import_module(f"training.evaluation.datasets.{name}").read(root)
    assert isinstance(dataset, Dataset)
    return dataset


@pytest.mark.parametrize("name", MINIATURES)
def test_every_reader_keeps_the_contract(name: str, tmp_path: Path) -> None:
    build, inside = MINIATURES[name]
    root = tmp_path / "download"
    expected = build(root)
    dataset = read(name, root)
    assert dataset.name == name
    assert dataset.clips == tuple(Clip(root / path, label, group) for path, label, group in expected)
    for clip in dataset.clips:
        assert soundfile.info(clip.path).frames > 0
    known = {label for classes in class_splits()[name].values() for label in classes}
    assert set(dataset.classes) <= known  # spelled as in the authors' lists
    assert read(name, tmp_path) == read(name, root / inside) == dataset  # one folder too high, and one too low


@pytest.mark.parametrize("name", MINIATURES)
def test_a_wrong_folder_says_what_was_looked_for_and_found(name: str, tmp_path: Path) -> None:
    write(tmp_path, "wrong/notes.txt", "")
    put(tmp_path, "wrong/a.wav")
    (tmp_path / "empty").mkdir()
    if name != "watkins":  # any folder with sound is a species
        with pytest.raises(ValueError, match=rf"^{name}: looked for .+ in {tmp_path}/wrong; found a\.wav, notes\.txt$"):
            read(name, tmp_path / "wrong")
    with pytest.raises(ValueError, match=rf"^{name}: looked for .+; found nothing$"):
        read(name, tmp_path / "empty")
    with pytest.raises(ValueError, match=rf"^{name}: looked for .+; found no such folder$"):
        read(name, tmp_path / "nowhere")


def test_the_splits_are_those_of_the_paper() -> None:
    sizes = {name: [len(parts[part]) for part in ("train", "val", "test")] for name, parts in class_splits().items()}
    assert sizes == {
        "esc50": [35, 5, 10],
        "nsynth": [705, 101, 200],
        "fsdkaggle18": [29, 5, 7],
        "watkins": [0, 0, 32],
        "birdclef": [501, 72, 142],
        "voxceleb": [876, 126, 249],
        "speechcommands": [0, 0, 35],
        "cremad": [0, 0, 6],
        "speechaccent": [0, 0, 122],
        "commonvoice": [0, 0, 88],
    }
    for parts in class_splits().values():
        classes = [label for part in parts.values() for label in part]
        assert len(set(classes)) == len(classes)
        assert all(list(part) == sorted(part) for part in parts.values())
    assert set(class_splits()) == set(MINIATURES)
    assert {"dog", "vacuum_cleaner", "church_bells"} <= set(class_splits()["esc50"]["test"])


def test_every_locale_is_told_by_its_folder(tmp_path: Path) -> None:
    locales = class_splits()["commonvoice"]["test"]
    put(tmp_path, *(f"{locale}/clips/a.mp3" for locale in locales))
    assert read("commonvoice", tmp_path).classes == locales


def small(*labels: str, name: str = "esc50") -> Dataset:
    return Dataset(name, tuple(Clip(Path(f"{i}.wav"), label) for i, label in enumerate(labels)))


def test_a_split_keeps_its_classes_in_order() -> None:
    dataset = small(*(label for part in class_splits()["esc50"].values() for label in part), "dog")
    test = split(dataset)
    assert test.name == "esc50"
    assert test.classes == class_splits()["esc50"]["test"]
    assert list(test.clips) == [clip for clip in dataset.clips if clip.label in test.classes]
    assert len(test.clips) == 11
    assert split(dataset, "val").classes == class_splits()["esc50"]["val"]
    assert split(dataset, "all") is dataset


def test_somebodys_own_set_has_no_split() -> None:
    dataset = small("wren", "owl", name="birds")
    assert split(dataset, "test") is dataset


def test_a_split_that_cannot_be_made() -> None:
    labels = [label for label in class_splits()["esc50"]["test"] if label not in ("cow", "dog")]
    message = r"2 of the 10 classes of the paper's test split are missing: cow, dog; found 8 classes: .*--split all"
    with pytest.raises(ValueError, match=message):
        split(small(*labels))
    with pytest.raises(ValueError, match=r"cremad: the paper has no classes in val, all 6 are in test"):
        split(small("ANG", name="cremad"), "val")
    with pytest.raises(ValueError, match=r"split is 'valid'; expected one of all, train, val, test"):
        split(small("dog"), "valid")


@pytest.mark.parametrize("name", ["esc50", "fsdkaggle18", "speechaccent"])
def test_a_listed_clip_that_is_missing(name: str, tmp_path: Path) -> None:
    path = tmp_path / MINIATURES[name][0](tmp_path)[0][0]
    path.unlink()
    with pytest.raises(ValueError, match=rf"{name}: 1 of the \d clips in .*\.csv are missing: .*{path.name}"):
        read(name, tmp_path)


def test_a_table_with_other_columns(tmp_path: Path) -> None:
    fsdkaggle18(tmp_path)
    write(tmp_path, "FSDKaggle2018.meta/train_post_competition.csv", "file,class")
    with pytest.raises(ValueError, match=r"train_post_competition\.csv has the columns file, class; expected fname"):
        read("fsdkaggle18", tmp_path)


@pytest.mark.parametrize("name", ["nsynth", "fsdkaggle18"])
def test_a_part_that_is_missing(name: str, tmp_path: Path) -> None:
    part = tmp_path / Path(MINIATURES[name][0](tmp_path)[-1][0]).parts[0]
    part.rename(tmp_path / "elsewhere")
    with pytest.raises(ValueError, match=rf"{name}: looked for .*{part.name}.*; found .*elsewhere"):
        read(name, tmp_path)


def test_a_part_of_nsynth_without_sounds(tmp_path: Path) -> None:
    for path in nsynth(tmp_path)[:2]:
        (tmp_path / path[0]).unlink()
    with pytest.raises(ValueError, match=r"looked for .* in .*nsynth-train; found audio, examples\.json"):
        read("nsynth", tmp_path)


def test_pointers_of_git_lfs(tmp_path: Path) -> None:
    cremad(tmp_path)
    put(tmp_path, "AudioWAV/1001_DFA_ANG_XX.wav", "AudioWAV/1001_IEO_FEA_HI.wav", content=POINTER)
    with pytest.raises(ValueError, match=r"2 of 4 clips are no sound but pointers of Git LFS: .*git lfs pull"):
        read("cremad", tmp_path)


@pytest.mark.slow
def test_the_silent_clip_gets_a_vector(tmp_path: Path) -> None:
    silent = tmp_path / cremad(tmp_path)[-1][0]
    for encoder in (LogMel(), Network.untrained()):
        with pytest.warns(UserWarning, match="1076_MTI_SAD_XX.wav.* is silence"):
            assert np.isfinite(encoder.embed([silent])).all()


@pytest.mark.parametrize("name", ["watkins", "birdclef"])
def test_a_clip_whose_length_cannot_be_read(name: str, tmp_path: Path) -> None:
    first = MINIATURES[name][0](tmp_path)[0][0]
    (tmp_path / first).write_bytes(b"")
    with pytest.raises(ValueError, match=rf"{name}: 1 of \d+ files cannot be read: .*{Path(first).name}"):
        read(name, tmp_path)


def test_no_species_is_frequent_enough(tmp_path: Path) -> None:
    put(tmp_path, *(f"{species}/a.wav" for species in SPECIES))
    with pytest.raises(ValueError, match=r"no species in .* has 50 clips of at most 180 s"):
        read("birdclef", tmp_path)


def test_a_locale_is_capped_by_a_draw_that_depends_on_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert commonvoice.MAX_CLIPS == 10_000
    monkeypatch.setattr(commonvoice, "MAX_CLIPS", 4)
    put(tmp_path, *(f"one/tok/clips/{i:02}.mp3" for i in range(10)))
    alone = [clip.path for clip in read("commonvoice", tmp_path).clips]
    assert len(alone) == 4
    assert alone == sorted(alone)
    assert alone != [tmp_path / f"one/tok/clips/{i:02}.mp3" for i in range(4)]  # not merely the first ones
    put(tmp_path, *(f"one/fr/clips/{i:02}.mp3" for i in range(3)))
    both = read("commonvoice", tmp_path)
    assert [clip.path for clip in both.clips if clip.label == "tok"] == alone
    assert sum(clip.label == "fr" for clip in both.clips) == 3
    assert {clip.group for clip in both.clips} == {None}  # no table beside them


def test_sounds_are_found_in_one_order_whatever_the_folder_says(tmp_path: Path) -> None:
    put(tmp_path, "b/2.WAV", "b/1.flac", "a/3.mp3", "a/.4.wav", ".git/5.wav", "6.ogg")
    write(tmp_path, "a/notes.txt", "")
    (tmp_path / "linked").symlink_to(tmp_path / "a")
    found = [path.relative_to(tmp_path).as_posix() for path in sounds_in(tmp_path)]
    assert found == ["6.ogg", "a/3.mp3", "b/1.flac", "b/2.WAV", "linked/3.mp3"]
