"""The model card: README.md of a model folder, written from its configuration."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def model_card(config: Mapping[str, Any], spaces: Mapping[str, int], fingerprint: str) -> str:
    """Markdown with the Hub's YAML header.

    Args:
        config: the content of config.json. Of "training", "license", "summary" (text) and "results" (a list of rows, dictionaries with the same
            keys) get places of their own; the rest becomes a table.
        spaces: name and number of features of each embedding space.
    """
    training = dict(config["training"])
    license_, summary, results = (
        training.pop("license", "other"),
        training.pop("summary", ""),
        training.pop("results", []),
    )
    network, preprocessing = config["network"], config["preprocessing"]
    parts = [
        "---",
        "library_name: mtslvr",
        f"license: {license_}",
        "pipeline_tag: feature-extraction",
        "tags: [audio, audio-classification, few-shot, self-supervised, mt-slvr]",
        "---",
        "# MT-SLVR encoder",
        summary or "Turns sound into embeddings for few-shot classification (MT-SLVR, arXiv 2305.17191).",
        '```python\nimport mtslvr\n\nmodel = mtslvr.MTSLVR.from_pretrained("owner/name")  # or the name of this folder\n'
        'vector = model.embed("clip.wav")\n```',
        "## Model",
        _table(
            {
                "network": f"ResNet-18, adapter: {network['adapter']}",
                "spaces": ", ".join(f"{name} [{n}]" for name, n in spaces.items()),
                "input": f"mono, {preprocessing['sample_rate']} Hz, windows of {preprocessing['window_samples'] / preprocessing['sample_rate']:g} s",
                "normalisation": f"mean {preprocessing['mean']:.6g}, std {preprocessing['std']:.6g}",
                "fingerprint": f"`{fingerprint}`",
            }
        ),
        "## Training",
        _table(training) if training else "Not recorded.",
    ]
    if results:
        head = list(results[0])
        rows = [head, ["---"] * len(head), *([str(row.get(name, "")) for name in head] for row in results)]
        parts += ["## Results", "\n".join("| " + " | ".join(row) + " |" for row in rows)]
    return "\n".join(parts[:6]) + "\n\n" + "\n\n".join(parts[6:]) + "\n"


def _table(rows: Mapping[str, Any]) -> str:
    return "\n".join(
        ["| | |", "|---|---|", *(f"| {name.replace('_', ' ')} | {value} |" for name, value in rows.items())]
    )
