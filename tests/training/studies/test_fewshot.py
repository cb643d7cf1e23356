"""The few-shot study: its figures against hand-made cases."""

import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from training.evaluation.datasets.common import Clip, Dataset
from training.studies import fewshot, reliability

pytestmark = pytest.mark.slow


N_CLASSES, N_CLIPS = 6, 8


def blobs(spread: float) -> tuple[Dataset, np.ndarray]:
    """Classes around corners of a simplex, `spread` of the way to the next one; one head of noise behind."""
    rng = np.random.default_rng(0)
    clips = tuple(
        Clip(Path(f"{i}-{j}.wav"), f"class {i}", f"{i}-{j}") for i in range(N_CLASSES) for j in range(N_CLIPS)
    )
    centres = np.repeat(np.eye(N_CLASSES), N_CLIPS, 0)
    head = centres + spread * rng.standard_normal(centres.shape)
    return Dataset("blobs", clips), np.hstack([head, rng.standard_normal(head.shape)])


def test_calibration_error_is_the_mean_gap() -> None:
    # Two clips at 0.9, one right; two at 0.6, both right: gaps 0.4 and 0.4.
    probabilities = np.array([[0.9, 0.1], [0.1, 0.9], [0.6, 0.4], [0.6, 0.4]])
    bins = reliability.reliability(probabilities, np.array([1.0, 0.0, 1.0, 1.0]))
    np.testing.assert_allclose(bins[[6, 9]], [[2, 1.2, 2], [2, 1.8, 1]])
    assert reliability.calibration_error(bins.tolist()) == pytest.approx(40.0)
    sure = reliability.reliability(np.array([[1.0, 0.0]]), np.array([1.0]))  # 1.0 falls into the last bin
    assert reliability.calibration_error(sure.tolist()) == 0.0


def test_the_unknown_classes_come_last_and_are_as_many() -> None:
    dataset, _ = blobs(0.1)
    n_known, tasks = fewshot.draw_tasks(dataset, "2", 3, 10)
    assert (n_known, tasks.support.shape, tasks.query.shape) == (2, (10, 4, 3), (10, 4, 3))
    n_known, tasks = fewshot.draw_tasks(dataset, "5", 7, 10)
    assert (n_known, tasks.support.shape, tasks.query.shape) == (5, (10, 6, 7), (10, 6, 1))  # what is left
    n_known, tasks = fewshot.draw_tasks(dataset, "all", 1, 10)
    assert (n_known, tasks.support.shape[1]) == (6, 6) and tasks.disjoint(dataset)
    for ways, shots, message in (("all", 8, "need 6 classes of at least 9 clips"), ("7", 1, "need 7 classes")):
        with pytest.raises(ValueError, match=message):
            fewshot.draw_tasks(dataset, ways, shots, 10)
    alone = Dataset("alone", tuple(Clip(clip.path, clip.label, "kit") for clip in dataset.clips))
    assert not fewshot.draw_tasks(alone, "2", 3, 10)[1].disjoint(alone)


def test_all_sets_as_one() -> None:
    dataset, _ = blobs(0.1)
    kit = Dataset("kit", tuple(Clip(clip.path, clip.label, "one") for clip in dataset.clips))
    both = fewshot.union([dataset, kit])
    assert len(both.classes) == 2 * N_CLASSES and both.clips[0].label == "blobs/class 0"
    assert len(set(both.groups[: len(dataset.clips)])) == len(set(both.groups[len(dataset.clips) :])) == len(kit.clips)


def test_a_study_of_easy_and_of_hopeless_sounds() -> None:
    found = {}
    for spread in (0.05, 50.0):
        dataset, features = blobs(spread)
        n_known, tasks = fewshot.draw_tasks(dataset, "3", 4, 30)
        found[spread] = fewshot.study(dataset, features, "3", n_known, tasks, ["ridge", "centroid"])
    easy, hopeless = found.values()
    assert easy.accuracy["ridge/invariant"] == easy.accuracy["ridge/auto"] == 100 and easy.disjoint
    assert easy.accuracy["ridge/variant"] < 60 and hopeless.accuracy["ridge/combined"] < 60  # chance is 33
    assert set(easy.accuracy) == {f"ridge/{s}" for s in ("combined", "invariant", "variant", "auto")} | {
        "centroid/combined"
    }
    assert sum(clips for clips, _, _ in easy.bins) == 30 * 3 * 3
    assert easy.unknown is not None and hopeless.unknown is not None
    assert easy.unknown[0] > 0.6 and 0.35 < hopeless.unknown[0] < 0.65
    n_swapped, caught, accused = easy.suspects
    assert n_swapped == 30 and caught > 20 and accused < 45, "a label that was swapped among easy sounds stands out"
    assert hopeless.suspects[1] < 20
    n_known, tasks = fewshot.draw_tasks(dataset, "all", 1, 5)
    closed = fewshot.study(dataset, features, "all", n_known, tasks, ["ridge"])
    assert closed.unknown is None and "ridge/auto" not in closed.accuracy and closed.suspects == (0, 0, 0)
    assert set(fewshot.study(dataset, features, "all", n_known, tasks, [], ["combined"]).accuracy) == {"ridge/combined"}


def test_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    dataset, features = blobs(0.3)
    for name in ("blobs", "more"):
        (tmp_path / name).mkdir()
        lines = ["path,label,group"]
        for clip in dataset.clips:
            (tmp_path / name / clip.path).touch()
            lines.append(f"{clip.path},{clip.label},{clip.group}")
        (tmp_path / name / "clips.csv").write_text("\n".join(lines))
    encoder = SimpleNamespace(embed=None, fingerprint="0")
    monkeypatch.setattr(fewshot.Network, "pretrained", lambda name: encoder)
    monkeypatch.setattr(fewshot.cache, "embed", lambda encoder, paths, folder: features)
    out = {name: str(tmp_path / name) for name in ("table.json", "table.png")}
    options = ["--ways", "3", "all", "--shots", "1", "4", "20", "--tasks", "5", "--spaces", "combined", "variant"]
    fewshot.main(["--data-root", str(tmp_path), *options, "--json", out["table.json"], "--plot", out["table.png"]])
    printed = capsys.readouterr().out
    titles = ["blobs, 5 tasks", "more, 5 tasks", "together, 5 tasks", "all sets, 5 tasks each"]
    assert [line for line in printed.splitlines() if "tasks" in line] == titles
    last = printed[printed.index(titles[-1]) :].splitlines()
    assert [line.split() for line in last if line.endswith("4-shot")] == [
        ["method,", "space", *(f"{word}" for n in (1, 4) for word in (f"{ways}-way", f"{n}-shot"))]
        for ways in ("3", "all")
    ]  # 20 shots: left out
    assert sum(line.startswith("ridge, auto") for line in last) == 2
    (suspected,) = (line.split() for line in last if line.startswith("3 ways") and line.count("/") == 1)
    assert all(0 <= int(share) <= 100 for share in suspected[2::2])
    rows = json.loads(Path(out["table.json"]).read_text())
    assert [(row["data"], row["ways"], row["shots"]) for row in rows[:3]] == [
        ("blobs", "3", 1),
        ("more", "3", 1),
        ("together", "3", 1),
    ]
    assert rows[-1]["n_ways"] == 2 * N_CLASSES
    assert Path(out["table.png"]).read_bytes()[:4] == b"\x89PNG"
    with pytest.raises(SystemExit):
        fewshot.main(["--data-root", str(tmp_path / "blobs")])
