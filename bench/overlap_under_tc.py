#!/usr/bin/env python3
"""Two virtual hosts, a rank on each, joined by a link that tc limits: what overlap hides, and whether the prediction of
`strata plan --cluster` holds.

  python bench/overlap_under_tc.py --model MODEL_FOLDER --train train.tsv [--rates 100 200 400] [--rounds 3]
      [--batch 32] [--updates 5] [--out bench/results/FILE.json]

Needs root, iproute2 and openssh-server (tests/faults/virtual_hosts). One run over the first of --calibrate's rate, with
overlap off, gives the constants: seconds of forward, backward and update, and the share of the link's rate that a
reduction reaches. Then every rate with overlap on and off, in turn, --rounds times. All figures are medians over
updates (the first of a run left out) and then over rounds, with the least and most of the rounds.

What can be hidden is the time that buckets which are complete before the backward pass ends take, as far as the
backward pass is long enough for it:
    min(reduce_off x bytes of all groups but the input's / bytes of all groups, backward_off).
The input's group (embeddings) is complete when the backward pass is over. What is hidden is the difference of
backward + reduce with overlap off and on: time that the messages take from the backward pass counts against it.
"""
import argparse
import json
import os
import pathlib
import platform
import statistics
import subprocess
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
HOSTS = ROOT / "tests/faults/virtual_hosts"
PHASES = ("forward", "backward", "reduce", "update", "gather")


def median(values):
    return statistics.median(values)


class Link:
    """Two hosts and the link between them."""

    def __init__(self, folder):
        self.folder = folder
        subprocess.run([HOSTS, "up", folder, "2"], check=True)
        (folder / "hosts").write_text("10.231.77.1 slots=1\n10.231.77.2 slots=1\n")

    def limit(self, mbit):
        for host in (1, 2):
            pid = (self.folder / f"pid-{host}").read_text().strip()
            subprocess.run(["nsenter", "--target", pid, "--net", "tc", "qdisc", "replace", "dev", "eth0", "root", "tbf",
                            "rate", f"{mbit}mbit", "burst", "256kb", "latency", "400ms"], check=True)

    def run(self, words):
        command = [HOSTS, "run", self.folder, "1", ROOT / "launch/mpirun", "--hostfile", self.folder / "hosts",
                   "--bind-to", "none", "--mca", "btl", "tcp,self", "--mca", "btl_tcp_if_include", "eth0",
                   "--mca", "oob_tcp_if_include", "eth0", "-x", "OMP_NUM_THREADS", "--", *words]
        done = subprocess.run(command, env=dict(os.environ, OMP_NUM_THREADS="1"), text=True, capture_output=True)
        if done.returncode != 0:
            raise SystemExit(done.stdout + done.stderr)

    def down(self):
        subprocess.run([HOSTS, "down", self.folder], check=False)


class Bench:
    def __init__(self, options, folder):
        self.options = options
        self.folder = folder
        self.link = Link(folder / "link")
        self.flags = ["--model_name_or_path", options.model, "--train_file", options.train,
                      "--per_device_train_batch_size", str(options.batch), "--layer_decay", "0.95",
                      "--learning_rate", "1e-5", "--max_steps", str(options.updates + 1), "--bf16", "false"]

    def measure(self, mbit, overlap):
        """Medians of an update's phases, in seconds."""
        self.link.limit(mbit)
        out = self.folder / "run"
        self.link.run([ROOT / "build/strata", "train", *self.flags, "--output_dir", out, "--overwrite_output_dir", "true",
                       "--logging_steps", "1", "--save_strategy", "no", "--report_to", "none", "--progress", "off",
                       "--shuffle", "false", "--overlap_comm", str(overlap).lower()])
        rows = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()][1:]
        found = {phase: median([row["seconds"][phase] for row in rows]) for phase in PHASES}
        found["step"] = median([sum(row["seconds"][phase] for phase in PHASES) for row in rows])
        self.plan = json.loads((out / "plan.json").read_text())
        return found

    def predict(self, constants, mbit):
        """Predicted steps, by overlap."""
        text = (f"hosts=2,gpus=1,network={mbit * 1e-3 / 8 * constants['link_share']},latency=1,"
                + ",".join(f"{phase}={constants[phase]}" for phase in ("forward", "backward", "update")))
        out = self.folder / "plan.json"
        subprocess.run([ROOT / "build/strata", "plan", *self.flags, "--cluster", text, "--json", out], check=True,
                       capture_output=True)
        steps = json.loads(out.read_text())["cluster"]["steps"]
        return {step["overlap"]: step for step in steps if step["zero_stage"] == 1}

    def hideable_share(self):
        """Of the gradients' bytes, those of groups that are complete before the backward pass ends."""
        sizes = [group["elements"] for group in self.plan["groups"]]
        return 1 - sizes[0] / sum(sizes)


def spread(values):
    return {"median": median(values), "least": min(values), "most": max(values)}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--model", required=True)
    parser.add_argument("--train", required=True)
    parser.add_argument("--rates", type=int, nargs="+", default=[100, 200, 400])
    parser.add_argument("--calibrate", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--updates", type=int, default=5)
    parser.add_argument("--out", type=pathlib.Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="overlap-") as name:
        bench = Bench(options, pathlib.Path(name))
        try:
            report(options, bench)
        finally:
            bench.link.down()


def report(options, bench):
    load = [os.getloadavg()[0]]
    constants = bench.measure(options.calibrate, False)
    sent = bench.plan["stages"][0]["traffic"]["reduce_bytes"]
    constants["link_share"] = sent / constants["reduce"] / (options.calibrate * 1e6 / 8)
    print(f"constants, from a run at {options.calibrate} Mbit/s:",
          {key: round(value, 3) for key, value in constants.items()})
    runs = {(rate, overlap): [] for rate in options.rates for overlap in (False, True)}
    for _ in range(options.rounds):
        for rate, overlap in runs:
            runs[rate, overlap].append(bench.measure(rate, overlap))
            load.append(os.getloadavg()[0])
    rows = []
    for rate in options.rates:
        predicted = bench.predict(constants, rate)
        off, on = runs[rate, False], runs[rate, True]
        hidden, hideable = [], []
        for a, b in zip(off, on):
            hidden.append(a["backward"] + a["reduce"] - b["backward"] - b["reduce"])
            hideable.append(min(a["reduce"] * bench.hideable_share(), a["backward"]))
        row = {"mbit": rate, "hideable": spread(hideable), "hidden": spread(hidden),
               "hidden_share": spread([a / b for a, b in zip(hidden, hideable)])}
        for overlap, found in ((False, off), (True, on)):
            step = spread([one["step"] for one in found])
            row["overlap" if overlap else "no_overlap"] = {
                "step": step, "predicted": predicted[overlap]["step"],
                "error": predicted[overlap]["step"] / step["median"] - 1,
                "phases": {phase: median([one[phase] for one in found]) for phase in PHASES}}
        rows.append(row)
        print(f"{rate} Mbit/s: hidden {100 * row['hidden_share']['median']:.0f} % "
              f"({100 * row['hidden_share']['least']:.0f} to {100 * row['hidden_share']['most']:.0f}) of "
              f"{row['hideable']['median']:.2f} s")
        for key in ("no_overlap", "overlap"):
            figures = row[key]
            print(f"  {key:10}  step {figures['step']['median']:.2f} s ({figures['step']['least']:.2f} to "
                  f"{figures['step']['most']:.2f}), predicted {figures['predicted']:.2f}: {100 * figures['error']:+.0f} %"
                  "   " + " ".join(f"{phase} {value:.2f}" for phase, value in figures["phases"].items()))
    print(f"load of the machine: {min(load):.1f} to {max(load):.1f}")
    if options.out:
        commit = subprocess.run(["git", "-C", ROOT, "rev-parse", "--short", "HEAD"], text=True,
                                capture_output=True).stdout.strip()
        options.out.write_text(json.dumps(
            {"date": time.strftime("%Y-%m-%d"), "commit": commit, "machine": platform.processor() or platform.machine(),
             "cores": os.cpu_count(), "load": [min(load), max(load)], "batch": options.batch,
             "updates": options.updates, "rounds": options.rounds, "constants": constants, "rates": rows}, indent=1)
            + "\n")


if __name__ == "__main__":
    main()
