"""The river model of a pickle as a custom runtime of MLServer: loaded by MLServer itself, see `serve_peers`."""

import pickle
from pathlib import Path

from mlserver import MLModel
from mlserver.types import InferenceResponse, ResponseOutput


class River(MLModel):
    """Asks the model row by row, as river does. One tensor brings all inputs: a tensor for each takes longer."""

    async def load(self):
        self.names = [f"f{number}" for number in range(50)]
        self.model = pickle.loads(Path(self.settings.parameters.uri).read_bytes())
        return True

    async def predict(self, payload):
        (given,) = payload.inputs
        rows, width = given.shape
        flat = list(given.data)
        said = [
            self.model.predict_proba_one(
                dict(zip(self.names, flat[n * width : (n + 1) * width], strict=True))
            )[True]
            for n in range(rows)
        ]
        output = ResponseOutput(name="p", shape=[rows, 1], datatype="FP64", data=said)
        return InferenceResponse(model_name=self.name, outputs=[output])
