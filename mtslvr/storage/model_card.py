"""The model card: README.md of a model folder, written from its configuration."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

MEASURED = {
    "results": "Few-shot accuracy, %, with 95 % intervals over the tasks; at a star a speaker or recording may be on both sides of a task.",
    "invariance": "How far each augmentation moves a clip's features, Mahalanobis: 0 is not at all, 1 as far as another clip is.",
}
_CITATION = """```bibtex
@inproceedings{heggan23_interspeech,
  title     = {{MT-SLVR}: Multi-Task Self-Supervised Learning for Transformation {In(Variant)} Representations},
  author    = {Heggan, Calum and Hospedales, Tim and Budgett, Sam and Yaghoobi, Mehrdad},
  booktitle = {Proc. Interspeech 2023},
  pages     = {4399--4403},
  year      = {2023},
  doi       = {10.21437/Interspeech.2023-1064}
}
```"""


def model_card(config: Mapping[str, Any], spaces: Mapping[str, int], fingerprint: str, name: str) -> str:
    """Markdown with the Hub's YAML header (https://huggingface.co/docs/hub/model-cards).

    Args:
        config: the content of config.json. Of "training", "license" (as the Hub spells it), "summary" (text), and "results" and "invariance" (lists
            of rows, dictionaries with the same keys) with the commands that give them ("results_command", ...) get places of their own;
            the rest becomes a table.
        spaces: name and number of features of each embedding space.
        fingerprint: of the model as it is stored.
        name: its Hub id, or the name of its folder.
    """
    training = dict(config["training"])
    license_, summary = training.pop("license", None), training.pop("summary", None)
    measured = {name: (training.pop(name, None), training.pop(f"{name}_command", None)) for name in MEASURED}
    network, preprocessing = config["network"], config["preprocessing"]
    rate, seconds = preprocessing["sample_rate"], preprocessing["window_samples"] / preprocessing["sample_rate"]
    header = [
        "---",
        "library_name: mtslvr",
        *([f"license: {license_}"] if license_ else []),  # without one the Hub says that none is known
        "pipeline_tag: feature-extraction",
        "tags: [audio, audio-classification, few-shot, self-supervised, mt-slvr]",
        "---",
    ]
    parts = [
        "# MT-SLVR encoder",
        summary or "Turns sound into embeddings for few-shot classification.",
        f"```python\nimport mtslvr\n\nmodel = mtslvr.MTSLVR.from_pretrained({json.dumps(name)})  # its name on the Hub, or its folder\n"
        'vector = model.embed("clip.wav")\n```',
        "## Use and limits",
        f"For few-shot classification, search and clustering of sound. It hears one channel, up to {rate / 2000:g} kHz. The vector of a clip longer "
        f"than {seconds:g} s is a mean over windows, which knows no order in time: `embed_windows` gives one of each. What it does not know from its "
        "training it may not tell apart: `mtslvr eval` measures it on recordings of your own.",
        "## Model",
        _table(
            {
                "network": f"ResNet-18, adapter: {network['adapter']}",
                "spaces": ", ".join(f"{space} [{n}]" for space, n in spaces.items()),
                "input": f"mono, {rate} Hz, windows of {seconds:g} s",
                "normalisation": f"mean {preprocessing['mean']:.6g}, std {preprocessing['std']:.6g}",
                "fingerprint": f"`{fingerprint}`",
            }
        ),
        "## Training",
        _table(training) if training else "Not recorded.",
    ]
    for name, (results, command) in measured.items():
        if results:
            head = list(results[0])
            rows = [head, ["---"] * len(head), *([str(row.get(column, "")) for column in head] for row in results)]
            parts += [
                f"## {name.capitalize()}",
                MEASURED[name],
                "\n".join("| " + " | ".join(row) + " |" for row in rows),
            ]
            parts += [f"```bash\n{command}\n```"] if command else []
    # The link is where the Hub finds the paper.
    parts += ["## Citation", f"The method is of [arXiv:2305.17191](https://arxiv.org/abs/2305.17191):\n\n{_CITATION}"]
    return "\n".join(header) + "\n\n" + "\n\n".join(parts) + "\n"


def _table(rows: Mapping[str, Any]) -> str:
    return "\n".join(
        ["| | |", "|---|---|", *(f"| {name.replace('_', ' ')} | {value} |" for name, value in rows.items())]
    )
