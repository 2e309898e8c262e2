#!/usr/bin/env python3
"""Fine-tunes one model in fp32 and in bf16 with several seeds, and makes a table of how accurate each is.

    python bench/precisions.py --model FOLDER --trec FOLDER --sst2 FOLDER --out results.jsonl   # runs what is not there yet

The data, epochs and options of bench/policies.py, its policy layer-decay .95 at the rate that won there; the seeds are the
same for both. Every run is one process with one thread; --jobs of them run at once.
"""
import argparse
import pathlib
import tempfile

from policies import EPOCHS, SEEDS, Results, prepare, print_accuracies, run_all
from record import ROOT

POLICY, RATE, PRECISIONS = "layer-decay .95", 3e-4, ["fp32", "bf16"]


def table(results):
    for data in EPOCHS:
        runs = {precision: results.find({"data": data, "precision": precision}) for precision in PRECISIONS}
        print_accuracies([data], [([precision], of) for precision, of in runs.items() if of])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("--model", "--trec", "--sst2", "--out"):
        parser.add_argument(name, required=True)
    parser.add_argument("--strata", default=ROOT / "build" / "strata")
    parser.add_argument("--jobs", type=int, default=2)
    options = parser.parse_args()
    results = Results(options.out)
    with tempfile.TemporaryDirectory() as folder:
        files = prepare(options, pathlib.Path(folder))
        run_all(options, [{"data": data, "split": "whole", "epochs": EPOCHS[data], "policy": POLICY, "seed": seed, "rate": RATE,
                           "precision": precision} for precision in reversed(PRECISIONS) for seed in SEEDS for data in EPOCHS],
                results, files)
    table(results)


if __name__ == "__main__":
    main()
