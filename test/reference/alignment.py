"""References for alignment and probes: numpy, scipy, scikit-learn, umap-learn.

    python test/reference/alignment.py        writes test/fixtures/alignment.json

Needs numpy, scipy, scikit-learn and, for the maps, umap-learn (Debian: umap-learn 0.5.3).
"""

import json
from pathlib import Path

import numpy as np
from scipy.linalg import orthogonal_procrustes

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


def main():
    (FIXTURES / "alignment.json").write_text(json.dumps(alignment(), separators=(",", ":")) + "\n")


main()
