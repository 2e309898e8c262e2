#!/usr/bin/env python3
"""Fine-tunes one model under several policies with several seeds, and makes a table of how accurate each is.

    python bench/policies.py --model FOLDER --trec FOLDER --sst2 FOLDER --out results.jsonl   # runs what is not there yet
    python bench/policies.py --table results.jsonl                                            # Markdown from what is

TREC (`LABEL:fine question` lines, Latin-1; the six coarse labels): 2 epochs. SST-2 sentences (`sentence<TAB>0|1`): 1 epoch.
Each policy has the rate that did best, of RATES, in one epoch of nine tenths of TREC's training file with seed 0, measured
on the last tenth; then SEEDS on the whole training files, measured on TREC.test and on SST-2's test sentences. Every run is
one process with one thread (a run's losses do not depend on the number of ranks); --jobs of them run at once.
"""
import argparse
import concurrent.futures
import json
import os
import pathlib
import subprocess
import tempfile
import threading

from record import ROOT, spread

SEEDS = [1, 2, 3, 4, 5]
RATES = [1e-4, 3e-4, 1e-3]
COMMON = {"per_device_train_batch_size": 32, "weight_decay": 0.01, "warmup_ratio": 0.06, "max_seq_length": 128,
          "save_strategy": '"no"', "logging_steps": 100, "progress": '"off"'}
EPOCHS = {"trec": 2, "sst2": 1}
POLICIES = {
    "single": lambda epochs: "",
    "two-part 1:10": lambda epochs: '[groups]\npolicy = "two-part"\nbackbone_multiplier = 0.1\n',
    "layer-decay .95": lambda epochs: '[groups]\npolicy = "layer-decay"\ndecay = 0.95\n',
    "layer-decay .8": lambda epochs: '[groups]\npolicy = "layer-decay"\ndecay = 0.8\n',
    # ULMFiT's stages, the seven before the last in half of the run.
    "gradual unfreezing": lambda epochs: '[groups]\npolicy = "layer-decay"\ndecay = 0.95\n'
                                         f'[gradual]\neach = "{epochs / 14:.4f}e"\n',
}


def trec_rows(path):
    for line in pathlib.Path(path).read_text(encoding="latin-1").split("\n"):
        if line:
            label, question = line.split(" ", 1)
            yield question.strip(), label.split(":")[0]


def plain_rows(path):
    for line in pathlib.Path(path).read_text(encoding="utf-8").split("\n"):
        if line:
            yield tuple(line.rsplit("\t", 1))


def write_rows(path, rows):
    path.write_text("sentence\tlabel\n" + "".join(f"{text}\t{label}\n" for text, label in rows), encoding="utf-8")
    return path


def prepare(options, folder):
    """{data set: {"whole": (train, test), "part": (train, dev)}}"""
    sources = {"trec": (options.trec, "TREC.train", "TREC.test", trec_rows),
               "sst2": (options.sst2, "train.tsv", "test.tsv", plain_rows)}
    files = {}
    for name, (home, train, test, read) in sources.items():
        rows = list(read(pathlib.Path(home, train)))
        cut = len(rows) * 9 // 10
        files[name] = {
            "whole": (write_rows(folder / f"{name}-train.tsv", rows),
                      write_rows(folder / f"{name}-test.tsv", read(pathlib.Path(home, test)))),
            "part": (write_rows(folder / f"{name}-part.tsv", rows[:cut]), write_rows(folder / f"{name}-dev.tsv", rows[cut:])),
        }
    return files


def configuration(options, job, files, out):
    train, test = files[job["data"]][job["split"]]
    keys = {**COMMON, "model_name_or_path": json.dumps(options.model), "train_file": json.dumps(str(train)),
            "validation_file": json.dumps(str(test)), "output_dir": json.dumps(str(out)), "seed": job["seed"],
            "num_train_epochs": job["epochs"], "learning_rate": job["rate"],
            "bf16": json.dumps("true" if job.get("precision") == "bf16" else "false")}
    return "".join(f"{key} = {value}\n" for key, value in keys.items()) + POLICIES[job["policy"]](job["epochs"])


def run(options, job, files):
    with tempfile.TemporaryDirectory() as folder:
        config = pathlib.Path(folder, "run.toml")
        config.write_text(configuration(options, job, files, pathlib.Path(folder, "run")))
        subprocess.run([str(options.strata), "train", "--config", str(config)], check=True, stdout=subprocess.DEVNULL,
                       env={**os.environ, "OMP_NUM_THREADS": "1"})
        results = json.loads(pathlib.Path(folder, "run", "all_results.json").read_text())
    return {**job, "accuracy": results["eval_accuracy"], "loss": results["eval_loss"], "seconds": results["train_runtime"]}


class Results:
    """One JSON object a line; what is there is not run again."""

    def __init__(self, path):
        self.path = pathlib.Path(path)
        self.rows = [json.loads(line) for line in self.path.read_text().splitlines()] if self.path.exists() else []
        self.lock = threading.Lock()

    def find(self, job):
        return [row for row in self.rows if all(row.get(key) == value for key, value in job.items())]

    def add(self, row):
        with self.lock, self.path.open("a") as file:
            self.rows.append(row)
            file.write(json.dumps(row) + "\n")
            print(row, flush=True)

    def best_rate(self, policy):
        rows = [self.find(search(policy, rate))[0] for rate in RATES]
        return max(rows, key=lambda row: (row["accuracy"], -row["loss"]))["rate"]


def search(policy, rate):
    return {"data": "trec", "split": "part", "epochs": 1, "policy": policy, "seed": 0, "rate": rate}


def run_all(options, jobs, results, files):
    missing = [job for job in jobs if not results.find(job)]
    with concurrent.futures.ThreadPoolExecutor(options.jobs) as pool:
        for done in concurrent.futures.as_completed([pool.submit(run, options, job, files) for job in missing]):
            results.add(done.result())


def print_accuracies(heads, lines):
    """Markdown. `lines`: (cells, runs with one seed each)."""
    print(f"\n| {' | '.join(heads)} | median | least | most | seeds |\n|{' --- |' * (len(heads) + 4)}")
    for cells, runs in lines:
        found = spread([100 * run["accuracy"] for run in runs])
        print(f"| {' | '.join(cells)} | {found['median']:.1f} | {found['least']:.1f} | {found['most']:.1f} | {found['rounds']} |")


def table(results):
    for data, epochs in EPOCHS.items():
        runs = {policy: results.find({"data": data, "split": "whole", "policy": policy}) for policy in POLICIES}
        print_accuracies([f"{data}, {epochs} epoch{'s' if epochs > 1 else ''}", "rate"],
                         [([policy, f"{of[0]['rate']:g}"], of) for policy, of in runs.items() if of])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model")
    parser.add_argument("--trec")
    parser.add_argument("--sst2")
    parser.add_argument("--strata", default=ROOT / "build" / "strata")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--data", nargs="+", default=list(EPOCHS), choices=list(EPOCHS))
    parser.add_argument("--out")
    parser.add_argument("--table")
    options = parser.parse_args()
    if options.table:
        return table(Results(options.table))
    if not (options.model and options.trec and options.sst2 and options.out):
        parser.error("give --model, --trec, --sst2 and --out, or --table")
    results = Results(options.out)
    with tempfile.TemporaryDirectory() as folder:
        files = prepare(options, pathlib.Path(folder))
        run_all(options, [search(policy, rate) for rate in RATES for policy in POLICIES], results, files)
        run_all(options, [{"data": data, "split": "whole", "epochs": EPOCHS[data], "policy": policy, "seed": seed,
                           "rate": results.best_rate(policy)}
                          for seed in SEEDS for data in options.data for policy in POLICIES], results, files)
    table(results)


if __name__ == "__main__":
    main()
