"""What a user would write with FastAPI and NumPy: one regression, one row or more."""

import numpy as np
from fastapi import FastAPI
from pydantic import BaseModel

WEIGHT, BIAS = np.array([0.35573936]), 1.33604828
app = FastAPI()


class Query(BaseModel):
    """Rows of numbers."""

    instances: list[list[float]]


@app.post("/predictions/fleet")
async def predict(query: Query) -> dict[str, object]:
    """Return the predictions."""
    predictions = np.array(query.instances) @ WEIGHT + BIAS
    return {"predictions": predictions.tolist(), "model": {"collection": "fleet", "version": 1, "dataset": "d"}}
