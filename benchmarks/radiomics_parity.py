"""Parity of the native engine with pyradiomics over a cohort: ``python -m benchmarks.radiomics_parity COHORT``.

COHORT has patient folders with CT and PET as NIfTI and masks. All 1130 features of each lesion are compared.
A second argument limits the number of patients, since pyradiomics takes its time with CT.
"""

from __future__ import annotations

import sys
from pathlib import Path

import SimpleITK as sitk
from oncoradiomics.extraction import extract

from benchmarks.radiomics import ABSOLUTE, RELATIVE, load, settings_of

EXCLUDED = ("STS_019", "STS_032")


def main() -> None:
    """Compare and print one row an image type as Markdown."""
    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(1)
    cohort = Path(sys.argv[1])
    patients = sorted(entry.name for entry in cohort.iterdir() if entry.is_dir() and entry.name not in EXCLUDED)
    patients = patients[: int(sys.argv[2])] if len(sys.argv) > 2 else patients
    print(
        "| modality | image | values | beyond 1e-6 | largest relative difference | feature |\n|---|---|---|---|---|---|"
    )
    for modality, width in (("PET", 0.25), ("CT", 25.0)):
        rows: dict[str, list[tuple[float, str]]] = {}
        for number, patient in enumerate(patients, start=1):
            case = (f"{patient} {modality}", str(cohort), width)
            image, mask = load(case)
            found = extract(image, mask, settings_of(case))
            expected = extract(image, mask, settings_of(case), "pyradiomics")
            if set(found) != set(expected) or found.undefined != expected.undefined:
                print(f"{patient} {modality}: other features are defined", file=sys.stderr)
            for name, value in expected.items():
                difference = abs(found[name] - value)
                kind = name.split("-")[0].split("_")[0]
                relative = difference / abs(value) if difference > ABSOLUTE * RELATIVE and value else 0.0
                rows.setdefault(kind, []).append((relative, f"{patient} {name}"))
            print(f"{modality}: {number} of {len(patients)}", file=sys.stderr, flush=True)
        for kind, differences in rows.items():
            beyond = sum(relative > RELATIVE for relative, _ in differences)
            largest, name = max(differences)
            print(f"| {modality} | {kind} | {len(differences)} | {beyond} | {largest:.1e} | `{name}` |", flush=True)


if __name__ == "__main__":
    main()
