"""The JSON of a version: one small object, which is written once.

    {"format": 1, "sha256": "<of the canonical JSON of the version>", "version": {…}}

Format rule: a reader accepts every format up to its own and refuses newer ones. It ignores unknown keys, so the format
number changes only if an old reader would misread the version. Format 2: withdrawals, lost versions, and the actions
`release` and `repair`. A version without any of them has format 1.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from itertools import pairwise
from typing import Any, get_args

from model_store.errors import DamagedVersionError, NewerFormatError
from model_store.ledger.champion_columns import COLUMNS, row_problem
from model_store.ledger.versions import SHARD_EXT, Action, Shard, Version
from model_store.ledger.withdrawals import Withdrawal
from model_store.names import numbered, version_prefix
from model_store.objects.blobs import BlobRef
from model_store.objects.protocol import ObjectStore

FORMAT = 2
ACTIONS_OF_FORMAT_1 = ("train", "rollback")

# The fields of a version that its JSON has under the same names, with their types.
FIELDS: dict[str, type[str] | type[int]] = {
    "collection": str,
    "number": int,
    "commit_id": str,
    "parent": str,  # or null
    "created_at": str,
    "run_id": str,
    "action": str,
    "note": str,
    "num_datasets": int,
}


def version_json(version: Version) -> bytes:
    """Return the bytes of a commit."""
    body: dict[str, Any] = {
        **{name: getattr(version, name) for name in FIELDS},
        "rows": [{name: value for name, value in row.items() if value is not None} for row in version.rows],
        "parts": [
            {
                "first": shard.first,
                "num_rows": shard.num_rows,
                "sha256": shard.blob.sha256,
                "size": shard.blob.size_bytes,
            }
            for shard in version.shards
        ],
    }
    if version.withdrawals:
        body["withdrawals"] = [each.to_json() for each in version.withdrawals]
    if version.lost:
        body["lost"] = list(version.lost)
    is_first = version.action in ACTIONS_OF_FORMAT_1 and not version.withdrawals and not version.lost
    return json.dumps(
        {"format": 1 if is_first else FORMAT, "sha256": _digest(body), "version": body}, ensure_ascii=False
    ).encode()


def parse_version(objects: ObjectStore, collection: str, number: int, data: bytes) -> Version:
    """Return the version that `version_json` wrote for this collection and number.

    Raises NewerFormatError, and DamagedVersionError with the name of the object if it is not that commit.
    """
    name = f"{objects.uri}/{numbered(version_prefix(collection), number)}"
    try:
        document = json.loads(data)
        if document["format"] > FORMAT:
            raise NewerFormatError(name, document["format"], FORMAT)
        body = document["version"]
        if _digest(body) != document["sha256"]:
            raise DamagedVersionError(name, "its checksum does not fit its content", collection)
        version = _from_body(objects, body)
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError, RecursionError) as exc:
        reason = f"it is not a commit: {type(exc).__name__} {' '.join(str(exc).split())}"
        raise DamagedVersionError(name, reason, collection) from exc
    if (version.collection, version.number) != (collection, number):
        reason = f"it holds version {version.number} of collection '{version.collection}'"
        raise DamagedVersionError(name, reason, collection)
    return version


def _from_body(objects: ObjectStore, body: Mapping[str, Any]) -> Version:
    for row in body["rows"]:
        if problem := row_problem(row):
            raise ValueError(f"in a row, {problem}")
    rows = tuple({column.name: row.get(column.name) for column in COLUMNS} for row in body["rows"])
    for name, kind in FIELDS.items():
        if name != "parent" or body["parent"] is not None:
            _require(body, name, kind)
    if body["action"] not in get_args(Action):
        raise ValueError(f"action {body['action']!r}")
    shards = tuple(_shard(fields) for fields in body["parts"])
    if (len(rows) or sum(shard.num_rows for shard in shards)) != body["num_datasets"]:
        raise ValueError("the number of its rows is not that of its datasets")
    names = [row["dataset"] for row in rows] or [shard.first for shard in shards]
    if any(name >= following for name, following in pairwise(names)):
        raise ValueError("its datasets are not sorted by name, each once")
    more: dict[str, Any] = {
        "withdrawals": tuple(map(Withdrawal.from_json, body.get("withdrawals", ()))),
        "lost": tuple(map(int, body.get("lost", ()))),
    }
    return Version(**{name: body[name] for name in FIELDS}, rows=rows, shards=shards, objects=objects, **more)


def _shard(fields: Mapping[str, Any]) -> Shard:
    for name, kind in (("first", str), ("num_rows", int), ("size", int)):
        _require(fields, name, kind)
    return Shard(fields["first"], fields["num_rows"], BlobRef(fields["sha256"], fields["size"], SHARD_EXT))


def _require(fields: Mapping[str, Any], name: str, kind: type[str] | type[int]) -> None:
    """Raise TypeError unless a field is a text, or a count."""
    value = fields[name]
    if type(value) is not kind or (isinstance(value, int) and value < 0):
        raise TypeError(f"'{name}' is {value!r}, not a {'text' if kind is str else 'count'}")


def _digest(body: Mapping[str, Any]) -> str:
    canonical = json.dumps(body, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()
