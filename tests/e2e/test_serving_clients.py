"""Clients that gridline did not write, against a real TorchServe: those of Triton and KServe, and curl."""

from __future__ import annotations

import csv
import gzip
import json
import subprocess
from pathlib import Path

import pytest

from model_store.torchserve.client import read_key
from tests.servers.clients import run_client
from tests.servers.torchserve import COLLECTION, ServedStores

pytestmark = pytest.mark.torchserve
HOSTS = ("torchserve", "uvicorn")

ROWS = "area,depth\n3,1\n4,2\n"


@pytest.fixture(scope="module")
def expected(served_stores: ServedStores) -> list[float]:
    """The predictions that each client must get."""
    body = {"dataset": "north", "instances": [[3, 1], [4, 2]]}
    found: list[float] = served_stores.post(json.dumps(body).encode()).json()["predictions"]
    return found


def test_tritonclient_gets_predictions_in_each_of_its_ways(served_stores: ServedStores, expected: list[float]) -> None:
    found = run_client(served_stores, "triton.py")
    assert found["same"] == dict.fromkeys(found["same"], pytest.approx(expected, rel=1e-12))
    assert found["id"] == "7"
    assert found["names"] == ["explanations", "predictions"]
    assert found["contributions"].keys() == {"area", "depth"}
    assert found["shapes"] == {
        "predictions": [2],
        "confidence_interval": [2, 2],
        "prediction_interval": [2, 2],
    }
    for what, said in {
        "class": "class_count=0",
        "output": "the outputs are",
        "sequence": "leave 'sequence_id' out",
        "feature": "did you mean 'depth'?",
        "interval": "add 'interval'",
    }.items():
        assert said in found["refused"][what]


def test_kserves_client_gets_predictions_in_both_protocols(served_stores: ServedStores, expected: list[float]) -> None:
    found = run_client(served_stores, "kserve_rest.py")
    assert found["same"] == dict.fromkeys(found["same"], pytest.approx(expected, rel=1e-12))
    assert found["explained"] == ["area", "depth"]
    assert "did you mean 'depth'?" in found["refused"]


def curl(served: ServedStores, *arguments: str, path: str = f"/predictions/{COLLECTION}", stdin: bytes = b"") -> str:
    """Return the status and the body that curl gets."""
    settings = served.server.settings
    key = read_key(settings.key_file, "inference")
    command = ["curl", "--silent", "--max-time", "30", "--write-out", "%{http_code}", *arguments]
    headers = ["--header", f"Authorization: Bearer {key}", "--header", "Gridline-Options: dataset=north"]
    done = subprocess.run(
        [*command, *headers, f"{settings.inference_url}{path}"],
        input=stdin,
        capture_output=True,
        check=True,
        timeout=60,
    )
    return done.stdout.decode()


@pytest.mark.parametrize(
    "arguments",
    [
        ["--form", "file=@rows.csv"],
        ["--form", "data=@rows.json;type=application/json", "--form", "extra=ignore"],
        ["--form", "rows=@rows.csv;type=text/csv", "--form", "dataset=north"],
        ["--header", "Content-Type: text/csv", "--data-binary", "@rows.csv"],
        ["--header", "Content-Type:", "--data-binary", "@rows.csv"],
        ["--header", "Content-Type: text/csv", "--header", "Content-Encoding: gzip", "--data-binary", "@rows.csv.gz"],
        ["--data-urlencode", "data@rows.json"],
    ],
)
def test_curl_sends_files_forms_and_compressed_bodies(
    served_stores: ServedStores,
    expected: list[float],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    arguments: list[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("rows.csv").write_text("\ufeff" + ROWS)
    Path("rows.csv.gz").write_bytes(gzip.compress(ROWS.encode()))
    Path("rows.json").write_text('{"instances": [[3, "1"], ["4", 2]]}')
    found = curl(served_stores, *arguments)
    assert found.endswith("200"), found
    assert json.loads(found[:-3])["predictions"] == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("body", ['{"instances": [[3, 1]]}', '{"dataset": "a=b"}', ROWS, "a=1&b=2"])
def test_curl_without_a_type_is_told_what_to_add(served_stores: ServedStores, body: str) -> None:
    found = curl(served_stores, "--data", body)
    assert found.endswith("400")
    assert "add the header 'Content-Type: application/json'" in json.loads(found[:-3])["message"]


def test_csv_in_and_out_as_sagemaker_asks(served_stores: ServedStores, expected: list[float]) -> None:
    headers = ["Content-Type: text/csv", "Accept: text/csv", "X-Amzn-SageMaker-Custom-Attributes: interval=0.9"]
    arguments = [argument for header in headers for argument in ("--header", header)]
    path = f"/invocations?model_name={COLLECTION}"
    found = curl(served_stores, *arguments, "--data-binary", "3,1\n4,2\n", path=path)
    assert found.endswith("200"), found
    rows = [list(map(float, row)) for row in csv.reader(found[:-3].splitlines())]
    assert [row[0] for row in rows] == pytest.approx(expected, rel=1e-12)
    assert all(len(row) == 5 and row[3] < row[1] < row[0] < row[2] < row[4] for row in rows)


def test_mlflows_bodies_at_its_address(served_stores: ServedStores, expected: list[float]) -> None:
    for body in (
        {"dataframe_split": {"columns": ["area", "depth"], "data": [[3, 1], [4, 2]]}},
        {"dataframe_records": [{"area": 3, "depth": 1}, {"area": 4, "depth": 2}]},
        {"inputs": {"area": [3, 4], "depth": [1, 2]}, "params": {"dataset": "north"}},
        {"inputs": [[3, 1], [4, 2]]},
    ):
        arguments = ["--header", "Content-Type: application/json", "--data", json.dumps(body)]
        found = curl(served_stores, *arguments, path=f"/invocations?model_name={COLLECTION}")
        assert found.endswith("200"), found
        assert json.loads(found[:-3])["predictions"] == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize(
    ("headers", "status"),
    [(["Accept: application/x-npy"], 406), (["Content-Encoding: br"], 415), (["Content-Encoding: gzip"], 413)],
)
def test_what_is_not_served_has_its_status(served_stores: ServedStores, headers: list[str], status: int) -> None:
    arguments = [argument for header in ["Content-Type: text/csv", *headers] for argument in ("--header", header)]
    body = gzip.compress(b" " * 10**7) if status == 413 else ROWS.encode()
    found = curl(served_stores, *arguments, "--data-binary", "@-", stdin=body)
    assert found.endswith(str(status)), found
    assert json.loads(found[:-3])["code"] == status


def test_the_addresses_that_torchserve_does_not_hand_on_are_404(torchserve_stores: ServedStores) -> None:
    for path in ("/v2", "/v2/health/ready", f"/v2/models/{COLLECTION}", f"/v2/models/{COLLECTION}/ready"):
        assert curl(torchserve_stores, path=path).endswith("404")


def test_both_clients_ask_uvicorn_whether_it_is_ready_and_what_it_has(uvicorn_stores: ServedStores) -> None:
    found = run_client(uvicorn_stores, "metadata.py")
    assert found["kserve"] == [True] * 4
    assert found["triton"] == [True] * 4
    assert found["others"] == [False] * 2
    assert found["server"]["name"] == "gridline"
    assert (found["model"]["name"], found["model"]["versions"]) == (COLLECTION, ["1"])
