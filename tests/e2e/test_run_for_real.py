"""Nights on a cluster, by the files of infra/: Ray with a token, a real S3 server, TorchServe and its follower.

A job is submitted as the CronJob does it; what is served afterwards is asked over HTTP.
"""

from __future__ import annotations

import re
import shlex
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from jobs.cluster.joining import require_access
from jobs.errors import ClusterError
from tests.infra_files import INFRA, ROOT
from tests.servers.fault_proxy import FaultProxy, Request, fault_proxy
from tests.servers.site import Site, ended, new_token
from tests.servers.stores import S3Server
from tests.servers.torchserve import until

pytestmark = [pytest.mark.ray, pytest.mark.s3, pytest.mark.torchserve, pytest.mark.timeout(400)]

JOB = INFRA / "kubernetes" / "base" / "job"
AT_MOST_S = 45.0


@pytest.fixture(scope="module")
def s3(ceph_server: S3Server) -> Iterator[FaultProxy]:
    """What stands between gridline and the S3 server, so that a commit can be held up."""
    with fault_proxy(ceph_server.settings.endpoint_url or "") as proxy:
        yield proxy


@pytest.fixture(scope="module")
def site(s3: FaultProxy, ceph_server: S3Server) -> Iterator[Site]:
    """A head of Ray and an empty store; the files of /etc/gridline are those of the example."""
    settings = ceph_server.settings
    values = {
        "GRIDLINE_STORE": f"s3://{ceph_server.new_bucket()}/gridline",
        "AWS_ENDPOINT_URL": s3.endpoint_url,
        "AWS_ACCESS_KEY_ID": str(settings.access_key_id),
        "AWS_SECRET_ACCESS_KEY": str(settings.secret_access_key),
        "RAY_AUTH_TOKEN": new_token(),
    }
    folder = Path(tempfile.mkdtemp(prefix="gl-"))  # short: sockets lie in it
    (folder / "var").mkdir()
    try:
        made = Site(folder, values)
        made.mount({path.name: path.read_bytes() for path in JOB.iterdir()})
        with made.head():
            yield made
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def doubled() -> dict[str, bytes]:
    """Return the files of the job with new data: twice as many species at each area, as logarithms."""
    header, *rows = (JOB / "plant_richness.tsv").read_text().splitlines()
    at = header.split("\t").index("ntv_rich")
    cells = [row.split("\t") for row in rows]
    lines = ["\t".join([*row[:at], str(2 * float(row[at])), *row[at + 1 :]]) for row in cells]
    return {
        "job.yaml": (JOB / "job.yaml").read_bytes(),
        "plant_richness.tsv": "\n".join([header, *lines, ""]).encode(),
    }


def test_nights_train_skip_and_replace_what_is_served(
    site: Site, s3: FaultProxy, capsys: pytest.CaptureFixture[str]
) -> None:
    first = site.submit("night-1")
    assert first.code == 0, first.output
    assert "committed plants version 1" in first.output
    with site.served():
        before = site.answer(area=3)
        assert before["model"]["version"] == 1
        second = site.submit("night-2")
        assert second.code == 0 and "committed" not in second.output, second.output
        site.mount(doubled())
        began = time.monotonic()
        third = site.start("night-3")
        s3.faults = lambda request: "503" if is_commit(request) else None  # the third can't end yet
        until(lambda: any(is_commit(request) and fault for request, fault in s3.requests), 100)
        to_commit_s = time.monotonic() - began
        fourth = site.submit("night-4")
        assert fourth.code == 0 and "under way" in fourth.output, fourth.output
        assert site.answer(area=3) == before
        s3.faults = lambda request: None
        released = time.monotonic()
        until(lambda: site.answer(area=3)["model"]["version"] == 2, 100)
        to_answer_s = time.monotonic() - released
        done = ended(third)
        assert done.code == 0 and "committed plants version 2" in done.output, done.output
        assert site.answer(area=3)["predictions"] == pytest.approx([2 * before["predictions"][0]], rel=1e-3)
    with capsys.disabled():
        print(f"\n`ray job submit`: {to_commit_s:.1f} s to the commit, then {to_answer_s:.1f} s to the new answer")
    assert to_commit_s + to_answer_s <= AT_MOST_S


def is_commit(request: Request) -> bool:
    return request.method == "PUT" and "/versions/" in request.path


def test_the_pod_ends_with_the_exit_code_of_gridline(site: Site) -> None:
    site.mount({"job.yaml": b"name: plants\n"})
    bad = site.submit("bad")
    assert bad.code == 2, bad.output
    assert "Traceback" not in bad.output
    wrong = site.submit("wrong-token", RAY_AUTH_TOKEN=new_token())
    assert wrong.code == 4 and "the job wrong-token can't be found: " in wrong.output, wrong.output


def test_the_line_of_runtime_env_trains_by_the_program_of_the_checkout(site: Site) -> None:
    [line] = re.findall(r"^#\s+(ray job submit .*)$", (INFRA / "ray" / "runtime_env.yaml").read_text(), re.MULTILINE)
    words = shlex.split(site.placed(line.replace("JOB.yaml", "examples/islands.yaml")))
    of_ray = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": site.values["RAY_AUTH_TOKEN"]}
    job = ended(site.process(words, site.of_image | of_ray, ROOT))
    assert job.code == 0 and "committed islands version 1" in job.output, job.output
    uploads = (site.folder / "ray").glob("session_2*/runtime_resources/working_dir_files/*/jobs")
    [package] = [each.parent for each in uploads]
    assert sum(path.stat().st_size for path in package.rglob("*") if path.is_file()) < 10 * 2**20


@pytest.mark.parametrize(("scheme", "port"), [("", 6379), ("ray://", 10001)])
def test_a_head_takes_its_token_alone(site: Site, scheme: str, port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    address = f"{scheme}127.0.0.1:{site.ports[port]}"
    monkeypatch.setenv("RAY_AUTH_MODE", "token")
    monkeypatch.delenv("RAY_AUTH_TOKEN_PATH", raising=False)
    monkeypatch.setenv("RAY_AUTH_TOKEN", site.values["RAY_AUTH_TOKEN"])
    require_access(address)
    monkeypatch.setenv("RAY_AUTH_TOKEN", new_token())
    with pytest.raises(ClusterError, match="it refuses the token of RAY_AUTH_TOKEN: set "):
        require_access(address)
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    with pytest.raises(ClusterError, match="it asks for a token: set RAY_AUTH_MODE=token"):
        require_access(address)
