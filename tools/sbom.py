"""``python -m tools.sbom FILE``: what a release is made of, as CycloneDX 1.6 in JSON.

The packages are those of requirements.lock, in the versions of the lock, which also says which needs which. Description
and licences come from cyclonedx-py, which looks into the environment that this runs in; of a package that is not
installed here (CUDA libraries, without a GPU) name and version are all that is said. The models are components too.
"""

from __future__ import annotations

import json
import subprocess
import sys
import uuid
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

import yaml
from oncoresponse.case.file_digest import file_sha256
from oncoresponse.model.folder import ModelFolder
from packaging.utils import canonicalize_name

from tools.checkout import ROOT, commit_time, version_here
from tools.pins import LOCK, Locked, locked

# What cyclonedx-py says of a component and a reader elsewhere can use.
_KEPT = ("description", "licenses")


def bill_of_materials(version: str, epoch: int) -> dict[str, Any]:
    """The document of the release; the same for the same packages, models and time (seconds since 1970)."""
    packages, seen = locked(LOCK), _installed()
    components = [_package(each, seen.get(name, {})) for name, each in sorted(packages.items())]
    models = [_model(folder) for folder in sorted((ROOT / "models").iterdir()) if (folder / "model.yaml").is_file()]
    reference = f"pkg:pypi/oncoresponse@{version}"
    top = {
        "type": "application",
        "bom-ref": reference,
        "name": "oncoresponse",
        "version": version,
        "purl": reference,
        "licenses": [{"license": {"id": "Apache-2.0"}}],
    }
    dependencies = [
        {
            "ref": reference,
            "dependsOn": [*_needed_by("oncoresponse", packages), *(each["bom-ref"] for each in models)],
        },
        *(
            {"ref": _reference(each), "dependsOn": _needed_by(name, packages)}
            for name, each in sorted(packages.items())
        ),
        *({"ref": each["bom-ref"]} for each in models),
    ]
    told = json.dumps([components, models, epoch], sort_keys=True)
    return {
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_URL, told)}",
        "version": 1,
        "metadata": {"timestamp": datetime.fromtimestamp(epoch, UTC).isoformat(), "component": top},
        "components": components + models,
        "dependencies": dependencies,
    }


def _reference(package: Locked) -> str:
    return f"pkg:pypi/{package.name}@{package.version}"


def _needed_by(name: str, packages: dict[str, Locked]) -> list[str]:
    return [_reference(each) for _, each in sorted(packages.items()) if name in each.needed_by]


def _package(package: Locked, seen: dict[str, Any]) -> dict[str, Any]:
    component = {
        "type": "library",
        "bom-ref": _reference(package),
        "name": package.name,
        "version": package.version,
        "purl": _reference(package),
    }
    # A local version (torch 2.13.0+cpu) is a build of the same release.
    if seen and seen["version"].split("+")[0] != package.version:
        raise ValueError(f"{package.name} {seen['version']} is installed here, and {package.version} is pinned.")
    component |= {key: seen[key] for key in _KEPT if key in seen}
    return component


def _model(folder: Path) -> dict[str, Any]:
    model = ModelFolder.open(folder)
    definition = model.definition
    title = yaml.safe_load((folder / "model.yaml").read_text(encoding="utf-8"))["title"]
    return {
        "type": "machine-learning-model",
        "bom-ref": f"model:{definition.name}@{definition.version}",
        "name": definition.name,
        "version": definition.version,
        "description": title,
        # The digest that reports name the model by: over the names and digests of all its files (manifest.json).
        "properties": [{"name": "oncoresponse:model:sha256", "value": model.sha256}],
        "hashes": [{"alg": "SHA-256", "content": file_sha256(folder / "manifest.json")}],
    }


@cache
def _installed() -> dict[str, dict[str, Any]]:
    """What cyclonedx-py says of the packages of this environment, by normalized name."""
    command = [sys.executable, "-m", "cyclonedx_py", "environment", "--spec-version", "1.6", "--no-validate"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    told = json.loads(done.stdout)
    return {canonicalize_name(each["name"]): each for each in told["components"]}


def write(output: Path, epoch: int) -> None:
    """Write the document of this checkout."""
    document = bill_of_materials(version_here(), epoch)
    output.parent.mkdir(parents=True, exist_ok=True)
    output.write_text(json.dumps(document, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    write(Path(sys.argv[1]), commit_time())
