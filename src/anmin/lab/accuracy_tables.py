"""The Markdown of the comparison with rivals on public data."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from anmin.lab import contest, published
from anmin.lab.accuracy import FIELDS, SLOW, SLOW_SPLITS, stored, tuning
from anmin.lab.rivals import LightGBM, Rival
from anmin.lab.standings import markdown, standings, where_ours_loses

_NOTES = f"""\
Every rival is fitted to the same training rows and scored on the same test rows, all on one thread. Errors are means
over the splits (± their deviation over the splits), seconds the processor time of a fit without its tuning (median of
the splits), bytes those of the weights in float64, and µs/row the median time of a prediction of at least 10,000 rows.
**Bold**: the lowest of the column. The rows stand in the order of their test errors.

The first four sets are used as by {published.CITATION}: inputs standardised over the whole set, 80/20 splits, mean
squared error. The UCI sets have their usual splits, and root mean squared errors. A rival whose fits take longer than
{SLOW:.0f} s is run on {SLOW_SPLITS} splits unless more are asked for; the sentence under a table compares two rivals
on the splits that both have.

- Tuning: five-fold cross-validation on at most {Rival.tuning_rows:,} training rows of split 0, {LightGBM.tuning_rows:,}
  for LightGBM; what is best there is used on all splits. MLPRegressor: a penalty of 1e-4 (adam: 0.01) to 100 by
  decades, beside the sum of squared errors in standardised units. LightGBM: 100, 300 or 1,000 trees of 7, 15, 31 or 63
  leaves of at least 5 or 20 rows. pyscnn: λ of 1e-6 to 1e-3 by decades.
- MLPRegressor: inputs and targets standardised. lbfgs: at most 2,000 iterations, tolerance 1e-6. adam: about 10,000
  steps of 200 rows, in 100 to 1,000 epochs, without early stopping.
- PyTorch Adam: the paper's recipe (300 epochs, batches of 256, rate 0.03, a tenth of it after every 100 epochs),
  standardised, without penalty.
- torch LM: torch-levenberg-marquardt, at most 100 steps on all rows, standardised; a tenth of the training rows is held
  out to choose the step and to stop.
- pyscnn, gated ReLU: 500 gates, which count among its bytes. LightGBM: bytes of a compact form, 14 for each split and
  8 for each leaf.
- ANMIN (paper): Algorithm 1 with 30 iterations and the paper's penalty.
"""


def accuracy_tables(folder: Path) -> str:
    """Return the Markdown of all runs in ``folder``: for each data set a table, and a sentence on where ours loses."""
    lines = ["# Accuracy, size and speed against rivals", "", _NOTES]
    for name, field in FIELDS.items():
        runs = stored(folder, name)
        if not runs:
            continue
        rows = f"{runs[0].n_train:,} training rows, {runs[0].n_features} inputs"
        found = standings(runs, field.metric, processor_time=True)
        lines += [f"## {field.title}, {field.n_neurons} neurons, {rows}", ""]
        lines += [*markdown(found, field.metric), "", where_ours_loses(runs, field.metric, processor_time=True), ""]
        if settings := _tuned_to(folder, name, [one.name for one in found]):
            lines += [f"Tuned: {'; '.join(settings)}.", ""]
        failed = [f"{one.title} failed: {one.failure}" for one in found if one.failure]
        lines += [text for sentence in failed for text in (sentence, "")]
    return "\n".join(lines)


def _tuned_to(folder: Path, name: str, rivals: Sequence[str]) -> list[str]:
    texts = []
    for rival, entry in tuning(folder, name).items():
        if rival in rivals:
            offered = entry["tried"]
            values = [f"{key} {value:g}" for key, value in entry["chosen"].items() if _varies(offered, key)]
            texts.append(f"{contest.RIVALS[rival].title} to {', '.join(values)}")
    return texts


def _varies(offered: Sequence[dict], key: str) -> bool:
    return len({settings.get(key) for settings in offered}) > 1
