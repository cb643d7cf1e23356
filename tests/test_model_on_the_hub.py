from pathlib import Path

from loopback_hub import TOKEN, Client, LoopbackHub


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
