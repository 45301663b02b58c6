"""Change control of models: which version may be used, and whether its results are released.

What holds follows from the changes, in their order; nothing else is kept. The rules are here, without a database.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import StrEnum

from oncoresponse.errors import (
    ModelChangeNotFound,
    ModelStateInvalid,
    SecondPersonNeeded,
)

ALL_MODELS = "-"
"""In place of a model's name: every model."""


class ModelState(StrEnum):
    """Where a version stands.

    Attributes:
        DRAFT: Installed, and nothing more.
        VALIDATED: Found good on cases of the installation; not in use.
        ACTIVE: In use.
        RETIRED: Not to be used any more.
    """

    DRAFT = "draft"
    VALIDATED = "validated"
    ACTIVE = "active"
    RETIRED = "retired"


class ChangeKind(StrEnum):
    """What a change did: proposed a state, set one, stopped or resumed release, confirmed an emergency."""

    PROPOSED = "proposed"
    STATE = "state"
    STOPPED = "stopped"
    RESUMED = "resumed"
    CONFIRMED = "confirmed"


TRANSITIONS: frozenset[tuple[ModelState, ModelState]] = frozenset(
    {
        (ModelState.DRAFT, ModelState.VALIDATED),
        (ModelState.DRAFT, ModelState.RETIRED),
        (ModelState.VALIDATED, ModelState.DRAFT),
        (ModelState.VALIDATED, ModelState.ACTIVE),
        (ModelState.VALIDATED, ModelState.RETIRED),
        (ModelState.ACTIVE, ModelState.RETIRED),
        (ModelState.RETIRED, ModelState.DRAFT),
        # Back to a version that was in use before.
        (ModelState.RETIRED, ModelState.ACTIVE),
    }
)
"""From a state to another one. A version is validated before it is used for the first time."""


@dataclass(frozen=True)
class Change:
    """One row of the record.

    Attributes:
        number: They count up from 1.
        time_ms: Milliseconds since 1970 (UTC).
        kind: What it did.
        model: Name of the model, or :data:`ALL_MODELS`.
        version: Semantic version; empty where it is not known.
        sha256: Of the version; empty for the switch.
        state: That was proposed, or holds; ``None`` for the switch.
        reason: In the words of who did it.
        caller: Who did it, or approved it.
        proposal: Number of what was approved; 0 for none.
        proposed_by: Who had proposed it.
        emergency: Done by one person where two are asked for.
    """

    number: int
    time_ms: int
    kind: ChangeKind
    model: str
    reason: str
    caller: str
    version: str = ""
    sha256: str = ""
    state: ModelState | None = None
    proposal: int = 0
    proposed_by: str = ""
    emergency: bool = False


@dataclass(frozen=True)
class ModelControl:
    """What holds for one model.

    Attributes:
        name: Of the model.
        states: By SHA-256; a version that is not there is a draft.
        versions: Semantic version by SHA-256, where it is known.
        active: SHA-256 of the active version; empty for none.
        earlier: SHA-256 of those that were active before, the last one first; the active one is not among them.
        waiting: Proposals that nobody has approved and nothing has overtaken, and emergencies without a second person.
        stop: The change that stopped release, of this model or of all; ``None`` while results are released.
    """

    name: str
    states: dict[str, ModelState] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)
    active: str = ""
    earlier: tuple[str, ...] = ()
    waiting: tuple[Change, ...] = ()
    stop: Change | None = None

    def state_of(self, sha256: str) -> ModelState:
        """State of a version."""
        return self.states.get(sha256, ModelState.DRAFT)

    def require_transition(self, sha256: str, state: ModelState) -> None:
        """Refuse a state that a version cannot get from where it stands.

        Raises:
            ModelStateInvalid: It cannot.
        """
        found = self.state_of(sha256)
        if (found, state) in TRANSITIONS and (found is not ModelState.RETIRED or state is not ModelState.ACTIVE):
            return
        if found is ModelState.RETIRED and state is ModelState.ACTIVE and sha256 in self.earlier:
            return
        possible = sorted(to for origin, to in TRANSITIONS if origin is found)
        raise ModelStateInvalid(
            f"This version of model '{self.name}' is {found}, and cannot become {state}. From {found} it can become "
            f"{' or '.join(possible)}"
            + ("; active only if it was in use before." if found is ModelState.RETIRED else "."),
            state=found,
            wanted=state,
        )

    def require_approvable(self, number: int, approver: str) -> Change:
        """The proposal, or the emergency, that somebody may approve.

        Raises:
            ModelChangeNotFound: Nothing of that number waits.
            SecondPersonNeeded: The approver is the one who proposed it.
        """
        change = next((item for item in self.waiting if item.number == number), None)
        if change is None:
            raise ModelChangeNotFound(
                "No change of this number waits for a second person: it was approved, or a later one replaced it. "
                "'oncoresponse models states' names those that wait."
            )
        if change.caller == approver:
            raise SecondPersonNeeded(
                "Whoever proposes a change does not approve it. Ask another person, under their own name."
            )
        return change


def control_of(name: str, changes: Iterable[Change]) -> ModelControl:
    """What holds for a model after these changes, in their order; those of other models are passed over."""
    states: dict[str, ModelState] = {}
    versions: dict[str, str] = {}
    history: list[str] = []
    waiting: dict[int, Change] = {}
    stops: dict[str, Change] = {}
    active = ""
    for change in changes:
        if change.model not in (name, ALL_MODELS):
            continue
        if change.version:
            versions[change.sha256] = change.version
        if change.kind is ChangeKind.STOPPED:
            stops.setdefault(change.model, change)
        elif change.kind is ChangeKind.RESUMED:
            stops.pop(change.model, None)
        elif change.kind is ChangeKind.CONFIRMED:
            waiting.pop(change.proposal, None)
        elif change.kind is ChangeKind.PROPOSED:
            waiting = {key: item for key, item in waiting.items() if item.sha256 != change.sha256 or item.emergency}
            waiting[change.number] = change
        elif change.state is not None:
            # A proposal was made when something else held: of this version, and where another one came into use.
            in_use = change.state is ModelState.ACTIVE
            waiting = {
                key: item
                for key, item in waiting.items()
                if item.emergency or not (in_use or item.sha256 == change.sha256)
            }
            if change.emergency:
                waiting[change.number] = change
            states[change.sha256] = change.state
            if change.state is ModelState.ACTIVE:
                active = change.sha256
                history.append(active)
            elif change.sha256 == active:
                active = ""
    earlier = dict.fromkeys(sha256 for sha256 in reversed(history) if sha256 != active)
    return ModelControl(
        name, states, versions, active, tuple(earlier), tuple(waiting.values()), next(iter(stops.values()), None)
    )
