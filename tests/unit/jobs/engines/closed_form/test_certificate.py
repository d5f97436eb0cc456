"""The certificate: what it says before training is what training does."""

from __future__ import annotations

import json
import re

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from jobs.engines.closed_form.certificate import Certificate, automatic_rates, certify
from jobs.engines.closed_form.engine import train
from jobs.engines.moments import Moments, moments_of
from jobs.engines.settings import Schedule, TrainingSettings
from tests.oracles import article, grid
from tests.oracles import certified as nist

ALL = ("area", "latitude", "dist_mainland")


def of_article(*features: str) -> Moments:
    return moments_of(*article(*features))


def certified(rates: list[float], *features: str, epochs: int = 6000, **values: object) -> Certificate:
    recipe = TrainingSettings(epochs, **values)  # type: ignore[arg-type]
    return certify("plants", of_article(*(features or ("area",))), grid(rates), recipe)


def test_certificate_of_the_article_gives_its_numbers() -> None:
    certificate = certified([0.01])
    assert certificate.num_rows == 22
    assert certificate.eigenvalue_max == pytest.approx(15.708, abs=5e-4)
    assert certificate.stability_limit == pytest.approx(0.12732, abs=5e-6)
    ratio = certificate.eigenvalue_max / certificate.eigenvalue_min
    assert certificate.condition_number == pytest.approx(ratio)
    assert certificate.best_rate == pytest.approx(2 / (certificate.eigenvalue_max + certificate.eigenvalue_min))


def test_certificate_of_all_features_gives_their_condition_number() -> None:
    certificate = certified([0.01], *ALL)
    assert certificate.condition_number == pytest.approx(1.8e6, rel=0.05)
    assert certificate.condition_number_normalized < 100
    assert certified([0.01], *ALL, normalize=True).condition_number == pytest.approx(
        certificate.condition_number_normalized
    )


@settings(max_examples=20, deadline=None)
@given(
    rates=st.lists(st.floats(1e-4, 0.3), min_size=1, max_size=4),
    epochs=st.integers(1, 5000),
    momentum=st.sampled_from([0.0, 0.9]),
)
def test_certificate_says_what_training_does(rates: list[float], epochs: int, momentum: float) -> None:
    moments, points = of_article("area"), grid(rates, momentum=momentum)
    certificate = certify("plants", moments, points, TrainingSettings(epochs))
    result = train(moments, [], points, TrainingSettings(epochs, keep="last"))
    words = {"converges": "converged", "diverges": "diverged", "not converged": "not_converged"}
    assert [words[verdict.outlook] for verdict in certificate.verdicts] == [
        result.status(0, g) for g in range(points.num_points)
    ]
    assert [verdict.diverges_at or 0 for verdict in certificate.verdicts] == result.diverged_at_mg[0].tolist()


def test_certificate_gap_is_the_root_of_the_variance_still_to_be_explained() -> None:
    certificate = certified([0.0005])
    result = train(of_article("area"), [], grid([0.0005]), TrainingSettings(6000, keep="last"))
    reachable = 0.82778607
    (verdict,) = certificate.verdicts
    assert verdict.gap == pytest.approx((reachable - result.r2_mg.item()) ** 0.5, rel=1e-4)


def test_certificate_epochs_needed_are_the_fewest() -> None:
    (verdict,) = certified([0.0005]).verdicts
    assert verdict.epochs_needed is not None
    assert certified([0.0005], epochs=verdict.epochs_needed).verdicts[0].outlook == "converges"
    assert certified([0.0005], epochs=verdict.epochs_needed - 1).verdicts[0].outlook == "not converged"


def test_certificate_of_a_rate_too_small_for_a_billion_epochs_needs_no_number() -> None:
    (verdict,) = certified([1e-12]).verdicts
    assert (verdict.outlook, verdict.epochs_needed) == ("not converged", None)


def test_certificate_words_name_gap_epoch_and_remedy() -> None:
    certificate = certified([0.0005, 0.01, 0.13])
    slow, good, wild = (verdict.text() for verdict in certificate.verdicts)
    assert re.fullmatch(r"not converged \(gap \d\.\de-\d\d after 6000 epochs; \d+ epochs would do\)", slow)
    assert re.fullmatch(r"converges \(gap \d\.\de-\d\d after 6000 epochs\)", good)
    assert re.fullmatch(r"diverges at epoch \d+", wild)
    assert certificate.advice is None


@pytest.mark.parametrize(
    ("rates", "values", "remedy"),
    [
        ([0.0005, 0.002, 0.01], {}, "set 'training.normalize: true', with which that is"),
        ([1.5, 3.0], {"normalize": True}, "set 'grid.learning_rate: auto', or rates below 0.8749"),
        ([1e-6, 1e-5], {"normalize": True}, "set 'grid.learning_rate: auto', or more epochs"),
    ],
)
def test_certificate_advises_where_nothing_converges(
    rates: list[float], values: dict[str, object], remedy: str
) -> None:
    advice = certified(rates, *ALL, **values).advice
    assert advice is not None
    assert advice.startswith("no learning rate of the grid converges in 6000 epochs: above ")
    assert remedy in advice


def test_certificate_of_dependent_features_advises_what_helps() -> None:
    """What the data do not determine stays where it started: only the other directions have to converge."""
    x_nd, y_n = article("area")
    moments = moments_of(torch.cat([x_nd, 2 * x_nd], dim=1), y_n)
    certificate = certify("plants", moments, grid([1e-9]), TrainingSettings(10))
    assert certificate.to_json()["condition_number"] is None
    assert "set 'training.normalize: true', with which that is 2 times" in (certificate.advice or "")
    rates = automatic_rates(moments, TrainingSettings(100, normalize=True))[0].tolist()
    assert certify("plants", moments, grid(rates), TrainingSettings(100, normalize=True)).advice is None


def test_certificate_of_nearly_dependent_features_advises_to_remove_one() -> None:
    x_nd, y_n = article("area")
    nearly_nd = torch.cat([x_nd, x_nd + 1e-6 * y_n[:, None].sin()], dim=1)
    settings = TrainingSettings(10**9, normalize=True)
    certificate = certify("plants", moments_of(nearly_nd, y_n), grid([0.1]), settings)
    assert "nearly dependent: remove one of them" in (certificate.advice or "")


def test_certificate_of_seconds_has_its_condition_number_in_either_unit() -> None:
    """λmin is the variance of the slope's direction, by the share of the intercept in it: 2 σ² / x̄² here."""
    x_nd, y_n = article("area")
    seconds_nd = 1.7e9 + 3600 * x_nd
    certificate = certify("plants", moments_of(seconds_nd, y_n), grid([1e-19]), TrainingSettings(1000))
    variance, mean = seconds_nd.var(correction=0).item(), seconds_nd.mean().item()
    assert certificate.eigenvalue_min == pytest.approx(2 * variance / mean**2, rel=1e-6)
    assert certificate.condition_number == pytest.approx(mean**4 / variance, rel=1e-6)
    assert certificate.condition_number_normalized == pytest.approx(1)
    assert "set 'training.normalize: true'" in (certificate.advice or "")


def test_certificate_says_how_many_digits_can_be_trusted() -> None:
    assert (certified([0.01]).digits or 0) > 13
    fit = nist("wampler5")
    exact, merged = (
        certify("w", moments_of(fit.x_nd, fit.y_n, precise=precise), grid([0.1]), TrainingSettings(10)).digits
        for precise in (True, False)
    )
    assert (exact or 0) > 8
    assert 4 < (merged or 0) < 6


@pytest.mark.parametrize(
    "values",
    [
        {"optimizer": "adam"},
        {"optimizer": "rmsprop"},
        {"loss": "mae"},
        {"batch_size": 8},
        {"schedule": Schedule("cosine")},
    ],
)
def test_certificate_without_a_closed_form_knows_the_limit_and_no_verdict(values: dict[str, object]) -> None:
    certificate = certified([0.01], **values)
    assert certificate.stability_limit == pytest.approx(0.12732, abs=5e-6)
    assert [verdict.outlook for verdict in certificate.verdicts] == ["unknown"]
    assert "not known before training" in certificate.verdicts[0].text()
    assert certificate.advice is None


def test_certificate_is_a_json_document() -> None:
    document = json.loads(json.dumps(certified([0.0005, 0.13]).to_json(), allow_nan=False))
    assert [verdict["outlook"] for verdict in document["verdicts"]] == ["not converged", "diverges"]


def test_automatic_rates_are_around_the_limit_with_the_best_among_them() -> None:
    certificate = certified([0.01])
    rate_g = automatic_rates(of_article("area"), TrainingSettings(6000))[0]
    assert torch.equal(rate_g, rate_g.sort().values)
    assert len(rate_g.unique()) == 12
    assert rate_g[0].item() == pytest.approx(certificate.stability_limit / 1000)
    assert rate_g[-1].item() < certificate.stability_limit
    assert (rate_g == certificate.best_rate).sum().item() == 1


def test_automatic_rates_of_the_closed_form_hold_the_fastest() -> None:
    """Of all rates, 2/(λmax + λmin) shrinks the slowest direction most."""
    moments, recipe = of_article("area"), TrainingSettings(200, keep="last")
    rates = automatic_rates(moments, recipe)[0].tolist()
    loss_g = train(moments, [], grid(rates), recipe).train_mse_mg[0]
    assert rates[int(loss_g.argmin())] == certified([0.01]).best_rate


def test_automatic_rates_follow_each_datasets_scale() -> None:
    x_nd, y_n = article("area")
    small, large = (automatic_rates(moments_of(x_nd * scale, y_n), TrainingSettings(9))[0, -1] for scale in (1, 100))
    assert small / large > 1000


@pytest.mark.parametrize("optimizer", ["adam", "adamw", "rmsprop"])
def test_automatic_rates_of_an_optimizer_that_scales_its_steps_do_not_follow_the_data(optimizer: str) -> None:
    rate_g = automatic_rates(of_article("area"), TrainingSettings(9, optimizer=optimizer))[0]
    assert (rate_g[0].item(), rate_g[-1].item()) == (pytest.approx(1e-4), pytest.approx(1.0))
