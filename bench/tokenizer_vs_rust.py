#!/usr/bin/env python3
"""Times strata's WordPiece tokenizer and the Rust one (tokenizers, encode_batch_fast), in turns, on the same threads.

    ninja -C build tokenizer_speed
    python bench/tokenizer_vs_rust.py --model FOLDER --texts train.tsv [--multilingual VOCABULARY_FOLDER]
                                      [--threads 1 2] [--rounds 5] [--out results.json]

--texts: a TSV with a header, whose first column is the text. --multilingual: a folder with the vocab.txt of a multilingual
BERT; its texts are the translations that come with Django (pip install django), about 90 languages, taken as they are written
and with do_lower_case (lower case, accents stripped). All ids are compared before anything is timed. A round is one call of
each, strata first; the speed is ids per second, [CLS] and [SEP] included. Prints medians, ranges and ratios.
"""
import argparse
import array
import datetime
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


def rust_tokenizer(folder):
    import transformers
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder).backend_tokenizer
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return tokenizer


def first_column(path):
    return [line.split("\t")[0] for line in path.read_text().splitlines()[1:]]


def translations(least=60000):
    """What Django says to its users, in every language it knows."""
    import django
    texts = []
    for path in sorted(pathlib.Path(django.__file__).parent.glob("**/locale/*/LC_MESSAGES/django.po")):
        for line in path.read_text(encoding="utf-8").splitlines():
            if line.startswith(('msgstr "', '"')):
                text = line[line.index('"') + 1:-1]
                if any(ord(c) > 127 for c in text):
                    texts.append(text)
    return (texts * (least // len(texts) + 1))[:max(least, len(texts))]


class Strata:
    def __init__(self, program, folder, text_file, threads, ids_file):
        self.process = subprocess.Popen([program, folder, text_file, str(threads), ids_file], stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, text=True)
        assert self.process.stdout.readline() == "ready\n"
        self.ids = array.array("i", pathlib.Path(ids_file).read_bytes())

    def seconds(self):
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        return float(self.process.stdout.readline().split()[0])

    def close(self):
        self.process.stdin.close()
        self.process.wait()


def compare(options, setting):
    """In a process of its own: Rust's threads are fixed when its first batch begins."""
    folder = setting["folder"]
    texts = json.loads(pathlib.Path(setting["texts"]).read_text())
    with tempfile.TemporaryDirectory() as scratch:
        text_file = pathlib.Path(scratch, "texts")
        text_file.write_bytes("".join(text + "\n" for text in texts).encode())
        strata = Strata(options.program, folder, str(text_file), setting["threads"], str(pathlib.Path(scratch, "ids")))
        rust = rust_tokenizer(folder)
        ids = array.array("i", (i for encoding in rust.encode_batch_fast(texts) for i in encoding.ids))
        if ids != strata.ids:
            sys.exit(f"{setting['name']}: the ids differ ({len(ids)} of Rust, {len(strata.ids)} of strata)")
        ours, theirs = [], []
        for _ in range(options.rounds):
            ours.append(len(ids) / strata.seconds())
            begin = time.perf_counter()
            encodings = rust.encode_batch_fast(texts)
            theirs.append(len(ids) / (time.perf_counter() - begin))
            del encodings
        strata.close()
    ratios = [a / b for a, b in zip(ours, theirs)]
    return {"name": setting["name"], "threads": setting["threads"], "texts": len(texts), "ids": len(ids), "equal": True,
            "strata_ids_per_second": ours, "rust_ids_per_second": theirs, "ratios": ratios}


def in_own_process(options, setting):
    command = [sys.executable, __file__, "--setting", json.dumps(setting), "--program", options.program, "--rounds",
               str(options.rounds)]
    environment = {**os.environ, "RAYON_NUM_THREADS": str(setting["threads"]),
                   "TOKENIZERS_PARALLELISM": "true" if setting["threads"] > 1 else "false"}
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, env=environment)
    if done.returncode != 0:
        sys.exit(done.returncode)
    return json.loads(done.stdout.splitlines()[-1])


def settings(options, scratch):
    sources = []
    if options.model:
        sources.append((options.texts.name, options.model, first_column(options.texts)))
    if options.multilingual:
        vocabulary = pathlib.Path(options.multilingual, "vocab.txt").read_bytes()
        texts = translations()
        for name, lower in (("multilingual, as written", False), ("multilingual, lower case without accents", True)):
            folder = pathlib.Path(scratch, name)
            folder.mkdir()
            (folder / "vocab.txt").write_bytes(vocabulary)
            (folder / "config.json").write_text(json.dumps({"model_type": "bert"}))
            (folder / "tokenizer_config.json").write_text(json.dumps({"do_lower_case": lower,
                                                                      "tokenizer_class": "BertTokenizer"}))
            sources.append((name, str(folder), texts))
    for number, (name, folder, texts) in enumerate(sources):
        path = pathlib.Path(scratch, f"texts{number}.json")
        path.write_text(json.dumps(texts))
        for threads in options.threads:
            yield {"name": name, "folder": folder, "texts": str(path), "threads": threads}


def summary(result):
    ours, theirs = (statistics.median(result[key]) / 1e6 for key in ("strata_ids_per_second", "rust_ids_per_second"))
    ratios = result["ratios"]
    return (f"{result['name']}, {result['threads']} thread(s): strata {ours:.2f} M ids/s, Rust {theirs:.2f} M ids/s, "
            f"{statistics.median(ratios):.1f}x ({min(ratios):.1f} to {max(ratios):.1f})")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model")
    parser.add_argument("--texts", type=pathlib.Path)
    parser.add_argument("--multilingual")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--program", default=str(ROOT / "build/bench/tokenizer_speed"))
    parser.add_argument("--out", type=pathlib.Path)
    parser.add_argument("--setting", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.setting:
        print(json.dumps(compare(options, json.loads(options.setting))))
        return
    import tokenizers
    commit = subprocess.run(["git", "-C", str(ROOT), "rev-parse", "--short", "HEAD"], stdout=subprocess.PIPE, text=True)
    report = {"date": datetime.date.today().isoformat(), "commit": commit.stdout.strip(), "tokenizers": tokenizers.__version__,
              "python": platform.python_version(), "cores": os.cpu_count(), "rounds": options.rounds, "results": []}
    with tempfile.TemporaryDirectory() as scratch:
        for setting in settings(options, scratch):
            result = in_own_process(options, setting)
            report["results"].append(result)
            print(summary(result), flush=True)
    if options.out:
        options.out.write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    main()
