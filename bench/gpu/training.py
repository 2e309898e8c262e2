#!/usr/bin/env python3
"""Training on one GPU by strata and by transformers' Trainer: tokens a second and MFU. JSON on standard output.

    python bench/gpu/training.py [--models bert-base bert-large] [--lengths sst2 squad 128 512] [--minutes 7]
                                 [--steps 48] [--tokens 16384] [--device cuda | cpu]

BERT-base and BERT-large with drawn weights, steps of about --tokens real tokens, AdamW, bf16, dropout 0.1. Lengths are those
of SST-2's sentences, of SQuAD's questions with their contexts (mixes, drawn from quantiles), or all equal. Of strata: steps
launched and replayed as CUDA graphs, one rank, and two ranks of NCCL on the one card. Of Trainer: SDPA and the fused AdamW,
with torch.compile and without, mixes grouped by length. The first half of the steps is not counted: graphs are captured and
code is compiled there.

MFU is what a whole BERT's training takes, 6 operations a weight and token and 12 n^2 of the hidden size for each layer's
attention over n tokens, by what the card's data sheet says of dense bf16; "of_matmul" is by what a product of 8,192 cubed
reaches here. When --minutes have passed, what is left is skipped, and says so.

Needs torch, transformers and accelerate; a build (launch/setup). On a CPU (--device cpu) it runs the same with small
models, to see that it works.
"""
import argparse
import json
import os
import pathlib
import random
import statistics
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(ROOT / "bench"))
from length_sweep import MODELS as SHAPES  # noqa: E402
from record import grouped_by_length, mpirun, spread  # noqa: E402

VOCABULARY = 30522
MODELS = {"tiny": {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64},
          "bert-base": SHAPES["bert-base"],
          "bert-large": {"hidden_size": 1024, "num_hidden_layers": 24, "num_attention_heads": 16, "intermediate_size": 4096}}
# Tokens of a sample, [CLS] and [SEP] among them: quantiles 0, 1/32, ... 1 of 6,920 sentences of SST-2, and of 6,078 questions
# of SQuAD 2.0 with their contexts, by the uncased vocabulary of BERT.
MIXES = {"sst2": [3, 7, 8, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 21, 22, 23, 24, 25, 26, 27, 28, 29, 31, 32, 33, 35, 36,
                  39, 41, 45, 67],
         "squad": [41, 103, 111, 118, 122, 126, 129, 131, 134, 136, 139, 143, 147, 150, 154, 158, 163, 168, 174, 179, 184, 189,
                   196, 204, 213, 224, 235, 247, 264, 285, 316, 372, 512]}
PEAKS = {"B200": 2250e12, "H200": 989e12, "H100 PCIe": 756e12, "H100": 989e12, "A100": 312e12, "L40S": 362e12}  # dense bf16


def lengths_of(kind, count):
    """So many samples' tokens, the same on every call."""
    if kind not in MIXES:
        return [int(kind)] * count
    quantiles, draw = MIXES[kind], random.Random(1)
    places = [draw.random() * (len(quantiles) - 1) for _ in range(count)]
    return [round(quantiles[int(p)] + (p - int(p)) * (quantiles[int(p) + 1] - quantiles[int(p)])) for p in places]


class Work:
    """A model's folder, and texts of the wanted lengths: one word, one token."""

    def __init__(self, folder, model, kind, options):
        mean = statistics.mean(lengths_of(kind, 4096))
        self.folder, self.model, self.kind = folder, model, kind
        self.batch = max(2, round(options.tokens / mean / 2) * 2)
        self.steps = options.steps
        self.lengths = lengths_of(kind, self.batch * self.steps)
        self.longest = max(self.lengths)
        words = random.Random(2)
        self.texts = [" ".join(f"w{words.randrange(5, VOCABULARY)}" for _ in range(n - 2)) for n in self.lengths]
        self.train = pathlib.Path(folder, f"train_{kind}.tsv")
        lines = [f"{text}\t{i % 2}" for i, text in enumerate(self.texts)]
        self.train.write_text("\n".join(["sentence\tlabel", *lines]) + "\n")

    def flops_per_token(self):
        shape = MODELS[self.model]
        hidden, layers = shape["hidden_size"], shape["num_hidden_layers"]
        weights = layers * (4 * hidden * hidden + 2 * hidden * shape["intermediate_size"])
        squares = sum(n * n for n in self.lengths) / sum(self.lengths)
        return 6 * weights + 12 * layers * hidden * squares


def write_model(folder, model):
    import torch
    from transformers import BertConfig, BertForSequenceClassification
    torch.manual_seed(42)
    config = BertConfig(vocab_size=VOCABULARY, max_position_embeddings=512, **MODELS[model])
    BertForSequenceClassification(config).save_pretrained(folder)
    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *(f"w{i}" for i in range(5, VOCABULARY))]
    pathlib.Path(folder, "vocab.txt").write_text("\n".join(vocabulary) + "\n")


def run_strata(options, work, graph, ranks=1):
    with tempfile.TemporaryDirectory() as out:
        command = [str(options.strata), "train", "--model_name_or_path", work.folder, "--train_file", str(work.train),
                   "--output_dir", out, "--max_steps", str(work.steps), "--max_seq_length", "512",
                   "--per_device_train_batch_size", str(work.batch // ranks), "--learning_rate", "1e-5",
                   "--weight_decay", "0.01", "--logging_steps", str(max(1, work.steps // 8)), "--save_strategy", "no",
                   "--progress", "off", "--bf16", "true", "--device", options.device]
        if graph:
            command += ["--cuda_graph", "true"]
        if ranks > 1:  # NCCL takes ranks with host ids of their own for ranks of different hosts, and lets them share a card
            own_host = 'export NCCL_HOSTID=host$OMPI_COMM_WORLD_RANK; exec "$@"'
            command = [*mpirun(ranks), "sh", "-c", own_host, "strata", *command]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
                       timeout=options.left())
        lines = [json.loads(line) for line in pathlib.Path(out, "metrics.jsonl").read_text().splitlines()]
    counted = lines[len(lines) // 2:]
    return {"tokens_per_second": spread([line["tokens_per_second"] for line in counted]),
            "seconds": {part: statistics.median(line["seconds"][part] for line in counted) for part in counted[0]["seconds"]}}


def run_trainer(options, work, compiled):
    """In a process of its own, whose memory is the card's again afterwards."""
    setting = {"folder": work.folder, "train": str(work.train), "batch": work.batch, "steps": work.steps,
               "mix": work.kind in MIXES, "compile": compiled, "cpu": options.device == "cpu"}
    out = subprocess.run([sys.executable, __file__, "--peer", json.dumps(setting)], check=True, capture_output=True, text=True,
                         timeout=options.left())
    return json.loads(out.stdout.splitlines()[-1])


def peer(setting):
    import torch
    from torch.utils.data import Dataset
    from transformers import AutoModelForSequenceClassification, Trainer, TrainerCallback, TrainingArguments
    rows = [line.rsplit("\t", 1)[0] for line in pathlib.Path(setting["train"]).read_text().splitlines()[1:]]
    ids = [[2, *(int(word[1:]) for word in row.split()), 3] for row in rows]

    class Samples(Dataset):
        def __len__(self):
            return len(ids)

        def __getitem__(self, index):
            return {"input_ids": ids[index], "labels": index % 2}

    tokens = []  # of the batches, in their order

    def collate(samples):
        longest = max(len(sample["input_ids"]) for sample in samples)
        tokens.append(sum(len(sample["input_ids"]) for sample in samples))
        padded = [sample["input_ids"] + [0] * (longest - len(sample["input_ids"])) for sample in samples]
        mask = [[1] * len(sample["input_ids"]) + [0] * (longest - len(sample["input_ids"])) for sample in samples]
        return {"input_ids": torch.tensor(padded), "attention_mask": torch.tensor(mask),
                "labels": torch.tensor([sample["labels"] for sample in samples])}

    class Clock(TrainerCallback):
        times = {}

        def on_step_end(self, arguments, state, control, **_):
            if state.global_step in (setting["steps"] // 2, setting["steps"]):
                if not setting["cpu"]:
                    torch.cuda.synchronize()
                self.times[state.global_step] = time.perf_counter()

    model = AutoModelForSequenceClassification.from_pretrained(setting["folder"], attn_implementation="sdpa")
    grouping = grouped_by_length(TrainingArguments) if setting["mix"] else {}
    with tempfile.TemporaryDirectory() as out:
        arguments = TrainingArguments(
            output_dir=out, per_device_train_batch_size=setting["batch"], max_steps=setting["steps"], learning_rate=1e-5,
            weight_decay=0.01, bf16=True, optim="adamw_torch_fused", torch_compile=setting["compile"], report_to=[],
            save_strategy="no", logging_strategy="no", disable_tqdm=True, use_cpu=setting["cpu"], **grouping)
        Trainer(model=model, args=arguments, train_dataset=Samples(), data_collator=collate, callbacks=[Clock()]).train()
    half, end = setting["steps"] // 2, setting["steps"]
    seconds = Clock.times[end] - Clock.times[half]
    memory = 0 if setting["cpu"] else torch.cuda.max_memory_allocated()
    print(json.dumps({"tokens_per_second": sum(tokens[half:end]) / seconds, "memory": memory}))


def card(options):
    """Its name, and what it does with dense bf16: by its data sheet, and in a product here."""
    import torch
    from update_torch import seconds_of
    if options.device == "cpu":
        return {"name": "cpu", "peak": None, "matmul": None}
    if not torch.cuda.is_available():
        sys.exit("training.py: this PyTorch sees no GPU")
    name = torch.cuda.get_device_name()
    a, b = (torch.randn(8192, 8192, device="cuda", dtype=torch.bfloat16) for _ in range(2))
    seconds = seconds_of(lambda: torch.mm(a, b))
    peak = next((flops for part, flops in PEAKS.items() if part in name), None)
    return {"name": name, "peak": peak, "matmul": 2 * 8192**3 / seconds}


def measured(options, name, run):
    """What a setting gives, or why there is nothing."""
    if options.left() <= 0:
        return {"skipped": f"--minutes {options.minutes} had passed"}
    print(f"training.py: {name}", file=sys.stderr, flush=True)
    try:
        return run()
    except subprocess.TimeoutExpired:
        return {"skipped": f"--minutes {options.minutes} passed while it ran"}
    except subprocess.CalledProcessError as error:
        return {"failed": (error.stderr or "").strip().splitlines()[-5:]}


def speed_of(result):
    speed = result.get("tokens_per_second")
    return speed["median"] if isinstance(speed, dict) else speed


def with_shares(result, work, its_card):
    speed = speed_of(result)
    if speed is None:
        return result
    flops = speed * work.flops_per_token()
    of = {name: flops / its_card[key] for name, key in (("mfu", "peak"), ("of_matmul", "matmul")) if its_card[key]}
    return {**result, **of}


def compare(options, work, its_card):
    on_gpu = options.device == "cuda"
    settings = {"strata": lambda: run_strata(options, work, graph=False)}
    if on_gpu:
        settings["strata, graphs"] = lambda: run_strata(options, work, graph=True)
    settings["trainer"] = lambda: run_trainer(options, work, compiled=False)
    settings["trainer, compiled"] = lambda: run_trainer(options, work, compiled=True)
    if on_gpu:
        settings["strata, 2 ranks"] = lambda: run_strata(options, work, graph=False, ranks=2)
    results = {name: with_shares(measured(options, f"{work.model}, {work.kind}: {name}", run), work, its_card)
               for name, run in settings.items()}
    best = {side: max(filter(None, (speed_of(results[name]) for name in results if name.startswith(side) and "ranks" not in name)),
                      default=None) for side in ("strata", "trainer")}
    ratio = best["strata"] / best["trainer"] if all(best.values()) else None
    return {"model": work.model, "lengths": work.kind, "batch": work.batch, "results": results, "strata_over_trainer": ratio}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", choices=MODELS)
    parser.add_argument("--lengths", nargs="+", default=["sst2", "128", "512", "squad"])
    parser.add_argument("--minutes", type=float, default=7)
    parser.add_argument("--steps", type=int, default=48)
    parser.add_argument("--tokens", type=int, default=16384)
    parser.add_argument("--device", choices=["cuda", "cpu"], default="cuda")
    parser.add_argument("--strata", type=pathlib.Path, default=pathlib.Path(os.environ.get("STRATA_BUILD", ROOT / "build"), "strata").resolve())
    parser.add_argument("--peer", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.peer:
        return peer(json.loads(options.peer))
    if not options.strata.exists():
        parser.error(f"there is no {options.strata}; run launch/setup first")
    began = time.monotonic()
    options.left = lambda: 60 * options.minutes - (time.monotonic() - began)
    its_card = card(options)
    rows = []
    for model in options.models or (["bert-large", "bert-base"] if options.device == "cuda" else ["tiny"]):
        with tempfile.TemporaryDirectory() as folder:
            write_model(folder, model)
            for kind in options.lengths:
                rows.append(compare(options, Work(folder, model, kind, options), its_card))
    print(json.dumps({"card": its_card, "steps": options.steps, "training": rows}, indent=1))


if __name__ == "__main__":
    main()
