"""MONAI bundles: the network that ``network_def`` describes, and its weights.

A bundle's configuration is a program: MONAI's parser evaluates ``$`` expressions and calls whatever ``_target_`` names.
A model folder must not run programs, so MONAI's parser is not used. Of the configuration only ``network_def`` is read;
its ``_target_`` must be one of the segmentation networks below, and its arguments must be plain values or references
(``@name``) to plain values. Preprocessing is declared in ``external_network.json``.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import monai.networks.nets
import torch
import yaml

from oncoresponse.errors import ModelFolderInvalid
from oncoresponse.segmentation.external.declaration import MonaiBundleDeclaration, read_declared_file
from oncoresponse.segmentation.external.declared_network import DeclaredNetwork
from oncoresponse.segmentation.external.lesion_network import LesionNetwork
from oncoresponse.segmentation.external.torch_checkpoint import load_state_dictionary, load_weights
from oncoresponse.segmentation.windowed_prediction import place_network

NETWORKS = (
    "AttentionUnet",
    "BasicUNet",
    "BasicUNetPlusPlus",
    "DynUNet",
    "MedNeXt",
    "SegResNet",
    "SegResNetDS",
    "SwinUNETR",
    "UNETR",
    "UNet",
    "VNet",
)
"""Networks of ``monai.networks.nets`` that segment volumes and neither download nor open files."""

_IGNORED = frozenset({"_target_", "_desc_"})
_DEEPEST = 20


def open_monai_bundle(directory: Path, declaration: MonaiBundleDeclaration, device: torch.device) -> LesionNetwork:
    """Load the network of a MONAI bundle.

    Raises:
        ModelFolderInvalid: A file is missing or unreadable, or the configuration asks for more than a known network.
        ModelHashMismatch: A file is not the one that was declared.
    """
    config = read_declared_file(directory, declaration.files, declaration.config)
    weights = read_declared_file(directory, declaration.files, declaration.weights)
    network = load_weights(
        build_bundle_network(parse_bundle_config(config, declaration.config)),
        load_state_dictionary(weights, declaration.weights),
        declaration.weights,
    )
    placed = place_network(network, device)

    def predict(window: torch.Tensor) -> torch.Tensor:
        output: torch.Tensor = placed(window)
        return output

    return DeclaredNetwork(predict, declaration.preprocessing, declaration.windows, declaration.output, device)


def parse_bundle_config(content: bytes, name: str) -> dict[str, Any]:
    """A bundle's configuration as plain data; nothing in it is evaluated.

    Raises:
        ModelFolderInvalid: It is neither JSON nor YAML, or not a mapping.
    """
    try:
        config = json.loads(content) if name.endswith(".json") else yaml.safe_load(content)
    except (ValueError, yaml.YAMLError, RecursionError) as error:
        raise ModelFolderInvalid(f"{name} is neither JSON nor YAML.") from error
    if not isinstance(config, dict):
        raise ModelFolderInvalid(f"{name} is not a mapping.")
    return config


def build_bundle_network(config: dict[str, Any]) -> torch.nn.Module:
    """The network that ``network_def`` describes, without weights.

    Raises:
        ModelFolderInvalid: ``network_def`` is missing, names something else than a known network, holds an expression,
            or does not fit the network's arguments.
    """
    definition = config.get("network_def")
    if not isinstance(definition, dict):
        raise ModelFolderInvalid("The bundle's configuration has no network_def with a _target_.")
    target = str(definition.get("_target_", ""))
    name = target.rsplit(".", 1)[-1]
    if name not in NETWORKS or (target != name and not target.startswith("monai.networks.nets.")):
        raise ModelFolderInvalid(
            f"network_def names {target[:80]!r}. Known are {', '.join(NETWORKS)} of monai.networks.nets. Save another "
            "network as TorchScript or ONNX."
        )
    arguments = {
        str(key): _plain(value, config, f"network_def.{key}", 0)
        for key, value in definition.items()
        if key not in _IGNORED
    }
    if special := sorted(key for key in arguments if key.startswith("_")):
        raise ModelFolderInvalid(f"network_def uses {', '.join(special)}, which is not read from a model folder.")
    kind = getattr(monai.networks.nets, name)
    try:
        network: torch.nn.Module = kind(**arguments)
    except (TypeError, ValueError, KeyError, AttributeError, RuntimeError, AssertionError) as error:
        raise ModelFolderInvalid(f"network_def does not fit the arguments of MONAI's {name}.") from error
    return network


def _plain(value: object, config: dict[str, Any], where: str, depth: int) -> object:
    """``value`` with its references replaced; refuses whatever MONAI would evaluate or instantiate."""
    if depth > _DEEPEST:
        raise ModelFolderInvalid(f"{where} refers to itself.")
    if isinstance(value, str):
        if value.startswith(("$", "%")):
            raise ModelFolderInvalid(
                f"{where} is an expression or a macro. Expressions are programs, and a model folder must not hold any: "
                "write the value itself."
            )
        if value.startswith("@"):
            return _plain(_referred(value[1:], config, where), config, where, depth + 1)
        return value
    if isinstance(value, list):
        return [_plain(item, config, where, depth + 1) for item in value]
    if isinstance(value, dict):
        if any(str(key).startswith("_") for key in value):
            raise ModelFolderInvalid(f"{where} asks for an object to be made. Only plain values are read.")
        return {str(key): _plain(item, config, where, depth + 1) for key, item in value.items()}
    return value


def _referred(reference: str, config: dict[str, Any], where: str) -> object:
    found: Any = config
    for part in reference.replace("#", "::").split("::"):
        if isinstance(found, dict) and part in found:
            found = found[part]
        elif isinstance(found, list) and part.isdigit() and int(part) < len(found):
            found = found[int(part)]
        else:
            raise ModelFolderInvalid(f"{where} refers to @{reference[:80]}, which the configuration does not hold.")
    return found
