"""References for retrieval between label sets: scikit-learn for nDCG, Jaccard and average precision, numpy for the rest.

    python test/reference/labelSets.py        writes test/fixtures/labelSets.json
"""

import json
from pathlib import Path

import numpy as np
import sklearn
from sklearn.metrics import average_precision_score, jaccard_score, ndcg_score
from sklearn.metrics.pairwise import cosine_similarity
from sklearn.preprocessing import MultiLabelBinarizer

FIXTURES = Path(__file__).parent.parent / "fixtures"
KS = [1, 3, 5, 10]
FINDINGS = ["Atelectasis", "Effusion", "Mass", "Nodule"]
rng = np.random.default_rng(11)


def make(n):
    """Each finding in a third of the pictures, in any combination; without one, No Finding. Some patients are on both sides."""
    marks = rng.random((n, len(FINDINGS))) < 0.33
    sets = [[f for f, m in zip(FINDINGS, row) if m] or ["No Finding"] for row in marks]
    vectors = np.round(marks + rng.normal(0, 0.6, marks.shape), 3)
    return vectors, sets, [f"p{i}" for i in rng.choice(20, n)]


def main():
    query, query_sets, query_groups = make(18)
    gallery, gallery_sets, gallery_groups = make(40)
    binarizer = MultiLabelBinarizer().fit(query_sets + gallery_sets)
    q, g = binarizer.transform(query_sets), binarizer.transform(gallery_sets)
    rows = []
    for i, scores in enumerate(cosine_similarity(query, gallery)):
        allowed = np.array([group != query_groups[i] for group in gallery_groups])
        gains = np.array([jaccard_score(q[i], other) for other in g])[allowed]
        scores, hits = scores[allowed], gains > 0
        order = np.argsort(-scores, kind="stable")
        ranked = hits[order]
        rows.append(
            {
                "gains": gains[order].tolist(),
                "recall": [float(ranked[:k].any()) for k in KS],
                "precision": [float(ranked[:k].mean()) for k in KS],
                "ap": float(average_precision_score(hits, scores)),
                "rr": float(1 / (1 + np.flatnonzero(ranked)[0])),
                "ndcg": [float(ndcg_score([gains], [scores], k=k)) for k in KS],
            }
        )
    join = lambda sets: ["|".join(labels) for labels in sets]
    fixture = {
        "versions": {"numpy": np.__version__, "scikit-learn": sklearn.__version__},
        "ks": KS,
        "query": {"vectors": query.tolist(), "labels": join(query_sets), "groups": query_groups},
        "gallery": {"vectors": gallery.tolist(), "labels": join(gallery_sets), "groups": gallery_groups},
        "rows": rows,
    }
    (FIXTURES / "labelSets.json").write_text(json.dumps(fixture, separators=(",", ":")) + "\n")


main()
