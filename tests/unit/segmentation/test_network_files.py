"""Weights and their description on disk."""

import pytest
import torch
from oncoresponse.errors import ModelFolderInvalid, ModelHashMismatch
from oncoresponse.segmentation.network import (
    build_network,
    load_networks,
    read_network_description,
    save_weights,
)


@pytest.fixture
def saved(tmp_path, description):
    torch.manual_seed(0)
    network = build_network(description.network)
    weights = save_weights(network, tmp_path / "fold_0.safetensors")
    described = description.model_copy(update={"weights": (weights,)})
    (tmp_path / "network.json").write_text(described.model_dump_json(), encoding="utf-8")
    return tmp_path, described, network


def test_weights_come_back_rounded_to_half_precision(saved):
    directory, described, network = saved
    assert read_network_description(directory) == described
    (loaded,) = load_networks(directory, described)
    assert not loaded.training
    for name, tensor in network.state_dict().items():
        rounded = tensor.half().float() if tensor.is_floating_point() else tensor
        assert torch.equal(loaded.state_dict()[name], rounded)


def test_changed_weights_are_refused(saved):
    directory, described, _ = saved
    file = directory / "fold_0.safetensors"
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)
    with pytest.raises(ModelHashMismatch):
        load_networks(directory, described)


def test_weights_of_another_architecture_are_refused(saved):
    directory, described, _ = saved
    other = described.network.model_copy(update={"initial_filters": 16})
    with pytest.raises(ModelFolderInvalid, match="architecture"):
        load_networks(directory, described.model_copy(update={"network": other}))


def test_a_pickle_in_place_of_safetensors_is_never_opened(saved):
    directory, described, network = saved
    file = directory / "fold_0.safetensors"
    torch.save(network.state_dict(), file)
    weights = described.weights[0].model_copy(
        update={"sha256": __import__("hashlib").sha256(file.read_bytes()).hexdigest()}
    )
    with pytest.raises(ModelFolderInvalid):
        load_networks(directory, described.model_copy(update={"weights": (weights,)}))


def test_missing_files_and_unknown_keys_are_refused(saved):
    directory, described, _ = saved
    (directory / "fold_0.safetensors").unlink()
    with pytest.raises(ModelFolderInvalid):
        load_networks(directory, described)
    content = described.model_dump_json()[:-1] + ', "surprise": 1}'
    (directory / "network.json").write_text(content, encoding="utf-8")
    with pytest.raises(ModelFolderInvalid):
        read_network_description(directory)
    (directory / "network.json").unlink()
    with pytest.raises(ModelFolderInvalid, match=r"network\.json"):
        read_network_description(directory)
