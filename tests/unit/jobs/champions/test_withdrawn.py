"""A rollback holds: a model that it has withdrawn is not promoted again, until something changes or it is released."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest

from jobs.champions.batch import Batch
from jobs.champions.comparison import Comparison
from model_store import open_ledger
from model_store.errors import NothingWithdrawnError, StoreError
from model_store.ledger.ledger import Ledger
from tests.samples.datasets import dataset
from tests.unit.jobs.champions.test_champion_batches import TRAIN, challenger, offered

BAD, GOOD = 400, 50  # epochs: more of them have a smaller error, and are what the operator took back


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    return open_ledger(str(tmp_path / "store"))


def of(epochs: int, name: str = "a", recipe: str | None = "r", seed: int = 0) -> Batch:
    """Return the model of a dataset after some epochs; `recipe` is the digest of a recipe."""
    batch = challenger(dataset(name, seed=seed), rates=[0.01], epochs=epochs)
    return replace(batch, recipe=None if recipe is None else f"{recipe} of {epochs} epochs")


def rolled_back(ledger: Ledger, reason: str = "") -> None:
    """Commit a good and a bad model, and roll back to the good one: version 3."""
    assert offered(ledger, of(GOOD))[0] is not None
    assert offered(ledger, of(BAD))[0] is not None
    assert ledger.rollback("c", 1, reason=reason).number == 3


def stood(ledger: Ledger, batch: Batch) -> Comparison:
    (comparison,) = offered(ledger, batch)[1].values()
    return comparison


def test_model_that_was_withdrawn_is_kept_back_and_says_why(ledger: Ledger) -> None:
    rolled_back(ledger, "labels of a test")
    comparison = stood(ledger, of(BAD))
    assert (comparison.promoted, comparison.basis) == (False, "withdrawn")
    assert comparison.reason == (
        "version 2's model was withdrawn by the rollback to version 1 (version 3: labels of a test); "
        "'gridline models release c a' lifts this"
    )
    assert ledger.version("c").number == 3


def test_rollback_holds_after_later_versions(ledger: Ledger) -> None:
    rolled_back(ledger)
    assert offered(ledger, of(GOOD, "other"))[0] is not None
    assert stood(open_ledger(ledger.uri), of(BAD)).basis == "withdrawn"


def test_promote_always_does_not_bring_a_withdrawn_model_back(ledger: Ledger) -> None:
    rolled_back(ledger)
    assert stood(ledger, replace(of(BAD), policy=replace(TRAIN, promote="always"))).basis == "withdrawn"


def test_withdrawn_model_that_is_not_better_is_compared_as_ever(ledger: Ledger) -> None:
    offered(ledger, of(BAD))
    offered(ledger, replace(of(GOOD), policy=replace(TRAIN, promote="always")))
    ledger.rollback("c", 1)
    assert stood(ledger, of(GOOD)).basis == "same rows"


def test_other_rows_or_another_recipe_are_another_model(ledger: Ledger) -> None:
    rolled_back(ledger)
    assert not stood(ledger, of(BAD)).promoted
    assert stood(ledger, of(BAD, seed=1)).promoted
    ledger.rollback("c", 1)
    assert stood(ledger, of(BAD + 1)).promoted


def test_same_bytes_are_the_same_model_whatever_the_recipe_says(ledger: Ledger) -> None:
    rolled_back(ledger)
    assert stood(ledger, of(BAD, recipe="another")).basis == "withdrawn"


def test_other_bytes_of_the_same_recipe_and_rows_are_the_same_model(ledger: Ledger) -> None:
    """Training on another number of ranks may end with other last digits."""
    rolled_back(ledger)
    batch = of(BAD)
    stack = replace(batch.challengers.stack, weight_md=batch.challengers.stack.weight_md * (1 + 1e-12))
    other = replace(batch, challengers=replace(batch.challengers, stack=stack))
    assert stood(ledger, other).basis == "withdrawn"
    assert stood(ledger, replace(other, recipe="another")).promoted


def test_model_of_a_row_without_recipe_is_known_by_engine_loss_and_epoch(ledger: Ledger) -> None:
    offered(ledger, of(GOOD, recipe=None))
    offered(ledger, of(BAD, recipe=None))
    ledger.rollback("c", 1)
    batch = of(BAD)
    stack = replace(batch.challengers.stack, weight_md=batch.challengers.stack.weight_md * (1 + 1e-12))
    assert stood(ledger, replace(batch, challengers=replace(batch.challengers, stack=stack))).basis == "withdrawn"
    assert stood(ledger, of(BAD + 1)).promoted


def test_dataset_that_the_restored_version_does_not_have_is_withdrawn(ledger: Ledger) -> None:
    offered(ledger, of(GOOD))
    offered(ledger, of(GOOD, "new"))
    ledger.rollback("c", 1)
    assert stood(ledger, of(GOOD, "new")).basis == "withdrawn"
    assert stood(ledger, of(GOOD, "third")).promoted


def test_model_that_a_later_rollback_restored_is_allowed(ledger: Ledger) -> None:
    rolled_back(ledger)
    assert ledger.rollback("c", 2).number == 4
    assert stood(ledger, of(BAD + 1)).promoted  # so that the restored one is a challenger again
    always = replace(of(BAD), policy=replace(TRAIN, promote="always"))
    assert stood(ledger, always).promoted


def test_newest_rollback_decides(ledger: Ledger) -> None:
    rolled_back(ledger)  # withdraws 2
    ledger.rollback("c", 2)  # restores it, and withdraws the model of 1 and 3
    assert stood(ledger, replace(of(GOOD), policy=replace(TRAIN, promote="always"))).basis == "withdrawn"
    assert stood(ledger, of(BAD)).reason == "it is the champion already"


def test_release_lifts_the_withdrawal(ledger: Ledger) -> None:
    rolled_back(ledger)
    released = ledger.release("c")
    assert (released.number, released.action, released.withdrawals) == (4, "release", ())
    assert stood(ledger, of(BAD)).promoted


def test_release_of_one_dataset_keeps_the_others_withdrawn(ledger: Ledger) -> None:
    offered(ledger, of(GOOD, "a"), of(GOOD, "b"))
    offered(ledger, of(BAD, "a"), of(BAD, "b"))
    ledger.rollback("c", 1)
    assert ledger.release("c", ["b"]).note == "of 'b'"
    assert stood(ledger, of(BAD, "a")).basis == "withdrawn"
    assert stood(ledger, of(BAD, "b")).promoted


def test_release_of_what_is_not_withdrawn_is_refused(ledger: Ledger) -> None:
    offered(ledger, of(GOOD), of(GOOD, "b"))
    with pytest.raises(NothingWithdrawnError, match="collection 'c': no model is withdrawn"):
        ledger.release("c")
    offered(ledger, of(BAD))
    ledger.rollback("c", 1)
    for name in ("b", "typo"):
        with pytest.raises(NothingWithdrawnError, match=f"no model of dataset '{name}' is withdrawn"):
            ledger.release("c", ["a", name])
    assert ledger.version("c").number == 3


def test_rollback_of_one_dataset_leaves_the_others(ledger: Ledger) -> None:
    offered(ledger, of(GOOD, "a"), of(GOOD, "b"))
    offered(ledger, of(BAD, "a"), of(BAD, "b"))
    version = ledger.rollback("c", 1, datasets=["a"], reason=" two\nlines ")
    assert version.note == "to version 1 of 'a': two lines"
    epochs = {row["dataset"]: row["epoch"] for row in version.table().to_pylist()}
    assert epochs == {"a": GOOD, "b": BAD}
    assert stood(ledger, of(BAD, "a")).basis == "withdrawn"
    assert stood(ledger, of(BAD, "b")).reason == "it is the champion already"
    assert ledger.rollback("c", 1, datasets=["a"]).number == 3  # it changes nothing
    assert ledger.release("c", ["a"]).withdrawals == ()


def test_withdrawn_models_that_cannot_be_told_stop_the_commit(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("model_store.ledger.champion_table.INLINE_ROWS", 0)
    rolled_back(ledger)
    ledger.objects.delete(ledger.version("c", 2).shards[0].blob.key)
    with pytest.raises(StoreError, match=r"the models that the rollback to version 1 .* can't be told: .* is missing"):
        offered(open_ledger(ledger.uri), of(BAD))
    ledger.release("c")
    assert stood(ledger, of(BAD)).promoted


def test_gc_keeps_the_tables_of_withdrawn_versions_and_not_their_models(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("model_store.ledger.champion_table.INLINE_ROWS", 0)
    rolled_back(ledger)
    withdrawn = ledger.version("c", 2)
    for name in ("b", "d"):
        offered(ledger, of(GOOD, name))
    for info in ledger.objects.list("blobs/"):
        os.utime(Path(ledger.uri) / info.key, (0, 0))
    removed = ledger.gc("c", keep=1).removed
    assert f"blobs/{withdrawn.table()['checkpoint'][0].as_py()}.safetensors" in removed
    assert withdrawn.shards[0].blob.key not in removed
    assert stood(open_ledger(ledger.uri), of(BAD)).basis == "withdrawn"
