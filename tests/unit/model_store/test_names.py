"""Keys and names of the store."""

from __future__ import annotations

import pytest

from model_store.errors import CorruptObjectError, InvalidNameError
from model_store.names import check_name, check_object_name, number_of, numbered, version_prefix
from model_store.objects.blobs import BlobRef


def test_numbered_keys_sort_as_numbers_do() -> None:
    keys = [numbered(version_prefix("plants"), number) for number in (2, 10, 1, 999)]
    assert [number_of(key) for key in sorted(keys)] == [1, 2, 10, 999]
    assert keys[0] == "versions/plants/00000000000000000002.json"


@pytest.mark.parametrize("key", ["versions/p/1.json", "versions/p/0000000000000000000a.json", "x", "", "a/" + "0" * 20])
def test_number_of_other_keys_is_none(key: str) -> None:
    assert number_of(key) is None


@pytest.mark.parametrize("name", ["plants", "a", "2026-11-23_run.1", "x" * 128])
def test_check_name_takes_names(name: str) -> None:
    assert check_name("collection", name) == name


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "../a", "a b", "ä", "-a", "x" * 129, "a\n", "a\x00"])
def test_check_name_refuses_what_could_leave_its_folder(name: str) -> None:
    with pytest.raises(InvalidNameError, match="is not a name"):
        check_name("collection", name)


@pytest.mark.parametrize("name", ["config.json", "blocks/0-3.json", "trials/lr=0.05,seed=1.json"])
def test_check_object_name_takes_paths(name: str) -> None:
    assert check_object_name(name) == name


@pytest.mark.parametrize("name", ["", "/a", "a/", "a//b", "../a", "a/../b", ".hidden", "a b"])
def test_check_object_name_refuses_what_could_leave_its_folder(name: str) -> None:
    with pytest.raises(InvalidNameError, match="is not a relative path"):
        check_object_name(name)


@pytest.mark.parametrize(
    ("sha256", "ext"), [("../../etc/passwd", "x"), ("0" * 64, "a/b"), ("0" * 63, "x"), ("0" * 64, "")]
)
def test_blob_ref_refuses_what_is_no_digest(sha256: str, ext: str) -> None:
    with pytest.raises(CorruptObjectError):
        BlobRef(sha256, 1, ext)
