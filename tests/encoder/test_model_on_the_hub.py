from pathlib import Path

import pytest
from loopback_hub import TOKEN, Client, LoopbackHub

pytestmark = pytest.mark.slow


def test_a_model_goes_to_the_hub_and_comes_back(tmp_path: Path) -> None:
    with LoopbackHub() as hub:
        with Client(hub.url, tmp_path) as client:
            pushed = client.call("hub_round_trip:push", "me/mine", TOKEN)
            assert pushed.error is None, pushed.message
            commit, fingerprint = pushed.value
            assert set(hub.repositories["me/mine"].commits[commit]) >= {"config.json", "model.safetensors", "README.md"}
            loaded = client.call("hub_round_trip:load", "me/mine", token=TOKEN)
            assert loaded.value == [fingerprint, [1000]], loaded.message
            before = len(hub.requests)
            again = client.call("hub_round_trip:load", "me/mine", revision=commit)
            assert again.value == loaded.value, again.message
            assert len(hub.requests) == before  # a commit in the cache asks nothing
        with Client(hub.url, tmp_path, HF_HUB_OFFLINE="1") as client:
            cached = client.call("hub_round_trip:load", "me/mine")
            assert cached.value == [fingerprint, [1000]], cached.message
            missing = client.call("hub_round_trip:load", "nobody/none")
            assert missing.error is not None
            assert "nobody/none" in missing.message
            assert missing.seconds < 5


def test_a_classifier_goes_to_the_hub_and_comes_back(tmp_path: Path) -> None:
    with LoopbackHub() as hub, Client(hub.url, tmp_path, HF_TOKEN=TOKEN) as client:
        _, fingerprint = client.call("hub_round_trip:push", "me/encoder", TOKEN).value
        pushed = client.call("hub_round_trip:push_classifier", "me/sounds", "me/encoder", TOKEN)
        assert pushed.error is None, pushed.message
        card = hub.repositories["me/sounds"].commits[pushed.value]["README.md"].decode()
        assert 'mtslvr.FewShotClassifier.from_pretrained("me/sounds", model="the name of that encoder")' in card
        for text in (fingerprint, "record next:", "2 classes from 2 clips"):
            assert text in card
        for model in ("me/encoder", None):  # without its encoder it is refused as soon as it would need it
            named = client.call("hub_round_trip:name", "me/sounds", model=model)
            if model is not None:
                assert named.value == [fingerprint, ["forwards"]], named.message
            else:
                assert named.error is not None and named.error.startswith("ValueError"), named.error
                assert (
                    fingerprint in named.message
                    and "give the one it was fitted with (model=, --model)" in named.message
                )
        assert client.call("hub_round_trip:name", "me/encoder").message.endswith("this is not a few-shot classifier")
        assert "classifier" in client.call("hub_round_trip:load", "me/sounds").message
