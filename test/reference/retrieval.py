"""References for retrieval: numpy by brute force, scikit-learn for average precision.

    python test/reference/retrieval.py        writes test/fixtures/retrieval.json and test/fixtures/embeddings-numpy.npz
"""

import json
from pathlib import Path

import numpy as np
from sklearn.metrics import average_precision_score
from sklearn.metrics.pairwise import cosine_similarity

FIXTURES = Path(__file__).parent.parent / "fixtures"
KS = [1, 3, 5, 10]
rng = np.random.default_rng(7)


def make(n, prefix, patients):
    labels = rng.choice(["abdomen", "chest", "head"], n, p=[0.5, 0.3, 0.2])
    centres = {"abdomen": [1, 0, 0, 0, 0], "chest": [0, 1, 0, 0, 0], "head": [0, 0, 1, 0, 0]}
    vectors = np.stack([centres[l] for l in labels]) + rng.normal(0, 0.8, (n, 5))
    groups = [f"p{i}" for i in rng.choice(patients, n)]
    return np.round(vectors, 3), labels.tolist(), groups


def main():
    query, query_labels, query_groups = make(24, "q", np.arange(0, 12))
    gallery, gallery_labels, gallery_groups = make(40, "g", np.arange(8, 24))  # some patients on both sides
    cosine = cosine_similarity(query, gallery)

    rows = []
    for i in range(len(query)):
        allowed = np.array([g != query_groups[i] for g in gallery_groups])
        relevant = np.array([l == query_labels[i] for l in gallery_labels])[allowed]
        scores = cosine[i][allowed]
        order = np.argsort(-scores, kind="stable")
        hits = relevant[order]
        rows.append(
            {
                "ranking": np.flatnonzero(allowed)[order].tolist(),
                "recall": [float(hits[:k].any()) for k in KS],
                "precision": [float(hits[:k].mean()) for k in KS],
                "ap": float(average_precision_score(relevant, scores)),
                "rr": float(1 / (1 + np.flatnonzero(hits)[0])),
            }
        )

    fixture = {
        "ks": KS,
        "query": {"vectors": query.tolist(), "labels": query_labels, "groups": query_groups},
        "gallery": {"vectors": gallery.tolist(), "labels": gallery_labels, "groups": gallery_groups},
        "rows": [{**r, "ranking": r["ranking"][:10]} for r in rows],
    }
    text = json.dumps(fixture, separators=(",", ":"))
    (FIXTURES / "retrieval.json").write_text(text + "\n")

    np.savez_compressed(
        FIXTURES / "embeddings-numpy.npz",
        embeddings=np.arange(12, dtype=np.float64).reshape(4, 3) / 8,
        ids=np.array(["a", "ß", "日本", "🫁"]),
        groups=np.array([1, 1, 2, 3]),
        modality=np.array(["xray", "ct", "ct", "mri"]),
        split=np.array(["query", "query", "gallery", "gallery"]),
        label_region=np.array(["chest", "chest", "abdomen", ""]),
        finding=np.array([True, False, False, True]),
        umap=np.zeros((4, 2)),
        meta=np.array(json.dumps({"encoder": "made by numpy", "seed": 7})),
    )


main()
