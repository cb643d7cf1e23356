"""Publishing, rehearsed: the default weights and a classifier go to a Hub on this machine, by the real client, and come back.

python -m tests.publish_dry_run
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import Any

from tests.loopback_hub import TOKEN, Client, LoopbackHub

MODEL, CLASSIFIER = "me/mt-slvr", "me/demo-sounds"


def publish_model() -> tuple[str, str]:
    """-> commit, fingerprint"""
    from mtslvr import MTSLVR

    model = MTSLVR.from_pretrained()
    return model.push_to_hub(MODEL, half=True, commit_message="mtslvr's default weights"), model.fingerprint


def load_model(commit: str) -> str:
    from mtslvr import MTSLVR

    return MTSLVR.from_pretrained(MODEL, revision=commit).fingerprint


def publish_classifier() -> str:
    """Of the demo's five kinds of sound, two recordings each -> commit"""
    from mtslvr import fit_fewshot

    clips = [clip for clip in _recordings() if clip.stem in "12"]
    return fit_fewshot(clips, [clip.parent.name for clip in clips]).push_to_hub(CLASSIFIER)


def load_classifier(commit: str) -> str:
    from mtslvr import FewShotClassifier

    clips = [clip for clip in _recordings() if clip.stem not in "12"]
    named = FewShotClassifier.from_pretrained(CLASSIFIER, revision=commit).predict(clips)
    return f"{sum(label == clip.parent.name for label, clip in zip(named, clips, strict=True))} of {len(clips)}"


def _recordings() -> list[Path]:
    from mtslvr.storage.assets import DEMO_RECORDINGS

    return sorted(DEMO_RECORDINGS.glob("*/*.ogg"))


def main() -> None:
    with (
        LoopbackHub() as hub,
        tempfile.TemporaryDirectory() as home,
        Client(hub.url, Path(home), HF_TOKEN=TOKEN) as client,
    ):
        commit, fingerprint = _call(client, "publish_model")
        _show(hub, MODEL, commit)
        loaded = _call(client, "load_model", commit)
        print(f"loaded back: fingerprint {loaded}, published {fingerprint}\n")
        if loaded != fingerprint:
            sys.exit("what came back is another model")
        commit = _call(client, "publish_classifier")
        _show(hub, CLASSIFIER, commit)
        print(f"loaded back: names {_call(client, 'load_classifier', commit)} recordings rightly")


def _call(client: Client, function: str, *args: str) -> Any:
    outcome = client.call(f"tests.publish_dry_run:{function}", *args)
    if outcome.error is not None:
        sys.exit(f"{function}: {outcome.message}")
    return outcome.value


def _show(hub: LoopbackHub, repo_id: str, commit: str) -> None:
    """What the Hub now holds, and the head of the card as its visitors see it."""
    files = hub.repositories[repo_id].commits[commit]
    print(f"{repo_id} at {commit}")
    for name, content in sorted(files.items()):
        print(f"  {len(content):>10,} {name}")
    print(*("  | " + line for line in files["README.md"].decode().split("\n\n")[0].splitlines()), sep="\n")


if __name__ == "__main__":
    main()
