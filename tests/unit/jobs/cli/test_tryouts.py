"""The options of a canary and a shadow, from the words of the command line."""

from __future__ import annotations

from pathlib import Path

import pytest

from handler.hosting.rollout_counts import RolloutCounts
from jobs.cli import main
from jobs.cli.tryouts import TryoutOptions, distance_of, seconds_of, share_of, summary
from jobs.errors import UsageError
from model_store.deployment.canary import Judgement, Limits

NOTHING = TryoutOptions(None, False, False, None, None, None, None)


@pytest.mark.parametrize(("text", "share"), [("5%", 0.05), ("0.05", 0.05), ("100%", 1.0), ("0.5%", 0.005)])
def test_share_of(text: str, share: float) -> None:
    assert share_of(text) == pytest.approx(share)


@pytest.mark.parametrize("text", ["0%", "0", "5", "101%", "-1%", "x", "%", "nan", ""])
def test_share_of_refuses(text: str) -> None:
    with pytest.raises(UsageError, match="give a share of the requests, such as 5%"):
        share_of(text)


@pytest.mark.parametrize(("text", "seconds"), [("90s", 90), ("10m", 600), ("1.5h", 5400)])
def test_seconds_of(text: str, seconds: float) -> None:
    assert seconds_of(text) == seconds


@pytest.mark.parametrize("text", ["10", "m", "-1s", "1d", "1 m", ""])
def test_seconds_of_refuses(text: str) -> None:
    with pytest.raises(UsageError, match="give a time such as 90s, 10m or 2h"):
        seconds_of(text)


def test_distance_of() -> None:
    assert (distance_of("2.5"), distance_of("0"), distance_of("none")) == (2.5, 0.0, None)
    for text in ("-1", "x", "nan", ""):
        with pytest.raises(UsageError, match="deviations such as 3, or none"):
            distance_of(text)


def test_options_become_a_tryout_with_the_documented_defaults() -> None:
    canary = TryoutOptions("5%", False, False, None, None, None, None).tryout(follow=False)
    assert canary is not None
    assert (canary.kind, canary.share, canary.limits) == ("canary", 0.05, Limits(600.0, None, 0.01, 3.0))
    shadow = TryoutOptions(None, True, True, None, 1000, 0.0, "none").tryout(follow=True)
    assert shadow is not None
    assert (shadow.kind, shadow.limits) == ("shadow", Limits(None, 1000, 0.0, None))
    assert shadow.is_first_deployed
    assert NOTHING.tryout(follow=True) is None


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--canary", "5%", "--shadow"], "--canary and --shadow exclude each other"),
        (["--canary", "5%", "--for", "1m", "--requests", "5"], "--for and --requests exclude each other"),
        (["--canary", "5%", "--promote"], "--promote is for --shadow"),
        (["--follow", "--shadow"], "add --promote to --shadow"),
        (["--max-distance", "3"], "--max-distance is for --canary and --shadow"),
        (["--canary", "5"], "give a share of the requests"),
        (["--canary", "5%", "--status"], "--status deploys nothing: leave --canary out"),
        (["--follow", "--release"], "--follow and --release exclude each other"),
        (["--release", "--version", "3"], "--release is not of one version"),
        (["--follow", "--version", "3"], "--follow deploys the newest version"),
    ],
)
def test_deploy_refuses_options_that_do_not_go_together(
    words: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["deploy", "plants", "--model-store", str(tmp_path), *words])
    assert ended.value.code == 2
    [line] = capsys.readouterr().err.splitlines()
    assert message in line


def test_summary_says_what_came_of_it() -> None:
    counts = RolloutCounts(requests=100, tried=5)
    nothing = summary(Judgement("plants", "canary", 7, 6, counts, None))
    assert nothing == "version 7 beside version 6 of plants: 5 of 100 requests, 0 errors; no prediction was compared"
    counts.add_distances([0.5, 1.5], ["a", "b"])
    assert "2 predictions of 1 requests moved by 1 residual standard deviations on average and by 1.5 at most (b)" in (
        summary(Judgement("plants", "canary", 7, 6, counts, None))
    )
