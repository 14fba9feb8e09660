/** How good class scores are: AUROC and balanced accuracy, each counting rows as often as a bootstrap drew them. */
import { InputError } from "../types.js";

/** Scores [n, classes] with the true class of each row. */
export interface Scored {
  readonly scores: Float64Array;
  readonly y: Int32Array;
  readonly classes: number;
}

/** The class with the highest score of each row; of equals the first. */
export function predictions({ scores, y, classes }: Scored): Int32Array {
  return Int32Array.from(y, (_, i) => {
    let best = 0;
    for (let c = 1; c < classes; c++) if (scores[i * classes + c] > scores[i * classes + best]) best = c;
    return best;
  });
}

/**
 * The mean over classes of the share of a class's rows that were recognised (scikit-learn's `balanced_accuracy_score`). Classes
 * without rows are left out. Chance is 1 / classes whatever their sizes.
 *
 * @param weights how often each row counts; once where absent
 */
export function balancedAccuracy(scored: Scored, weights?: ArrayLike<number>): number {
  const { y, classes } = scored;
  const predicted = predictions(scored);
  const [hits, counts] = [new Float64Array(classes), new Float64Array(classes)];
  y.forEach((truth, i) => {
    const weight = weights ? weights[i] : 1;
    counts[truth] += weight;
    if (predicted[i] === truth) hits[truth] += weight;
  });
  const present = Array.from(counts.keys()).filter((c) => counts[c] > 0);
  return present.reduce((sum, c) => sum + hits[c] / counts[c], 0) / present.length;
}

/**
 * Macro one-versus-rest area under the ROC curve (scikit-learn's `roc_auc_score(multi_class="ovr", average="macro")`): for each
 * class the probability that one of its rows has a higher score for it than a row of another class, ties counting half; then the
 * mean over the classes that have rows on both sides. Chance is 0.5. With two classes it is the ordinary AUROC.
 *
 * @returns a function of how often each row counts; the orders are sorted once
 */
export function aurocOf({ scores, y, classes }: Scored): (weights?: ArrayLike<number>) => number {
  const n = y.length;
  const orders = Array.from({ length: classes }, (_, c) =>
    Int32Array.from({ length: n }, (_, i) => i).sort((a, b) => scores[a * classes + c] - scores[b * classes + c]),
  );
  return (weights) => {
    let [sum, counted] = [0, 0];
    for (let c = 0; c < classes; c++) {
      // Up through the scores: every positive beats the negatives below it, and half of those at its own score.
      let [below, wins, positives, negatives] = [0, 0, 0, 0];
      for (let from = 0; from < n;) {
        const score = scores[orders[c][from] * classes + c];
        let [tiedPositive, tiedNegative] = [0, 0];
        for (; from < n && scores[orders[c][from] * classes + c] === score; from++) {
          const row = orders[c][from];
          const weight = weights ? weights[row] : 1;
          if (y[row] === c) tiedPositive += weight;
          else tiedNegative += weight;
        }
        wins += tiedPositive * (below + tiedNegative / 2);
        below += tiedNegative;
        positives += tiedPositive;
        negatives += tiedNegative;
      }
      if (positives === 0 || negatives === 0) continue;
      sum += wins / (positives * negatives);
      counted++;
    }
    return counted === 0 ? NaN : sum / counted;
  };
}

/** `aurocOf` with every row counting once. */
export function auroc(scored: Scored): number {
  const value = aurocOf(scored)();
  if (Number.isNaN(value)) throw new InputError("AUROC: expected rows of at least two classes");
  return value;
}
