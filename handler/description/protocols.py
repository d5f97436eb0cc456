"""What a collection says of itself in the protocols of KServe: Open Inference (V2), and V1.

| address (GET) | document |
|---|---|
| `/v2` | `server()` |
| `/v2/health/live`, `/v2/health/ready` | `live()`, `ready()` |
| `/v2/models/<collection>`, also with `/versions/<version>` | `model(fleet)` |
| the same with `/ready`, and `/v1/models/<collection>` | `model_ready(fleet)` |

TorchServe routes none of them to a handler.
"""

from __future__ import annotations

from typing import Any

from ..models.fleet import Fleet
from ..requests.instances import DATASET
from ..requests.open_inference import OUTPUTS
from ..rows.model_card import Feature

SERVER = "gridline"
PLATFORM = "gridline_linear"

Json = dict[str, Any]


def server() -> Json:
    """Return the metadata of the server."""
    return {"name": SERVER, "version": "2", "extensions": ["binary_tensor_data"]}


def live() -> Json:
    """Return that the server lives, which it does if it answers."""
    return {"live": True}


def ready() -> Json:
    """Return that the server answers requests; a host that does not yet answers 503 instead."""
    return {"ready": True}


def model_ready(fleet: Fleet) -> Json:
    """Return that the collection answers requests."""
    return {"name": fleet.collection, "ready": True}


def model(fleet: Fleet) -> Json:
    """Return the metadata of the collection: a tensor for each feature of its datasets, and those of its answers."""
    features = {feature.name: feature for stack in fleet.stacks for feature in stack.card.features}
    inputs = [{"name": name, "datatype": _datatype(feature), "shape": [-1]} for name, feature in features.items()]
    if fleet.num_datasets > 1 and DATASET not in features:
        inputs.append({"name": DATASET, "datatype": "BYTES", "shape": [-1]})
    outputs = [
        {
            "name": name,
            "datatype": "FP64" if name == "predictions" or name.endswith("_interval") else "BYTES",
            "shape": [-1, 2] if name.endswith("_interval") else [-1],
        }
        for name in OUTPUTS
    ]
    return {
        "name": fleet.collection,
        "versions": [str(fleet.version)],
        "platform": PLATFORM,
        "inputs": inputs,
        "outputs": outputs,
    }


def _datatype(feature: Feature) -> str:
    return "FP64" if feature.kind == "numeric" else "BYTES"
