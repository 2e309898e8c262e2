#!/usr/bin/env python3
"""Times one epoch of fine-tuning by strata and by Hugging Face Trainer, in turns, on the same cores and data.

    python bench/epoch_vs_trainer.py --model FOLDER --train train.tsv --dev dev.tsv [--rounds 3] [--only NAME ...]
                                     [--out results.json]

Data: `sentence<TAB>label`, with or without a header. Peers: Trainer fp32 and bf16, each with and without length grouping,
on all cores; strata fp32 and bf16 under mpirun with one thread a rank, one rank a core. All use batch 32, AdamW with weight decay,
warm-up then linear decay, no saving, dropout as the model's config says. Speed is in real tokens (no padding counted) per second of training. Needs torch, transformers,
accelerate and datasets for the peers; strata needs none of them.
"""
import argparse
import json
import os
import pathlib
import platform
import statistics
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
BATCH, LEARNING_RATE, WEIGHT_DECAY, WARMUP, MAX_LENGTH, SEED = 32, 5e-5, 0.01, 0.06, 128, 42


def run_strata(options, cores, bf16):
    with tempfile.TemporaryDirectory() as out:
        command = ["mpirun", "--oversubscribe", "--bind-to", "none", "-np", str(cores)]
        if os.geteuid() == 0:
            command.insert(1, "--allow-run-as-root")
        command += [str(options.strata), "train", "--model_name_or_path", options.model, "--train_file", options.train,
                    "--validation_file", options.dev, "--output_dir", out + "/run", "--num_train_epochs", "1",
                    "--per_device_train_batch_size", str(BATCH // cores), "--learning_rate", str(LEARNING_RATE),
                    "--weight_decay", str(WEIGHT_DECAY), "--warmup_ratio", str(WARMUP),
                    "--max_seq_length", str(MAX_LENGTH), "--save_strategy", "no", "--seed", str(SEED),
                    "--logging_steps", "50", "--progress", "off", "--bf16", str(bf16).lower()]
        subprocess.run(command, check=True, env={**os.environ, "OMP_NUM_THREADS": "1"}, stdout=subprocess.DEVNULL)
        result = json.loads(pathlib.Path(out, "run", "all_results.json").read_text())
        lines = [json.loads(l) for l in pathlib.Path(out, "run", "metrics.jsonl").read_text().splitlines()]
        phases = {k: statistics.mean(l["seconds"][k] for l in lines) for k in lines[0]["seconds"]} if lines else {}
        return {"tokens_per_second": result["train_tokens_per_second"], "seconds": result["train_runtime"],
                "accuracy": result["eval_accuracy"], "seconds_per_step": phases}


def run_trainer(options, cores, bf16, group):
    """In a process of its own, so that no peer inherits another's threads or memory."""
    command = [sys.executable, __file__, "--peer", json.dumps({"bf16": bf16, "group": group, "cores": cores}),
               "--model", options.model, "--train", options.train, "--dev", options.dev]
    out = subprocess.run(command, check=True, capture_output=True, text=True,
                         env={**os.environ, "OMP_NUM_THREADS": str(cores), "TOKENIZERS_PARALLELISM": "false"})
    return json.loads(out.stdout.splitlines()[-1])


def peer(options):
    import torch
    from datasets import Dataset
    from transformers import (AutoModelForSequenceClassification, AutoTokenizer, DataCollatorWithPadding, Trainer,
                              TrainingArguments)
    setting = json.loads(options.peer)
    torch.set_num_threads(setting["cores"])
    tokenizer = AutoTokenizer.from_pretrained(options.model)

    def load(path):
        rows = [line.rsplit("\t", 1) for line in pathlib.Path(path).read_text(encoding="utf-8").split("\n") if line]
        if not rows[0][1].isdigit():
            rows = rows[1:]  # a header
        encoded = tokenizer([r[0] for r in rows], truncation=True, max_length=MAX_LENGTH)
        return Dataset.from_dict({**encoded, "labels": [int(r[1]) for r in rows]})

    train, dev = load(options.train), load(options.dev)
    tokens = sum(len(ids) for ids in train["input_ids"])
    model = AutoModelForSequenceClassification.from_pretrained(options.model, num_labels=2)
    with tempfile.TemporaryDirectory() as out:
        arguments = dict(output_dir=out, per_device_train_batch_size=BATCH, num_train_epochs=1, learning_rate=LEARNING_RATE,
                         weight_decay=WEIGHT_DECAY,
                         save_strategy="no", report_to=[], seed=SEED, use_cpu=True, bf16=setting["bf16"], disable_tqdm=True,
                         logging_strategy="no")
        fields = TrainingArguments.__dataclass_fields__
        arguments["warmup_ratio" if "warmup_ratio" in fields else "warmup_steps"] = WARMUP  # a share, either way
        if setting["group"]:
            arguments.update({"train_sampling_strategy": "group_by_length"} if "train_sampling_strategy" in fields
                             else {"group_by_length": True})
        trainer = Trainer(model=model, args=TrainingArguments(**arguments), train_dataset=train, eval_dataset=dev,
                          data_collator=DataCollatorWithPadding(tokenizer),
                          compute_metrics=lambda p: {"accuracy": float((p.predictions.argmax(-1) == p.label_ids).mean())})
        began = time.time()
        trainer.train()
        seconds = time.time() - began
        print(json.dumps({"tokens_per_second": tokens / seconds, "seconds": seconds,
                          "accuracy": trainer.evaluate()["eval_accuracy"]}))


def processor():
    for line in pathlib.Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.machine()


def versions():
    """Of the peers; they are imported in their own processes only."""
    import importlib.metadata
    return {name: importlib.metadata.version(name) for name in ("torch", "transformers", "accelerate")}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True)
    parser.add_argument("--train", required=True)
    parser.add_argument("--dev", required=True)
    parser.add_argument("--strata", default=ROOT / "build" / "strata")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", nargs="+", help="some of the settings, by the names that the table shows")
    parser.add_argument("--out")
    parser.add_argument("--peer", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.peer:
        return peer(options)
    cores = len(os.sched_getaffinity(0))
    settings = {"strata fp32": lambda: run_strata(options, cores, False), "strata bf16": lambda: run_strata(options, cores, True)}
    for bf16 in (False, True):
        for group in (False, True):
            name = f"trainer {'bf16' if bf16 else 'fp32'}{' group-by-length' if group else ''}"
            settings[name] = lambda bf16=bf16, group=group: run_trainer(options, cores, bf16, group)
    if unknown := set(options.only or []) - set(settings):
        parser.error(f"no setting named {', '.join(sorted(unknown))}; there are {', '.join(settings)}")
    settings = {name: run for name, run in settings.items() if not options.only or name in options.only}
    rounds = {name: [] for name in settings}
    for number in range(options.rounds):
        for name, run in settings.items():
            rounds[name].append(run())
            print(f"round {number + 1}: {name}: {rounds[name][-1]}", flush=True)
    summary = {name: {"median": statistics.median(r["tokens_per_second"] for r in results),
                      "least": min(r["tokens_per_second"] for r in results),
                      "most": max(r["tokens_per_second"] for r in results)} for name, results in rounds.items()}
    for name, results in rounds.items():
        summary[name]["accuracy"] = statistics.median(r["accuracy"] for r in results)
    own = summary.get("strata fp32", {}).get("median")
    print(f"\n{'setting':<32}{'tokens/s':>10}{'least':>10}{'most':>10}{'strata is':>12}{'accuracy':>10}")
    for name, row in summary.items():
        ratio = f"{own / row['median']:.2f}x" if own else ""
        print(f"{name:<32}{row['median']:>10.0f}{row['least']:>10.0f}{row['most']:>10.0f}{ratio:>12}{row['accuracy']:>10.4f}")
    if options.out:
        commit = subprocess.run(["git", "-C", str(ROOT), "rev-parse", "--short", "HEAD"], capture_output=True, text=True).stdout
        record = {"command": " ".join(sys.argv), "versions": versions(), "cores": cores, "machine": processor(), "commit": commit.strip(),
                  "batch": BATCH, "summary": summary, "rounds": rounds}
        pathlib.Path(options.out).write_text(json.dumps(record, indent=1) + "\n")


if __name__ == "__main__":
    main()
