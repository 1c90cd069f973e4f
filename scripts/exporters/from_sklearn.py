"""scikit-learn by skl2onnx: classifiers, regressors and a clustering, trained on the data that scikit-learn bundles."""

from importlib.metadata import version

import numpy as np
from skl2onnx import to_onnx
from sklearn.cluster import KMeans
from sklearn.compose import ColumnTransformer
from sklearn.datasets import load_breast_cancer, load_diabetes, load_digits, load_iris
from sklearn.decomposition import PCA
from sklearn.ensemble import (
    GradientBoostingClassifier,
    GradientBoostingRegressor,
    HistGradientBoostingClassifier,
    RandomForestClassifier,
    RandomForestRegressor,
)
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler, Normalizer, OneHotEncoder, StandardScaler
from sklearn.svm import SVC, SVR, LinearSVC
from sklearn.tree import DecisionTreeClassifier

from fixture import Fixtures, rows

OPSET = 18
# Labels and probabilities as two tensors; without it the probabilities are a sequence of maps.
PLAIN = {"zipmap": False}

PROBABILITIES = ("predict", "predict_proba")
DISTANCES = ("predict", "decision_function")
VALUES = ("predict",)


def coded():
    """Iris with its last feature rounded to a category of 0, 1 or 2."""
    data = load_iris()
    data.data[:, 3] = np.round(data.data[:, 3])
    return data


def incomplete():
    """Iris with some values missing."""
    data = load_iris()
    data.data[np.random.default_rng(7).random(data.data.shape) < 0.2] = np.nan
    return data


CODED_COLUMNS = ColumnTransformer([("scaled", StandardScaler(), [0, 1, 2]), ("one hot", OneHotEncoder(), [3])])

MODELS = {
    "logistic": (load_iris, make_pipeline(StandardScaler(), LogisticRegression()), PLAIN, PROBABILITIES),
    "logistic-binary": (
        load_breast_cancer, make_pipeline(StandardScaler(), LogisticRegression()), PLAIN, PROBABILITIES,
    ),
    "columns": (coded, make_pipeline(CODED_COLUMNS, LogisticRegression()), PLAIN, PROBABILITIES),
    "imputed": (
        incomplete, make_pipeline(SimpleImputer(), StandardScaler(), LogisticRegression()), PLAIN, PROBABILITIES,
    ),
    "normalized": (load_iris, make_pipeline(Normalizer(), LogisticRegression()), PLAIN, PROBABILITIES),
    "pca-logistic": (
        load_digits, make_pipeline(StandardScaler(), PCA(16), LogisticRegression(max_iter=500)), PLAIN, PROBABILITIES,
    ),
    "tree": (load_iris, DecisionTreeClassifier(max_depth=4, random_state=7), PLAIN, PROBABILITIES),
    "forest": (load_iris, RandomForestClassifier(12, max_depth=4, random_state=7), PLAIN, PROBABILITIES),
    "forest-binary": (
        load_breast_cancer, RandomForestClassifier(12, max_depth=4, random_state=7), PLAIN, PROBABILITIES,
    ),
    "boosting": (
        load_iris, GradientBoostingClassifier(n_estimators=10, max_depth=2, random_state=7), PLAIN, PROBABILITIES,
    ),
    "boosting-binary": (
        load_breast_cancer, GradientBoostingClassifier(n_estimators=20, random_state=7), PLAIN, PROBABILITIES,
    ),
    "histogram-boosting": (
        incomplete, HistGradientBoostingClassifier(max_iter=10, random_state=7), PLAIN, PROBABILITIES,
    ),
    "mlp": (
        load_digits,
        make_pipeline(MinMaxScaler(), MLPClassifier((32,), random_state=7, early_stopping=True)), PLAIN, PROBABILITIES,
    ),
    "neighbours": (load_iris, KNeighborsClassifier(5), PLAIN, PROBABILITIES),
    # As it is converted unless told otherwise.
    "zipmap": (load_iris, LogisticRegression(), None, PROBABILITIES),
    "svc": (load_iris, make_pipeline(StandardScaler(), SVC()), PLAIN, DISTANCES),
    "svc-binary": (load_breast_cancer, make_pipeline(StandardScaler(), SVC()), PLAIN, DISTANCES),
    "svc-probability": (
        load_iris, make_pipeline(StandardScaler(), SVC(probability=True, random_state=7)), PLAIN, PROBABILITIES,
    ),
    "linear-svc": (load_iris, LinearSVC(random_state=7), None, DISTANCES),
    "linear-regressor": (load_diabetes, LinearRegression(), None, VALUES),
    "forest-regressor": (load_diabetes, RandomForestRegressor(12, max_depth=5, random_state=7), None, VALUES),
    "boosting-regressor": (load_diabetes, GradientBoostingRegressor(n_estimators=30, random_state=7), None, VALUES),
    "svr": (load_diabetes, make_pipeline(StandardScaler(), SVR(C=100.0)), None, VALUES),
    "mlp-regressor": (
        load_diabetes,
        make_pipeline(StandardScaler(), MLPRegressor(hidden_layer_sizes=(16,), random_state=7, solver="lbfgs", max_iter=300)), None, VALUES,
    ),
    "kmeans": (load_iris, KMeans(3, n_init=1, random_state=7), None, ("predict", "transform")),
}


def answer(estimator, method, features):
    """What the method says; of a decision between two classes a column for each side, as the file has it."""
    values = getattr(estimator, method)(features)
    if method == "decision_function" and values.ndim == 1:
        return np.stack([values, -values], axis=1)
    return values


def main():
    packages = ("scikit-learn", "skl2onnx", "onnx")
    fixtures = Fixtures("sklearn", {package: version(package) for package in packages})
    for name, (load, estimator, options, methods) in MODELS.items():
        data = load()
        features = data.data.astype(np.float32)
        estimator.fit(features, data.target)
        model = to_onnx(estimator, features[:1], target_opset=OPSET, options=options)
        answers = lambda x: [answer(estimator, method, x) for method in methods]
        fixtures.write(name, model, *rows("X", features, answers))


if __name__ == "__main__":
    main()
