"""Two pictures of a trained dataset, as PNG: the regression with its rows, and the loss of every grid point.

Drawn on canvases of their own, without pyplot: nothing global is touched, and equal input gives equal bytes.

Shapes: n rows · d encoded columns · g grid points · e evaluated epochs.
"""

from __future__ import annotations

import io
import math
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from jobs.sources.dataset import Dataset
    from jobs.training.datasets import TrainedDatasets

Floats = NDArray[np.float64]

SIZE_INCHES = (7.0, 4.5)
DPI = 120
MAX_ROWS_DRAWN = 5000  # more make a blot, not a picture
MAX_RATES_NAMED = 16
CHAMPION_COLOR = "#c0392b"
ROW_COLOR = "#34495e"


def regression_plot(dataset: Dataset, trained: TrainedDatasets, point: int) -> bytes:
    """Return the regression of one grid point over its rows: the line where there is one column, else fit and truth.

    Axes are in the units of the encoded columns. Raises ValueError where that grid point has no finite weights.
    """
    weight_p: Floats = trained.result.weight_mgp[0, point].numpy()
    if not np.isfinite(weight_p).all():
        raise ValueError(f"grid point {point} of dataset '{dataset.name}' diverged: it has no regression to draw")
    figure, axes = _figure()
    shown_n = _drawn(dataset.num_rows)
    x_nd, y_n = dataset.x_nd[shown_n], dataset.y_n[shown_n]
    num_columns = x_nd.shape[1]
    bias = float(weight_p[num_columns]) if len(weight_p) > num_columns else 0.0
    if num_columns == 1:
        _line(axes, x_nd[:, 0], y_n, float(weight_p[0]), bias)
        x_label, y_label = dataset.card.columns[0], dataset.card.target
    else:
        _fit_and_truth(axes, x_nd @ weight_p[:num_columns] + bias, y_n)
        x_label, y_label = f"{dataset.card.target}, predicted", f"{dataset.card.target}, observed"
    rate = trained.hyperparameters.learning_rate_mg[0, point].item()
    r2 = trained.result.metric("r2")[0, point].item()
    _name(axes, f"{dataset.name}: learning rate {rate:.6g}, R² {r2:.4f}", x_label, y_label)
    return _png(figure)


def loss_curves(trained: TrainedDatasets, best: int | None) -> bytes:
    """Return the training loss of every grid point over the epochs, both logarithmic; `best` is drawn on top."""
    figure, axes = _figure()
    epochs_e: Floats = trained.result.epochs_e.numpy()
    curve_ge: Floats = trained.result.train_curve_mge[0].numpy()
    rates = trained.hyperparameters.learning_rate_mg[0].tolist()
    ceiling = _ceiling(curve_ge)
    for point, rate in enumerate(rates):
        curve_e = curve_ge[point]
        shown_e = np.isfinite(curve_e) & (curve_e > 0) & (curve_e <= ceiling)
        is_best = point == best
        style: dict[str, Any] = {"color": _color(point, len(rates)), "linewidth": 1.2, "zorder": 2}
        if is_best:
            style = {"color": CHAMPION_COLOR, "linewidth": 2.4, "zorder": 3}
        elif trained.result.status(0, point) == "diverged":
            style["linestyle"] = "--"
        axes.plot(epochs_e[shown_e], curve_e[shown_e], label=_label(trained, point, rate, is_best), **style)
    axes.set_xscale("log")
    axes.set_yscale("log")
    _name(axes, f"{trained.name}: the loss of each learning rate", "epoch", f"training loss ({trained.settings.loss})")
    if len(rates) <= MAX_RATES_NAMED:
        axes.legend(fontsize="x-small", loc="upper left", bbox_to_anchor=(1.01, 1.0), frameon=False)
    return _png(figure)


def _figure() -> tuple[Figure, Axes]:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=SIZE_INCHES, dpi=DPI, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    axes.grid(visible=True, alpha=0.25)
    return figure, axes


def _name(axes: Axes, title: str, x_label: str, y_label: str) -> None:
    """Write title and labels as they are: a name with dollar signs is no formula."""
    axes.set_title(title, parse_math=False)
    axes.set_xlabel(x_label, parse_math=False)
    axes.set_ylabel(y_label, parse_math=False)


def _png(figure: Figure) -> bytes:
    sink = io.BytesIO()
    figure.savefig(sink, format="png", metadata={"Software": None})
    return sink.getvalue()


def _line(axes: Axes, x_n: Floats, y_n: Floats, weight: float, bias: float) -> None:
    axes.scatter(x_n, y_n, s=24, color=ROW_COLOR, alpha=0.8, label="rows")
    ends = np.array([x_n.min(), x_n.max()])
    axes.plot(ends, weight * ends + bias, color=CHAMPION_COLOR, label=_equation(weight, bias))
    axes.legend(frameon=False)


def _equation(weight: float, bias: float) -> str:
    return f"{weight:.6g} x {'-' if bias < 0 else '+'} {abs(bias):.6g}"


def _fit_and_truth(axes: Axes, predicted_n: Floats, y_n: Floats) -> None:
    axes.scatter(predicted_n, y_n, s=24, color=ROW_COLOR, alpha=0.8, label="rows")
    ends = [min(predicted_n.min(), y_n.min()), max(predicted_n.max(), y_n.max())]
    axes.plot(ends, ends, color=CHAMPION_COLOR, label="prediction = truth")
    axes.legend(frameon=False)


def _drawn(num_rows: int) -> NDArray[np.int64]:
    """Return which rows are drawn: all, or as many as can be told apart, at equal steps."""
    step = max(1, math.ceil(num_rows / MAX_ROWS_DRAWN))
    return np.arange(0, num_rows, step)


def _ceiling(curve_ge: Floats) -> float:
    """Return the loss above which curves leave the picture: a hundred times where the best-behaved ones begin."""
    first_g = curve_ge[:, 0]
    start = first_g[np.isfinite(first_g)]
    return float(start.max()) * 100 if len(start) else math.inf


def _color(point: int, num_points: int) -> Any:
    from matplotlib import colormaps

    return colormaps["viridis"](point / max(1, num_points - 1))


def _label(trained: TrainedDatasets, point: int, rate: float, is_best: bool) -> str:
    if is_best:
        return f"{rate:.6g} (best)"
    diverged_at = int(trained.result.diverged_at_mg[0, point])
    return f"{rate:.6g} (diverged at {diverged_at})" if diverged_at else f"{rate:.6g}"
