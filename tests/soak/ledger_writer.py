"""A process that commits to a ledger, and prints number and commit id of each version when it was acknowledged.

    python -m tests.soak.ledger_writer URI WRITER NUM_COMMITS CHECKPOINT

CHECKPOINT is a file with a checkpoint of one model; endpoint and credentials of S3 come from the environment.
"""

from __future__ import annotations

import os
import sys
from dataclasses import replace
from pathlib import Path

from model_store.ledger.ledger import Ledger
from model_store.objects.opening import open_objects
from model_store.objects.retry import RetryPolicy
from model_store.objects.s3_settings import S3Settings
from tests.samples.proposals import lowest_of_each

PATIENT = RetryPolicy(deadline_s=90.0, base_s=0.02, cap_s=1.0)


def main(uri: str, writer: str, num_commits: int, checkpoint: bytes) -> None:
    settings = replace(S3Settings.from_environment(os.environ), retry=PATIENT)
    ledger = Ledger(open_objects(uri, settings))
    for turn in range(num_commits):
        blob = ledger.put_blob(checkpoint, "safetensors")
        row = {"dataset": f"{writer}-{turn}", "checkpoint": blob.sha256, "checkpoint_size": blob.size_bytes, "row": 0}
        version = ledger.transact("plants", lowest_of_each([row | {"score": 1.0}], writer))
        if version is None:
            raise AssertionError(f"writer {writer}: turn {turn} committed nothing")
        print(version.number, version.commit_id, flush=True)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]), Path(sys.argv[4]).read_bytes())
