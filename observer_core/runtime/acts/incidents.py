"""Incidents that no recovery will ever end: an operator does."""

from __future__ import annotations

from collections.abc import Iterator

from observer_core.runtime.acts.ground import Asked, By, Ground, Unknown
from observer_core.shared.errors import InputError
from observer_core.storage.once import Once

_LEAST = 4


def end(ground: Ground, incident: str, domain: str | None, by: By, once: Once | None = None) -> Asked:
    """Asks for the end of an open incident, named by the first characters of its id.

    Nobody is kept from being told because of it any more. It opens nothing: blocks that wait for the
    incident stay until they are released.
    """
    if len(incident) < _LEAST:
        raise InputError(f"{incident!r} may be many incidents; give {_LEAST} characters of the id at least")
    domains = ground.domains(domain)
    for name in domains:
        if (told := ground.told(name, once)) is not None:
            return told
    found = [(name, one) for name in domains for one in _open(ground, name) if one.startswith(incident)]
    if not found:
        raise Unknown(f"no incident is open whose id begins with {incident!r}; see `observer incidents ls`")
    if len(found) > 1:
        raise InputError(f"{len(found)} open incidents begin with {incident!r}; give more of the id")
    ((name, identity),) = found
    body = {"action": "end", "id": identity, **by.checked().to_json()}
    text = f"end of incident {identity} in domain {name}"
    return ground.ask(name, "incident", body, ground.now_ns(name), text, once)


def _open(ground: Ground, domain: str) -> Iterator[str]:
    view = ground.journals.open(f"events.{domain}").views("incidents").get("incidents", {})
    yield from (str(one["id"]) for one in view.get("open", ()))
