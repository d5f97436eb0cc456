"""`gridline train --if-running` as a process: it waits, and a signal ends the wait at once."""

from __future__ import annotations

import signal
from pathlib import Path

from jobs.run import id_of
from model_store.claims.claims import holder_of
from model_store.claims.executions import claim_prefix, look_up
from tests.samples.jobs import Jobs
from tests.servers.command_line import plain, running

CONFIG = """\
name: fruit
datasets:
  - {{name: a, source: a.csv, target: y, features: [u, v]}}
grid: {{learning_rate: [0.01]}}
store: {{uri: {store}}}
"""


def test_sigterm_ends_a_run_that_waits(tmp_path: Path) -> None:
    jobs = Jobs(tmp_path, 1)
    config, objects = tmp_path / "job.yaml", jobs.ledger.objects
    config.write_text(CONFIG.format(store=jobs.ledger.uri))
    manual = look_up(objects, "fruit", id_of(jobs.config()))
    with manual.claimed(), running("train", str(config), "--if-running", "wait") as process:
        assert process.stderr is not None
        line = process.stderr.readline()
        assert f"Z INFO run=none run '{manual.run_id}' is under way (process " in line
        assert line.endswith("): waiting for its end\n")
        process.send_signal(signal.SIGTERM)
        _, errors = process.communicate(timeout=10)
    assert process.returncode == 130
    assert plain(errors).startswith("gridline: interrupted")
    holder = holder_of(objects, claim_prefix("collection=fruit"))
    assert holder is not None and holder.released
