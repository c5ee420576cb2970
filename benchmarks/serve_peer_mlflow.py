"""Saves the river model of a pickle as MLflow's pyfunc: run by `serve_peers` with the Python that has MLflow."""

import pickle
import sys
from pathlib import Path

import mlflow


class River(mlflow.pyfunc.PythonModel):
    """Asks the model row by row, as river does."""

    def load_context(self, context):
        self.model = pickle.loads(Path(context.artifacts["model"]).read_bytes())

    def predict(self, context, model_input, params=None):
        return [self.model.predict_proba_one(row)[True] for row in model_input.to_dict("records")]


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    mlflow.pyfunc.save_model(
        str(folder / "mlflow"),
        python_model=River(),
        artifacts={"model": str(folder / "model.pickle")},
        pip_requirements=["river"],
    )
