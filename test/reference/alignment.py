"""References for alignment and probes: numpy, scipy, scikit-learn, umap-learn.

    python test/reference/alignment.py        writes test/fixtures/alignment.json

Needs numpy, scipy, scikit-learn and, for the maps, umap-learn (Debian: umap-learn 0.5.3).
"""

import json
from pathlib import Path

import numpy as np
import scipy
import sklearn
import umap
from scipy.linalg import orthogonal_procrustes
from sklearn.linear_model import LogisticRegression
from sklearn.manifold import trustworthiness
from sklearn.metrics import balanced_accuracy_score, roc_auc_score
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

FIXTURES = Path(__file__).parent.parent / "fixtures"
rng = np.random.default_rng(7)


def unit(x):
    return x / np.linalg.norm(x, axis=1, keepdims=True)


def hsic_plain(k, l):
    n = len(k)
    h = np.eye(n) - 1 / n
    return np.trace(k @ h @ l @ h) / (n - 1) ** 2


def hsic_unbiased(k, l):
    """Song et al. 2012, eq. 5, as it stands there."""
    n = len(k)
    k, l = k - np.diag(np.diag(k)), l - np.diag(np.diag(l))
    one = np.ones(n)
    first = np.trace(k @ l)
    second = (one @ k @ one) * (one @ l @ one) / ((n - 1) * (n - 2))
    third = 2 / (n - 2) * (one @ k @ l @ one)
    return (first + second - third) / (n * (n - 3))


def cka(x, y, hsic):
    k, l = unit(x) @ unit(x).T, unit(y) @ unit(y).T
    return hsic(k, l) / np.sqrt(hsic(k, k) * hsic(l, l))


def feature_cka(x, y):
    """Kornblith et al. 2019, eq. 4, in feature space: another route to the same number."""
    x, y = unit(x), unit(y)
    x, y = x - x.mean(0), y - y.mean(0)
    return np.linalg.norm(y.T @ x) ** 2 / (np.linalg.norm(x.T @ x) * np.linalg.norm(y.T @ y))


def alignment():
    shared = rng.normal(0, 1, (24, 3))
    x = np.round(shared @ rng.normal(0, 1, (3, 6)) + rng.normal(0, 0.5, (24, 6)) + 0.3, 4)
    y = np.round(shared @ rng.normal(0, 1, (3, 9)) + rng.normal(0, 0.5, (24, 9)) - 0.2, 4)
    assert abs(feature_cka(x, y) - cka(x, y, hsic_plain)) < 1e-12
    a, b = rng.normal(0, 1, (30, 5)), rng.normal(0, 1, (30, 5))
    rotation, _ = orthogonal_procrustes(a, b)
    return {
        "x": x.tolist(),
        "y": y.tolist(),
        "cka": cka(x, y, hsic_plain),
        "debiasedCka": cka(x, y, hsic_unbiased),
        "procrustes": {"a": a.tolist(), "b": b.tolist(), "rotation": rotation.tolist()},
    }


def labelled(n, d, classes, spread, counts):
    centres = rng.normal(0, 1, (classes, d))
    y = np.repeat(np.arange(classes), counts)
    return np.round(centres[y] + rng.normal(0, spread, (len(y), d)), 4), y


def probes():
    """scikit-learn's probes, on rows of length 1 as ours are."""
    cases = []
    for d, counts, strengths in [(6, [14, 9, 17], [0.01, 1.0, 30.0]), (40, [8, 8, 6], [0.1, 1.0])]:
        x, y = labelled(sum(counts), d, 3, 1.2, counts)
        keep = np.arange(len(y)) % 3 != 0
        train, test = unit(x[keep]), unit(x[~keep])
        fits = []
        for c in strengths:
            model = LogisticRegression(C=c, tol=1e-10, max_iter=100_000)
            p = make_pipeline(StandardScaler(), model).fit(train, y[keep]).predict_proba(test)
            fits.append({"c": c, "p": p.tolist(), **scores(y[~keep], p)})
        neighbours = []
        for k in [1, 3, 7]:
            vote = KNeighborsClassifier(k, metric="cosine", algorithm="brute", weights=lambda far: np.exp((1 - far) / 0.07))
            p = vote.fit(train, y[keep]).predict_proba(test)
            neighbours.append({"k": k, "p": p.tolist(), **scores(y[~keep], p)})
        cases.append({"x": x.tolist(), "y": y.tolist(), "logistic": fits, "knn": neighbours})
    return cases


def scores(y, p):
    return {
        "auroc": roc_auc_score(y, p, multi_class="ovr", average="macro"),
        "balancedAccuracy": balanced_accuracy_score(y, p.argmax(1)),
    }


def maps():
    """umap-learn's maps of clusters on a sphere; how much they can be trusted is compared with umap-js's."""
    n, d = 240, 8
    x, _ = labelled(n, d, 6, 0.9, n // 6)
    x = np.round(x, 3)
    runs = []
    for seed in range(5):
        fit = umap.UMAP(n_neighbors=15, min_dist=0.1, n_epochs=200, metric="cosine", random_state=seed)
        runs.append(fit.fit_transform(x))
    return {
        "x": x.tolist(),
        "map": np.round(runs[0], 3).tolist(),
        "mapTrustworthiness": trustworthiness(x, np.round(runs[0], 3), n_neighbors=15, metric="cosine"),
        "trustworthiness": [trustworthiness(x, run, n_neighbors=15, metric="cosine") for run in runs],
    }


def main():
    fixture = {
        "versions": {m.__name__: m.__version__ for m in (np, scipy, sklearn, umap)},
        **alignment(),
        "probes": probes(),
        "maps": maps(),
    }
    (FIXTURES / "alignment.json").write_text(json.dumps(fixture, separators=(",", ":")) + "\n")


main()
