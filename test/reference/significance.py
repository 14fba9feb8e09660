"""References for paired tests: scipy's permutation test over signs, statsmodels' Holm, torchmetrics' retrieval metrics.

    python test/reference/significance.py        writes test/fixtures/significance.json
                                                 (scipy 1.17, statsmodels 0.15, torchmetrics 1.9)
"""

import json
from pathlib import Path

import numpy as np
import torch
from scipy.stats import binomtest, permutation_test
from statsmodels.stats.contingency_tables import mcnemar
from statsmodels.stats.multitest import multipletests
from torchmetrics.retrieval import RetrievalHitRate, RetrievalMAP, RetrievalMRR, RetrievalPrecision

FIXTURES = Path(__file__).parent.parent / "fixtures"
rng = np.random.default_rng(11)


def exact(sums):
    """All 2^m sign patterns, which is what permutation_test does for one sample where they are few."""
    found = permutation_test((np.asarray(sums, float),), np.sum, permutation_type="samples", n_resamples=np.inf)
    return float(found.pvalue)


def whole(patients, most):
    """Recall of two encoders: patients with one to `most` queries each."""
    groups = [f"p{i}" for i in range(patients) for _ in range(rng.integers(1, most + 1))]
    a, b = (rng.random((2, len(groups))) < [[0.7], [0.45]]).astype(int)
    sums = [int(sum(x - y for x, y, g in zip(a, b, groups) if g == f"p{i}")) for i in range(patients)]
    return {"a": a.tolist(), "b": b.tolist(), "groups": groups, "p": exact(sums)}


def real(patients):
    groups = [f"p{i}" for i in range(patients)]
    a, b = np.round(rng.random((2, patients)), 4)
    return {"a": a.tolist(), "b": b.tolist(), "groups": groups, "p": exact(a - b)}


def single(queries):
    """One query a patient: McNemar's exact test, and the sign test."""
    a, b = (rng.random((2, queries)) < [[0.65], [0.5]]).astype(int)
    won, lost = int(((a == 1) & (b == 0)).sum()), int(((a == 0) & (b == 1)).sum())
    p = float(mcnemar([[0, won], [lost, 0]], exact=True).pvalue)
    assert abs(p - binomtest(won, won + lost).pvalue) < 1e-12
    return {"a": a.tolist(), "b": b.tolist(), "groups": [f"p{i}" for i in range(queries)], "p": p}


def torch_metrics():
    """The fixture of retrieval.py through torchmetrics, every query with the items it may retrieve."""
    fixture = json.loads((FIXTURES / "retrieval.json").read_text())
    q, g = fixture["query"], fixture["gallery"]
    unit = lambda rows: torch.nn.functional.normalize(torch.tensor(rows, dtype=torch.float64), dim=1)
    cosine = unit(q["vectors"]) @ unit(g["vectors"]).T
    preds, target, indexes = [], [], []
    for i in range(len(q["labels"])):
        for j in range(len(g["labels"])):
            if q["groups"][i] != g["groups"][j]:
                preds.append(2 + cosine[i, j])  # its average precision takes items with a score of 0 or less for irrelevant
                target.append(q["labels"][i] == g["labels"][j])
                indexes.append(i)
    preds, target, indexes = torch.stack(preds), torch.tensor(target), torch.tensor(indexes)
    score = lambda metric: float(metric(preds, target, indexes=indexes))
    return {
        "recall": {k: score(RetrievalHitRate(top_k=k)) for k in fixture["ks"]},
        "precision": {k: score(RetrievalPrecision(top_k=k)) for k in fixture["ks"]},
        "mAP": score(RetrievalMAP()),
        "mrr": score(RetrievalMRR()),
    }


p = np.round(rng.random(7) ** 3, 5).tolist()
fixture = {
    "whole": [whole(8, 3), whole(12, 4), whole(14, 2)],
    "real": [real(5), real(12)],
    "single": [single(30), single(160)],
    "holm": {"p": p, "adjusted": multipletests(p, method="holm")[1].tolist()},
    "torchmetrics": torch_metrics(),
}
(FIXTURES / "significance.json").write_text(json.dumps(fixture, separators=(",", ":")) + "\n")
