"""The whole evaluation on sets made here: what is easy is solved, what is noise is chance, and all of it is written down."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile
from toy_sets import write_tones

from mtslvr.encoder.spaces import Spaces
from training.evaluation.datasets.common import class_splits
from training.evaluation.evaluate import evaluate, main
from training.evaluation.report import Result, plot, table
from training.evaluation.sets import read

RATE = 16_000


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two sets of six classes of six clips: `tones` of different pitch, and `noise`, where the classes are all the same."""
    root = tmp_path_factory.mktemp("sets")
    rng = np.random.default_rng(0)
    for name in ("tones", "noise"):
        lines = ["path,label,group"]
        for i in range(36):
            label = i % 6
            wave = 0.01 * rng.standard_normal(RATE // 4)
            if name == "tones":
                wave += 0.3 * np.sin(2 * np.pi * 300 * 1.5**label * np.arange(len(wave)) / RATE)
            lines.append(f"{i}.wav,class{label},speaker{i // 6}")
            (root / name).mkdir(exist_ok=True)
            soundfile.write(root / name / f"{i}.wav", wave, RATE)
        (root / name / "clips.csv").write_text("\n".join(lines))
    return root


def run(root: Path, out: Path, *arguments: str) -> dict[str, Result]:
    command = [
        "--encoder",
        "logmel",
        "--tasks",
        "200",
        "--cache",
        str(out / "cache"),
        "--json",
        str(out / "out.json"),
        *arguments,
    ]
    main([*command, "--data-root", str(root)])
    found = json.loads((out / "out.json").read_text())
    return {f"{result['data']}/{result['n_shots']}": Result(**result) for result in found["results"]}


@pytest.mark.slow
@pytest.mark.parametrize("classifier", ["ridge", "logistic"])
def test_what_is_easy_is_solved_and_noise_is_chance(
    root: Path, tmp_path: Path, classifier: str, capsys: pytest.CaptureFixture[str]
) -> None:
    results = run(root, tmp_path, "--shots", "1", "5", "--classifier", classifier, "--plot", str(tmp_path / "out.png"))
    assert set(results) == {"tones/1", "tones/5", "noise/1", "noise/5"}
    for shots in (1, 5):
        assert results[f"tones/{shots}"].accuracy > 95
        # Of six clips a class, what five have in common the sixth tends to lack: below chance.
        assert results[f"noise/{shots}"].accuracy == pytest.approx(20, abs=8)
    noise = results["noise/1"]
    assert (noise.n_classes, noise.n_clips, noise.n_tasks, noise.n_ways) == (6, 36, 200, 5)
    assert (
        1.5 < noise.interval < 3.5
    )  # 200 tasks of five answers that are right in 20 %: 1.96 * sqrt(.16 / 5 / 200) = 2.5 %
    printed = capsys.readouterr().out
    assert f"5-way 5-shot accuracy %, 200 tasks a set, {classifier}" in printed
    assert f"{noise.accuracy:.1f} ±{noise.interval:.1f}" in printed
    assert (tmp_path / "out.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.slow
def test_a_second_run_is_the_same_with_saved_episodes_or_without(root: Path, tmp_path: Path) -> None:
    first = run(root, tmp_path)
    for arguments in ([], ["--episodes", str(tmp_path / "lists")], ["--episodes", str(tmp_path / "lists")]):
        again = run(root, tmp_path, *arguments)
        assert {name: result.accuracy for name, result in again.items()} == {
            name: result.accuracy for name, result in first.items()
        }
    assert {path.name for path in (tmp_path / "lists").iterdir()} == {
        f"{name}-5way-1shot-auto-200-seed0.npz" for name in ("tones", "noise")
    }
    other = run(root, tmp_path, "--seed", "1")
    assert other["noise/1"].accuracy != first["noise/1"].accuracy


@pytest.mark.slow
def test_long_clips_by_the_rule_of_the_paper(root: Path, tmp_path: Path) -> None:
    results = run(root, tmp_path, "--pieces", "paper")
    assert results["tones/1"].accuracy > 95
    assert {result.pieces for result in results.values()} == {"paper"}


def test_the_classes_of_the_paper_and_its_rows(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_tones(tmp_path / "esc50", n_classes=11, n_clips=2)
    table = tmp_path / "esc50" / "clips.csv"
    lines = table.read_text()
    for i, label in reversed([*enumerate((*class_splits()["esc50"]["test"], "rain"))]):
        lines = lines.replace(f"class{i},", f"{label},")
    table.write_text(lines)
    for part, n_classes in (("test", 10), ("all", 11)):
        found = run(tmp_path, tmp_path, "--split", part, "--episodes", str(tmp_path / "lists"))["esc50/1"]
        assert (found.split, found.n_classes) == (part, n_classes)
        assert (tmp_path / "lists" / f"esc50-5way-1shot-{part}-auto-200-seed0.npz").is_file()
        rows = [line.split() for line in capsys.readouterr().out.splitlines() if "paper/MT-Parallel" in line]
        assert rows == ([["paper/MT-Parallel", "69.5", "69.5"]] if part == "test" else [])


def test_groups_are_disjoint_wherever_a_set_has_enough(
    root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert {name: found.disjoint for name, found in run(root, tmp_path).items()} == {"tones/1": True, "noise/1": True}
    assert "*" not in capsys.readouterr().out
    lines = (root / "tones" / "clips.csv").read_text().splitlines()
    one_speaker = [f"{root}/tones/{line.rsplit(',', 1)[0]},speaker" for line in lines[1:]]
    (tmp_path / "one.csv").write_text("\n".join([lines[0], *one_speaker]))
    found = run(root, tmp_path, "--data", f"one={tmp_path}/one.csv")
    assert found["tones/1"].disjoint and not found["one/1"].disjoint
    printed = capsys.readouterr().out
    assert "tones " in printed and "one*" in printed and "* groups are mixed" in printed
    assert not run(root, tmp_path, "--groups", "mixed")["tones/1"].disjoint
    with pytest.raises(SystemExit, match="could keep the 1 groups"):
        run(root, tmp_path, "--groups", "disjoint", "--data", f"one={tmp_path}/one.csv")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "no data: give --data NAME=PATH"),
        (["--data", "esc50"], "--data esc50: expected NAME=PATH"),
        (["--data", "x=/nowhere"], "x: no such folder or CSV: /nowhere"),
        (["--data-root", "{root}/tones"], "expected folders with a clips.csv"),
        (["--data-root", "{root}", "--ways", "9"], "noise: 9-way 1-shot episodes need 9 classes of at least 2 clips"),
        (
            ["--data-root", "{root}", "--shots", "1", "6"],
            "need 5 classes of at least 7 clips (6 support + 1 query); found 0 such of 6",
        ),
        (["--data-root", "{root}", "--model", "{root}/tones"], "not a model folder"),
    ],
)
def test_errors_are_one_line(root: Path, tmp_path: Path, arguments: list[str], message: str) -> None:
    with pytest.raises(SystemExit) as error:
        main(["--cache", str(tmp_path), *(argument.format(root=root) for argument in arguments)])
    assert str(error.value).startswith("error: ")
    assert message in str(error.value)
    assert not list(tmp_path.iterdir()), "found out before anything was embedded"


def result(**changes: object) -> Result:
    values = {
        "encoder": "a",
        "fingerprint": "f",
        "space": "combined",
        "data": "x",
        "n_classes": 6,
        "n_clips": 36,
        "n_ways": 5,
        "n_shots": 1,
    }
    values |= {"n_tasks": 100, "classifier": "logistic", "accuracy": 50.0, "interval": 3.0, "seconds": 0.1}
    return Result(**(values | changes))


def test_table_and_plot_where_a_row_has_a_hole(tmp_path: Path) -> None:
    results = [
        result(disjoint=True),
        result(data="long name", accuracy=70.0, interval=4.0, disjoint=True),
        result(encoder="another", accuracy=40.04, disjoint=True),
    ]
    assert table(results).splitlines() == [
        "5-way 1-shot accuracy %, 100 tasks a set, logistic",
        "                          x  long name       mean",
        "a/combined        50.0 ±3.0  70.0 ±4.0  60.0 ±2.5",
        "another/combined  40.0 ±3.0          -  40.0 ±3.0",
    ]
    plot(results, tmp_path / "table.png")
    assert (tmp_path / "table.png").stat().st_size > 1000


def test_evaluate_takes_any_encoder(root: Path, tmp_path: Path) -> None:
    """One whose invariant half knows the answer and whose variant half knows nothing."""
    from training.evaluation.episodes import draw

    tones = read("tones", root / "tones")

    class Oracle:
        name, fingerprint, spaces, standardised = "oracle", "o", Spaces(6, 2), False

        def embed(self, paths: list[Path]) -> np.ndarray:
            return np.stack([np.append(np.eye(6)[int(path.stem) % 6], [1, 1]) for path in paths])

    episodes = draw(tones, 50, rng=np.random.default_rng(0))
    results = evaluate(Oracle(), [(tones, [episodes])], spaces=["variant", "invariant"], folder=tmp_path)
    assert [(found.space, found.accuracy, found.interval) for found in results] == [
        ("variant", 20, 0),
        ("invariant", 100, 0),
    ]
