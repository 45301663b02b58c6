"""What a stage ran with: versions, hardware and settings that its numbers may depend on."""

from __future__ import annotations

from collections.abc import Mapping

from pydantic import Field

from oncoresponse.case.document import Tolerant


class StageSoftware(Tolerant):
    """What one stage ran with. The model is not in here: its SHA-256 pins weights, settings of the features and seed.

    Attributes:
        versions: Of Python, OncoResponse and the libraries that the stage computes with, by name.
        processor: Model of the processor.
        device: Where networks ran: ``cpu``, or ``cuda`` with the name of the GPU and the version of CUDA.
        settings: Of the server, those that change what the stage makes; and the number of threads, where it can change
            the last digits of a sum.
    """

    versions: dict[str, str] = Field(default_factory=dict)
    processor: str = ""
    device: str = "cpu"
    settings: dict[str, str] = Field(default_factory=dict)

    def facts(self) -> dict[str, str]:
        """All of it by name."""
        return {**self.versions, "processor": self.processor, "device": self.device, **self.settings}


def software_differences(then: Mapping[str, StageSoftware], now: Mapping[str, StageSoftware]) -> list[str]:
    """What differs, each once with the stages where it does: ``torch: 2.9.0 then, 2.9.1 now (segmentation)``.

    Args:
        then, now: By stage.
    """
    found: dict[str, list[str]] = {}
    for stage in sorted({*then, *now}):
        before = then[stage].facts() if stage in then else {}
        after = now[stage].facts() if stage in now else {}
        for name in sorted({*before, *after}):
            one, other = before.get(name, ""), after.get(name, "")
            if one != other:
                words = f"{name}: {one or 'nothing'} then, {other or 'nothing'} now"
                found.setdefault(words, []).append(stage)
    return [f"{words} ({', '.join(stages)})" for words, stages in found.items()]
