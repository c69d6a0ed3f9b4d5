"""The model that `nestor train` has registered, loaded from the registry as a service would."""

import json
from pathlib import Path

from exchange import Fitted, run, to_frame


def fit(spec, train):
    """The version that the command has just made; its report is `report.json`."""
    import mlflow

    report = json.loads(Path("report.json").read_text())
    mlflow.set_tracking_uri("sqlite:///mlruns/mlflow.db")
    address = f"models:/{report['name']}/{report['version']}"
    model = mlflow.pyfunc.load_model(address)
    folder = mlflow.artifacts.download_artifacts(address, dst_path="model")

    def predict(frame):
        if spec["task"] == "regression":
            return to_frame(model.predict(frame))
        said = model.predict(frame, params={"predict_method": "predict_proba"})
        return to_frame(said, said.columns)

    seconds = report.get("seconds") or {}
    extra = {"fitting_seconds": seconds.get("fitting"), "agreement": report.get("agreement")}
    estimate = report["estimate"]
    return Fitted(predict, report["winner"], estimate and estimate["value"], folder, extra)


if __name__ == "__main__":
    run(fit)
