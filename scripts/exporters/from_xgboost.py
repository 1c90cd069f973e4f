"""XGBoost by onnxmltools, on the data that scikit-learn bundles."""

from importlib.metadata import version

import numpy as np
from xgboost import XGBClassifier, XGBRegressor
from onnxmltools import convert_xgboost
from onnxmltools.convert.common.data_types import FloatTensorType
from sklearn.datasets import load_breast_cancer, load_diabetes, load_iris

from fixture import Fixtures, rows

OPSET = 15
SETTINGS = {"n_estimators": 10, "max_depth": 3, "random_state": 7, "n_jobs": 1}

PROBABILITIES = ("predict", "predict_proba")
VALUES = ("predict",)

MODELS = {
    "classifier": (load_iris, XGBClassifier(**SETTINGS), PROBABILITIES),
    "classifier-binary": (load_breast_cancer, XGBClassifier(**SETTINGS), PROBABILITIES),
    "regressor": (load_diabetes, XGBRegressor(**SETTINGS), VALUES),
}


def main():
    packages = ("xgboost-cpu", "onnxmltools", "onnx")
    fixtures = Fixtures("xgboost", {package: version(package) for package in packages})
    for name, (load, estimator, methods) in MODELS.items():
        data = load()
        features = data.data.astype(np.float32)
        # Some values are missing, as they are in tables: trees know a way for them.
        features[np.random.default_rng(7).random(features.shape) < 0.05] = np.nan
        estimator.fit(features, data.target)
        shape = [("X", FloatTensorType([None, features.shape[1]]))]
        model = convert_xgboost(estimator, initial_types=shape, target_opset=OPSET, name=name)
        answers = lambda x: [getattr(estimator, method)(x) for method in methods]
        fixtures.write(name, model, *rows("X", features, answers))


if __name__ == "__main__":
    main()
