"""Embeddings for tests: clusters that a classifier can tell apart."""

import numpy as np


def clusters(
    n_classes: int = 4, shots: int = 6, width: int = 40, noise: float = 1.0, seed: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """Gaussian clusters around the same means for every seed: float32 [n, width] and class numbers."""
    means = np.random.default_rng(99).standard_normal((n_classes, width))
    y = np.repeat(np.arange(n_classes), shots)
    X = means[y] + noise * np.random.default_rng(seed).standard_normal((len(y), width))
    return (X * np.repeat([1, 50], width // 2) + 7).astype(np.float32), y  # heads of different scale, far from zero
