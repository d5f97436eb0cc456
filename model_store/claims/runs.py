"""The folder of a run: the objects that a job writes while it works, from which a killed job continues."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

from model_store.claims.claims import LEASE_S, Claim, take_claim
from model_store.errors import CorruptObjectError, MissingObjectError
from model_store.names import RUN_CLAIMS, RUNS, check_name, check_object_name, claim_of
from model_store.objects.probe import require_promises
from model_store.objects.protocol import ObjectStore, in_parallel

SEAL = b"gridline 1 sha256 "


class RunFolder:
    """Objects of one run, each written once. The first line of an object has the sha256 of the rest."""

    def __init__(self, objects: ObjectStore, run_id: str) -> None:
        self._objects = objects
        self.run_id = check_name("run id", run_id)
        self._prefix = f"{RUNS}{run_id}/"

    def create(self, name: str, data: bytes) -> bool:
        """Store an object; return False and change nothing if it exists with other content."""
        require_promises(self._objects)
        seal = SEAL + hashlib.sha256(data).hexdigest().encode() + b"\n"
        return self._objects.create(self._prefix + check_object_name(name), seal + data)

    def read(self, name: str) -> bytes | None:
        """Return an object, or None if it was not written. Raises CorruptObjectError if its bytes have changed."""
        key = self._prefix + check_object_name(name)
        try:
            sealed = self._objects.read(key)
        except MissingObjectError:
            return None
        seal, _, data = sealed.partition(b"\n")
        if seal != SEAL + hashlib.sha256(data).hexdigest().encode():
            raise CorruptObjectError(
                f"{self._objects.uri}/{key}", "the sha256 of its bytes is not the one it was sealed with"
            )
        return data

    def read_many(self, names: Iterable[str]) -> dict[str, bytes]:
        """Return the objects with these names that were written, reading several at once."""
        wanted = list(names)
        pairs = zip(wanted, in_parallel(self.read, wanted), strict=True)
        return {name: data for name, data in pairs if data is not None}

    def names(self, prefix: str = "") -> list[str]:
        """Return the names of the objects that start with `prefix`, in order."""
        return [info.key.removeprefix(self._prefix) for info in self._objects.list(self._prefix + prefix)]

    def claim(self, lease_s: float = LEASE_S) -> Claim:
        """Claim the run for this process, as a context manager. Raises RunClaimedError if a live process has it.

        The claim of a dead process is taken over at once on the same machine, and after `lease_s` on another. The runs
        of a job have one claim.
        """
        require_promises(self._objects)
        return take_claim(self._objects, f"{RUN_CLAIMS}{claim_of(self.run_id)}/", f"run '{self.run_id}'", lease_s)
