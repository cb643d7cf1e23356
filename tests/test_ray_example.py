"""The example of docs/bulk.md, on a cluster of two workers. It runs where Ray is installed, which the extra `test` does not bring."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow.parquet
import pytest
import soundfile

from mtslvr.encoder.model import MTSLVR

pytestmark = pytest.mark.slow


ROOT = Path(__file__).parent.parent
N_FILES = 200
KILLED = """
import os, pathlib, signal, sys
import ray, ray_embed

class Mortal(ray_embed.Embedder):
    n_batches = 0

    def __call__(self, files):
        pathlib.Path(sys.argv[3], f"{os.getpid()}-{self.n_batches}").touch()
        self.n_batches += 1
        try:
            pathlib.Path(sys.argv[3], "killed").touch(exist_ok=False)
        except FileExistsError:
            return super().__call__(files)
        os.kill(os.getpid(), signal.SIGKILL)

ray.init(num_cpus=3, include_dashboard=False)
ray_embed.embed(sys.argv[1], sys.argv[2], n_workers=2, worker=Mortal)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="no SIGKILL")
def test_a_worker_is_killed_and_nothing_is_lost(tmp_path: Path) -> None:
    pytest.importorskip("ray")
    sounds, out, marks = (tmp_path / name for name in ("sounds", "out", "marks"))
    sounds.mkdir(), marks.mkdir()
    for i in range(N_FILES):
        soundfile.write(sounds / f"{i:03d}.wav", np.random.default_rng(i).normal(0, 0.1, 8000), 16_000)
    (sounds / "007.wav").write_text("no sound")
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "docs" / "examples")])}
    command = [sys.executable, "-c", KILLED.replace("sys.argv[3]", repr(str(marks))), str(sounds), str(out)]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-3000:]
    assert (marks / "killed").exists()
    assert (
        len({mark.name.split("-")[0] for mark in marks.glob("*-0")}) >= 3
    )  # two workers, and one in place of the dead

    table = pyarrow.parquet.read_table(out).sort_by("path")
    paths = [str(path) for path in sorted(sounds.iterdir())]
    assert table["path"].to_pylist() == paths
    errors, vectors = table["error"].to_pylist(), table["embedding"].to_pylist()
    assert [i for i, error in enumerate(errors) if error] == [7] and vectors[7] is None
    assert "no sound file" in errors[7]
    expected = MTSLVR.from_pretrained().embed(paths[8::40])
    assert np.linalg.norm(np.array(vectors[8::40]) - expected) < 1e-5 * np.linalg.norm(expected)
