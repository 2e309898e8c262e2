#!/usr/bin/env python3
"""Times one epoch of fine-tuning by strata and by Hugging Face Trainer, in turns, on the same cores and data.

    python bench/epoch_vs_trainer.py --model FOLDER --train train.tsv --dev dev.tsv [--rounds 5] [--only NAME ...]
                                     [--compile] [--samples N] [--out results.json]

Data: `sentence<TAB>label`, with or without a header. Of strata: fp32 and bf16, each on one rank a core of one thread, and on
one rank of one thread a core. Of Trainer: fp32 and bf16, each with and without length grouping, in one process on all
cores, with --compile also under torch.compile; and under torchrun, one process a core (DDP over gloo). All use batch 32,
AdamW with weight decay, warm-up then linear decay, no saving, dropout as the model's config says. --samples takes the first
so many sentences. Speed is in real tokens (no padding counted) per second of training, accuracy that of dev afterwards; a
ratio is of the same round. Needs torch, transformers, accelerate and datasets for the peers; strata needs none of them.
"""
import argparse
import json
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

from record import ROOT, Record, grouped_by_length, load, mpirun, ratio_text, ratios, spread

BATCH, LEARNING_RATE, WEIGHT_DECAY, WARMUP, MAX_LENGTH, SEED = 32, 5e-5, 0.01, 0.06, 128, 42


def rows_of(path, samples):
    rows = [line.rsplit("\t", 1) for line in pathlib.Path(path).read_text(encoding="utf-8").split("\n") if line]
    return rows[0 if rows[0][1].isdigit() else 1:][:samples]  # the first may be a header


def run_strata(options, cores, bf16, ranks):
    with tempfile.TemporaryDirectory() as out:
        command = [*mpirun(ranks), str(options.strata), "train", "--model_name_or_path", options.model,
                   "--train_file", options.train, "--validation_file", options.dev, "--output_dir", out + "/run",
                   "--num_train_epochs", "1", "--per_device_train_batch_size", str(BATCH // ranks),
                   "--learning_rate", str(LEARNING_RATE), "--weight_decay", str(WEIGHT_DECAY),
                   "--warmup_ratio", str(WARMUP), "--max_seq_length", str(MAX_LENGTH), "--save_strategy", "no",
                   "--seed", str(SEED), "--logging_steps", "10", "--progress", "off", "--bf16", str(bf16).lower()]
        if options.samples:
            command += ["--max_train_samples", str(options.samples)]
        subprocess.run(command, check=True, env={**os.environ, "OMP_NUM_THREADS": str(cores // ranks)},
                       stdout=subprocess.DEVNULL)
        result = json.loads(pathlib.Path(out, "run", "all_results.json").read_text())
        metrics = pathlib.Path(out, "run", "metrics.jsonl")  # not there for less than logging_steps
        lines = [json.loads(l) for l in metrics.read_text().splitlines()] if metrics.exists() else []
        phases = {k: statistics.mean(l["seconds"][k] for l in lines) for k in lines[0]["seconds"]} if lines else {}
        return {"tokens_per_second": result["train_tokens_per_second"], "seconds": result["train_runtime"],
                "accuracy": result["eval_accuracy"], "seconds_per_step": phases}


def run_trainer(options, setting):
    """In processes of its own, so that no peer inherits another's threads or memory."""
    processes = setting["processes"]
    launcher = [sys.executable]
    if processes > 1:
        launcher += ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", str(processes)]
    command = [*launcher, __file__, "--peer", json.dumps(setting), "--model", options.model, "--train", options.train,
               "--dev", options.dev, "--samples", str(options.samples or 0)]
    out = subprocess.run(command, capture_output=True, text=True,
                         env={**os.environ, "OMP_NUM_THREADS": str(setting["threads"]), "TOKENIZERS_PARALLELISM": "false"})
    if out.returncode != 0:
        sys.exit(out.stderr)
    return next(json.loads(line) for line in reversed(out.stdout.splitlines()) if line.startswith("{"))


def peer(options):
    import torch
    from datasets import Dataset
    from transformers import (AutoModelForSequenceClassification, AutoTokenizer, DataCollatorWithPadding, Trainer,
                              TrainingArguments)
    setting = json.loads(options.peer)
    torch.set_num_threads(setting["threads"])
    tokenizer = AutoTokenizer.from_pretrained(options.model)

    def dataset(path, samples=None):
        rows = rows_of(path, samples)
        encoded = tokenizer([r[0] for r in rows], truncation=True, max_length=MAX_LENGTH)
        return Dataset.from_dict({**encoded, "labels": [int(r[1]) for r in rows]})

    train, dev = dataset(options.train, options.samples or None), dataset(options.dev)
    tokens = sum(len(ids) for ids in train["input_ids"])
    model = AutoModelForSequenceClassification.from_pretrained(options.model, num_labels=2)
    with tempfile.TemporaryDirectory() as out:
        arguments = dict(output_dir=out, per_device_train_batch_size=BATCH // setting["processes"], num_train_epochs=1,
                         learning_rate=LEARNING_RATE, weight_decay=WEIGHT_DECAY, save_strategy="no", report_to=[],
                         seed=SEED, use_cpu=True, bf16=setting["bf16"], torch_compile=setting["compile"],
                         disable_tqdm=True, logging_strategy="no")
        if setting["processes"] > 1:
            arguments["ddp_backend"] = "gloo"
        fields = TrainingArguments.__dataclass_fields__
        arguments["warmup_ratio" if "warmup_ratio" in fields else "warmup_steps"] = WARMUP  # a share, either way
        if setting["group"]:
            arguments.update(grouped_by_length(TrainingArguments))
        trainer = Trainer(model=model, args=TrainingArguments(**arguments), train_dataset=train, eval_dataset=dev,
                          data_collator=DataCollatorWithPadding(tokenizer),
                          compute_metrics=lambda p: {"accuracy": float((p.predictions.argmax(-1) == p.label_ids).mean())})
        began = time.time()
        trainer.train()
        seconds = time.time() - began
        accuracy = trainer.evaluate()["eval_accuracy"]
        if trainer.is_world_process_zero():
            print(json.dumps({"tokens_per_second": tokens / seconds, "seconds": seconds, "accuracy": accuracy}), flush=True)


def all_settings(options, cores):
    """Name and how to run it."""
    settings = {}
    for bf16 in (False, True):
        kind = "bf16" if bf16 else "fp32"
        for ranks in dict.fromkeys((cores, 1)):
            name = f"strata {kind}, {ranks} x {cores // ranks}"
            settings[name] = lambda bf16=bf16, ranks=ranks: run_strata(options, cores, bf16, ranks)
    for processes in dict.fromkeys((1, cores)):
        for bf16 in (False, True):
            for group in (False, True):
                for compiled in (False, True) if options.compile and processes == 1 else (False,):
                    name = (f"{'trainer' if processes == 1 else f'torchrun {processes}'} {'bf16' if bf16 else 'fp32'}"
                            f"{' group-by-length' if group else ''}{' compile' if compiled else ''}")
                    setting = {"bf16": bf16, "group": group, "compile": compiled, "processes": processes,
                               "threads": cores // processes}
                    settings[name] = lambda setting=setting: run_trainer(options, setting)
    return settings


def summary_of(rounds):
    """Of each setting its speed and accuracy, and the ratios of strata's settings to it."""
    speeds = {name: [r["tokens_per_second"] for r in results] for name, results in rounds.items()}
    own = [name for name in rounds if name.startswith("strata")]
    return {name: {"tokens_per_second": spread(speeds[name]),
                   "accuracy": spread([r["accuracy"] for r in results]),
                   "ratios": {ours: ratios(speeds[ours], speeds[name]) for ours in own if ours != name}}
            for name, results in rounds.items()}


def print_table(summary):
    print(f"\n{'setting':<36}{'tokens/s':>9}{'least':>9}{'most':>9}{'accuracy':>10}")
    for name, row in summary.items():
        speed = row["tokens_per_second"]
        print(f"{name:<36}{speed['median']:>9.0f}{speed['least']:>9.0f}{speed['most']:>9.0f}{row['accuracy']['median']:>10.4f}")
    for name, row in summary.items():
        for ours, ratio in row["ratios"].items():
            print(f"{ours} is {ratio_text(ratio)} {name}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True)
    parser.add_argument("--train", required=True)
    parser.add_argument("--dev", required=True)
    parser.add_argument("--strata", default=ROOT / "build" / "strata")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--samples", type=int)
    parser.add_argument("--compile", action="store_true", help="Trainer under torch.compile too")
    parser.add_argument("--only", nargs="+", help="some of the settings, by the names that the table shows")
    parser.add_argument("--out")
    parser.add_argument("--peer", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.peer:
        return peer(options)
    cores = len(os.sched_getaffinity(0))
    settings = all_settings(options, cores)
    if unknown := set(options.only or []) - set(settings):
        parser.error(f"no setting named {', '.join(sorted(unknown))}; there are {', '.join(settings)}")
    settings = {name: run for name, run in settings.items() if not options.only or name in options.only}
    record = Record("torch", "transformers", "accelerate")
    rounds = {name: [] for name in settings}
    for number in range(options.rounds):
        for name, run in settings.items():
            rounds[name].append({"load": load(), **run()})
            print(f"round {number + 1}: {name}: {rounds[name][-1]}", flush=True)
    summary = summary_of(rounds)
    print_table(summary)
    record.write(options.out, batch=BATCH, samples=options.samples, summary=summary, rounds=rounds)


if __name__ == "__main__":
    main()
