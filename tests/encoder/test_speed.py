"""What `embed` runs is nowhere slower than plain torch: on this CPU, and on it held down to AVX2."""

import os
import subprocess
import sys

import pytest

HELD_DOWN = {"ONEDNN_MAX_CPU_ISA": "AVX2", "ATEN_CPU_CAPABILITY": "avx2"}  # a no-op where there is nothing more
MEASURE = """
import sys, time
import numpy as np, torch
from mtslvr import MTSLVR

n_threads, n_clips = map(int, sys.argv[1:])
torch.set_num_threads(n_threads)
model = MTSLVR.from_pretrained()
plain = model.network.fold().to(memory_format=torch.channels_last)
waves = 0.1 * torch.randn(n_clips, 80_000, generator=torch.Generator().manual_seed(0))
clips = [(wave.numpy(), 16_000) for wave in waves]

@torch.inference_mode()
def reference():
    plain(model.frontend(waves).contiguous(memory_format=torch.channels_last))

def embed():
    model.embed(clips, batch_size=n_clips, progress=False)

def cpu_seconds(run):  # which other processes do not disturb
    start = time.process_time()
    run()
    return time.process_time() - start

times = [(cpu_seconds(embed), cpu_seconds(reference)) for _ in range(6)][1:]
print(min(mine for mine, _ in times) / min(other for _, other in times))
"""


@pytest.mark.slow
@pytest.mark.parametrize("environment", [{}, HELD_DOWN], ids=["this CPU", "AVX2"])
@pytest.mark.parametrize(("n_threads", "n_clips"), [(1, 1), (1, 8), (2, 8)])
def test_embed_takes_no_slower_path_than_plain_torch(environment: dict[str, str], n_threads: int, n_clips: int) -> None:
    command = [sys.executable, "-c", MEASURE, str(n_threads), str(n_clips)]
    run = subprocess.run(command, env=os.environ | environment, capture_output=True, text=True, check=True)
    assert float(run.stdout) < 1.5
