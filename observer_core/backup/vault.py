"""A place with its keys: which backups there are, and the contents of each under its own seal."""

from __future__ import annotations

from collections.abc import Mapping

from observer_core.backup.manifest import Body, Catalogue, Manifest
from observer_core.backup.objects import Damaged, Objects
from observer_core.backup.place import Place
from observer_core.backup.sealing import Identity, IndexKey, Plain, Seal, Sealed
from observer_core.shared.errors import InputError, NotFound, StorageCorrupt

_KEYS = "keys/"


class Vault:
    """`keys`: those of indexes that the store has, by id. `identity`: opens everything that is for it."""

    def __init__(
        self, place: Place, keys: Mapping[str, IndexKey] | None = None, identity: Identity | None = None
    ) -> None:
        self.place, self.catalogue = place, Catalogue(place)
        self._keys, self._identity = dict(keys or {}), identity
        self._objects: dict[str | None, Objects] = {}

    def objects(self, seal: str | None) -> Objects:
        """What lies there under one seal (None: not encrypted); `InputError` without its key."""
        found = self._objects.get(seal)
        if found is None:
            found = self._objects[seal] = Objects(self.place, self._seal(seal))
        return found

    def body(self, manifest: Manifest) -> Body:
        """`InputError` when it is encrypted, and its key is not here."""
        return manifest.body(self._seal(manifest.seal))

    def lay_down(self, key: IndexKey) -> None:
        """From now on whoever has the identity of one of its recipients can read what is written under it."""
        # Each time: nobody here can read whether what lies there is still what was written.
        self.place.put(f"{_KEYS}{key.id}.age", key.for_recipients())
        self._keys[key.id] = key

    def check_key(self, seal: str) -> None:
        """`Damaged` unless an identity alone opens what is under this seal, as far as that shows here."""
        name = f"{_KEYS}{seal}.age"
        try:
            stored = self.place.get(name)
            identity = self._opener(self._keys[seal])
            if identity is not None and IndexKey.read(stored, identity).id != seal:
                raise Damaged(name, "it is the key of another index")
        except (NotFound, StorageCorrupt, ValueError) as error:
            raise Damaged(name, f"nobody can restore without this key of the index: {error}") from None

    def _seal(self, seal: str | None) -> Seal:
        if seal is None:
            return Plain()
        key = self._keys.get(seal)
        if key is None and self._identity is not None:
            try:
                key = IndexKey.read(self.place.get(f"{_KEYS}{seal}.age"), self._identity)
            except NotFound:
                raise InputError(f"{self.place!r} lacks {_KEYS}{seal}.age, the key of its index") from None
            self._keys[seal] = key
        if key is None:
            raise InputError(
                "it is encrypted, and its index cannot be read here: give the identity of one of its "
                "recipients (--identity FILE)"
            )
        return Sealed(key, self._opener(key))

    def _opener(self, key: IndexKey) -> Identity | None:
        """The identity, where it is of a recipient: by any other one everything would look damaged."""
        found = self._identity
        return found if found is not None and set(found.recipients) & set(key.recipients) else None
