"""The golden numbers of tests/data, and the weights they were computed with."""

import json
from pathlib import Path

import numpy as np
import torch

DATA = Path(__file__).parent / "data"
LAYOUTS = json.loads((DATA / "golden.json").read_text())
VARIANTS = list(LAYOUTS["variants"])  # parallel, series, bn, split, None
MEAN, STD = -0.00029522, 0.11652075  # balanced AudioSet, which the golden image is normalised with


def arrays() -> dict[str, torch.Tensor]:
    with np.load(DATA / "golden.npz") as file:
        return {name: torch.from_numpy(file[name]) for name in file.files}


def outputs(variant: str) -> torch.Tensor:
    """What the authors' network of this variant gives for the golden image: [2, 1000], both tasks side by side."""
    golden = arrays()
    if variant == "None":
        return golden["none"]
    return torch.cat([golden[f"{variant}_task0"], golden[f"{variant}_task1"]], 1)


def authors_state(variant: str) -> dict[str, torch.Tensor]:
    """The state_dict, in the authors' layout, that the golden outputs were computed with."""
    random = np.random.RandomState(LAYOUTS["seed"])
    state = {}
    for name, shape in LAYOUTS["variants"][variant]["state_dict"]:
        if name.endswith("num_batches_tracked"):
            state[name] = torch.zeros(shape, dtype=torch.int64)
            continue
        if name.endswith("running_mean"):
            values = 0.1 * random.standard_normal(shape)
        elif name.endswith("running_var"):
            values = random.uniform(0.5, 1.5, shape)
        elif len(shape) == 4:
            values = np.sqrt(2 / (shape[0] * shape[2] * shape[3])) * random.standard_normal(shape)
        elif len(shape) == 2:
            values = 0.05 * random.standard_normal(shape)
        elif name.endswith("bias"):
            values = 0.1 * random.standard_normal(shape)
        else:
            values = random.uniform(0.5, 1.5, shape)
        state[name] = torch.tensor(values, dtype=torch.float32)
    return state
