"""References for power laws and Student's t: scipy.

    python test/reference/powerLaw.py        writes test/fixtures/powerLaw.json
"""

import json
from pathlib import Path

import numpy as np
import scipy
from scipy.optimize import curve_fit
from scipy.stats import linregress, t

rng = np.random.default_rng(7)


def main():
    cases = []
    for a, b, c, noise in [(2.0, 0.4, 0.0, 0.03), (5.0, 0.7, 0.2, 0.02), (0.5, 0.02, 0.0, 0.08), (1.3, 0.5, 0.1, 0.05)]:
        n = np.repeat([30, 60, 120, 240, 480, 960], 3).astype(float)
        error = (a * n**-b + c) * np.exp(rng.normal(0, noise, n.size))
        line = linregress(np.log(n), np.log(error))
        scale = np.exp(np.log(n).mean())
        start = [np.log(error).mean(), 0.3, np.log(error.min() / 2)]
        (alpha, slope, gamma), _ = curve_fit(
            lambda x, alpha, b, gamma: np.log(np.exp(alpha - b * x) + np.exp(gamma)),
            np.log(n / scale),
            np.log(error),
            p0=start,
            maxfev=20000,
            ftol=1e-14,
            xtol=1e-14,
            gtol=1e-14,
        )
        cases.append(
            {
                "n": n.tolist(),
                "error": error.tolist(),
                "truth": {"a": a, "b": b, "c": c},
                "straight": {"a": float(np.exp(line.intercept)), "b": -line.slope, "r2": line.rvalue**2},
                # The classical interval of the slope, which a residual bootstrap comes close to.
                "interval": [-line.slope - k * line.stderr * t.ppf(0.975, n.size - 2) for k in (1, -1)],
                "curved": {"a": float(np.exp(alpha + slope * np.log(scale))), "b": slope, "c": float(np.exp(gamma))},
            }
        )
    students = {str(df): t.ppf(0.975, df) for df in [1, 2, 3, 5, 10, 30, 31, 60, 1000]}
    found = {"scipy": scipy.__version__, "cases": cases, "student975": students}
    path = Path(__file__).parent.parent / "fixtures/powerLaw.json"
    path.write_text(json.dumps(found) + "\n")


if __name__ == "__main__":
    main()
