"""Every example of these pages of docs/ that is marked as one runs, in the order of the page.

They ask a real TorchServe; `<!-- example: clients -->` marks those that need the environment of `make clients`.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import grpc_tools
import pytest
from grpc_tools import protoc

from handler.rows.model_card import Feature, ModelCard
from model_store import open_ledger
from model_store.deployment.following import deploy_version
from model_store.deployment.rollout import Target, undeploy
from tests.samples.fleets import commit_models, fitted
from tests.servers.clients import clients_python
from tests.servers.torchserve import ServedStores

pytestmark = pytest.mark.torchserve

ROOT = Path(__file__).parents[2]
EXAMPLE = re.compile(r"<!-- example(: clients)? -->\n```(bash|python)\n(.*?)```", re.DOTALL)
PAGES = ("serving", "clients", "describing")
EXAMPLES = [(page, *found) for page in PAGES for found in EXAMPLE.findall((ROOT / "docs" / f"{page}.md").read_text())]


@pytest.fixture(scope="module")
def folder(served_stores: ServedStores, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A working directory as the page expects it, and `plants` deployed on the server of the session."""
    made = tmp_path_factory.mktemp("docs")
    settings = served_stores.server.settings
    (made / "gridline-serving").symlink_to(settings.folder)
    (made / "rows.csv").write_text("area\n3\n4.5\n")
    proto, include = ROOT / "examples" / "serving", Path(grpc_tools.__file__).parent / "_proto"
    outputs = [f"--python_out={made}", f"--grpc_python_out={made}"]
    assert protoc.main(["protoc", f"-I{proto}", f"-I{include}", *outputs, str(proto / "inference.proto")]) == 0
    ledger = open_ledger(str(made / "store"))
    version = commit_models(ledger, "plants", {"plant_richness": fitted(ModelCard("y", (Feature("area"),)), 5)})
    with served_stores.management() as management:
        target = Target(management)
        deploy_version(ledger, version, target)
        yield made
        undeploy(target, "plants")


@pytest.mark.parametrize(
    ("page", "where", "language", "text"),
    EXAMPLES,
    ids=[f"{page}-{number}" for number, (page, *_) in enumerate(EXAMPLES)],
)
def test_the_example_runs(
    served_stores: ServedStores, folder: Path, page: str, where: str, language: str, text: str
) -> None:
    ports = served_stores.server.settings.ports
    text = text.replace("127.0.0.1:8080", f"127.0.0.1:{ports.inference}")
    text = text.replace("127.0.0.1:7070", f"127.0.0.1:{ports.grpc_inference}")
    python = str(clients_python()) if where else sys.executable
    command = ["bash", "-euc", text] if language == "bash" else [python, "-c", text]
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = os.environ | {"PATH": path} | ({} if where else {"PYTHONPATH": str(folder)})
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, check=False, timeout=100
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip()
    assert '"code"' not in done.stdout


def test_the_pages_have_examples_of_each_kind() -> None:
    assert {(where, language) for _, where, language, _ in EXAMPLES} == {
        *(("", "bash"), ("", "python"), (": clients", "python"))
    }
    assert len(EXAMPLES) >= 8
