#!/usr/bin/env python3
"""Compares data/wordpiece with transformers' fast BERT tokenizer: every Unicode code point in several surroundings, random
mixes of awkward characters, and pairs under truncation. Needs transformers; prints the number of differences.

    python tests/data/compare_tokenizer.py PATH/TO/tokenizer_dump VOCABULARIES [--random N]

VOCABULARIES is a folder with bert-base-uncased/vocab.txt and so on. Besides each as it is, a vocabulary of its own that
has every character as a piece, so that no difference hides behind [UNK].
"""
import argparse
import json
import pathlib
import random
import shutil
import subprocess
import sys
import tempfile

from transformers import BertTokenizerFast

SPECIALS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
AWKWARD = list("aAeEiIzZ09_.,-[]#!?'$+<=>^`|~ \t\n\r\v\f\0\x07\x1b\x7f\x85\xa0\xad\xdfßŒœÆæİıſKÅΣσςΐΰẞ\ufb01\ufb03fiffl") + [
    chr(c) for c in [
        0x300, 0x301, 0x307, 0x323, 0x327, 0x334, 0x345, 0x34F, 0x483, 0x488, 0x5B0, 0x5BC, 0x5D0, 0x627, 0x64B, 0x651, 0x670,
        0x6DD, 0x8D3, 0x898, 0x903, 0x93C, 0x94D, 0x9BE, 0xB47, 0xB3E, 0xBC6, 0xD3B, 0xDCF, 0xDDD, 0xE33, 0xEBA, 0xF71, 0xF73,
        0xFB2, 0x1100, 0x1161, 0x11A8, 0x135D, 0x1715, 0x1734, 0x166D, 0x180B, 0x180E, 0x1B44, 0x1BAA, 0x1C89, 0x1DF6, 0x1DFA, 0x1E9B,
        0x1F80, 0x1FBC, 0x1FEF, 0x2000, 0x2009, 0x200B, 0x200C, 0x200D, 0x200E, 0x2010, 0x2018, 0x2028, 0x2029, 0x202E, 0x202F,
        0x2060, 0x2066, 0x20AC, 0x20DD, 0x20E3, 0x2126, 0x212A, 0x212B, 0x2160, 0x2ADC, 0x3000, 0x3001, 0x302A, 0x302E, 0x3042,
        0x304B, 0x3099, 0x30AC, 0x3400, 0x4DBF, 0x4E00, 0x4E2D, 0x9FFF, 0xA640, 0xA66F, 0xA7CB, 0xA7DC, 0xA8E0, 0xAC00, 0xAC01,
        0xD55C, 0xE000, 0xF8FF, 0xF900, 0xFA0E, 0xFAFF, 0xFB1D, 0xFB2A, 0xFB4F, 0xFDD0, 0xFE0E, 0xFE0F, 0xFEFF, 0xFF21, 0xFF0C,
        0xFFFC, 0xFFFD, 0xFFFE, 0x10400, 0x10D50, 0x10D24, 0x110BD, 0x1109A, 0x111C9, 0x1133B, 0x11938, 0x1193E, 0x16EA0, 0x16FF0,
        0x1BCA0, 0x1D15E, 0x1D165, 0x1D16D, 0x1D173, 0x1D400, 0x1E130, 0x1E900, 0x1F1E9, 0x1F3FD, 0x1F468, 0x1F600, 0x1F937,
        0x20000, 0x2A6DF, 0x2B820, 0x2CEB0, 0x2F800, 0x2FA1D, 0x30000, 0xE0001, 0xE0061, 0xE0100, 0xF0000, 0x10FFFF]
] + ["[MASK]", "[SEP]", "[mask]", "[UNK]", "##a", "hello", "Hello", "naïve", "東京", "한국"]


def code_points():
    return [chr(c) for c in range(0x110000) if not 0xD800 <= c < 0xE000]


def code_point_cases():
    for c in code_points():
        yield {"a": f"{c} a{c}b A{c} {c}e\u0301 e\u0301{c} {c}\u0327\u302e \u302e{c}\U0001d165 {c}{c}"}


def random_cases(count, seed):
    generator = random.Random(seed)
    everything = code_points()
    for _ in range(count):
        parts = [generator.choice(AWKWARD if generator.random() < 0.8 else everything) for _ in range(generator.randint(0, 24))]
        case = {"a": "".join(parts)}
        if generator.random() < 0.3:
            case["b"] = "".join(generator.choice(AWKWARD) for _ in range(generator.randint(0, 24)))
        if generator.random() < 0.4:
            case["max"] = generator.randint(3, 30)
        yield case
    for length in list(range(95, 106)) + [1000]:
        yield {"a": "a" * length}
        yield {"a": "é" * length + " 한" * length}
        yield {"a": "e\u0301" * length}


def expected(tokenizer, cases):
    for case in cases:
        options = dict(truncation=True, max_length=case["max"]) if "max" in case else {}
        batch = [(case["a"], case["b"])] if "b" in case else [case["a"]]  # in a batch an empty pair is a pair
        encoding = tokenizer(batch, verbose=False, **options)
        yield encoding["input_ids"][0], encoding["token_type_ids"][0]


def compare(name, folder, program, cases):
    text = "".join(json.dumps(case) + "\n" for case in cases)
    done = subprocess.run([program, folder], input=text.encode(), stdout=subprocess.PIPE, check=True)
    lines = done.stdout.decode().splitlines()
    assert len(lines) == len(cases), (len(lines), len(cases))
    tokenizer = BertTokenizerFast.from_pretrained(folder)
    differences = 0
    for case, line, (ids, types) in zip(cases, lines, expected(tokenizer, cases)):
        found = json.loads(line)
        if found["ids"] != ids or found["types"] != types:
            differences += 1
            if differences <= 5:
                print("  ", json.dumps(case), "\n   expected", tokenizer.convert_ids_to_tokens(ids), "\n   found   ",
                      tokenizer.convert_ids_to_tokens(found["ids"]))
    print(f"{name}: {len(cases)} cases, {differences} differences", flush=True)
    return differences


def character_vocabulary():
    return SPECIALS + [p + c for c in code_points() if not c.isspace() for p in ("", "##")] + ["[mask]", "hello", "##ello"]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("program")
    parser.add_argument("vocabularies", type=pathlib.Path)
    parser.add_argument("--random", type=int, default=20000)
    arguments = parser.parse_args()
    variants = [("bert-base-uncased", {}), ("bert-base-cased", {"do_lower_case": False}),
                ("bert-base-multilingual-cased", {"do_lower_case": False}), ("bert-base-chinese", {}), ("characters", {}),
                ("characters", {"do_lower_case": False}), ("characters", {"strip_accents": False}),
                ("characters", {"do_lower_case": False, "strip_accents": True}), ("characters", {"tokenize_chinese_chars": False})]
    differences = 0
    for number, (vocabulary, settings) in enumerate(variants):
        with tempfile.TemporaryDirectory() as folder:
            target = pathlib.Path(folder) / "vocab.txt"
            if vocabulary == "characters":
                target.write_bytes("".join(t + "\n" for t in character_vocabulary()).encode())
            else:
                shutil.copyfile(arguments.vocabularies / vocabulary / "vocab.txt", target)
            (pathlib.Path(folder) / "tokenizer_config.json").write_text(json.dumps(settings))
            name = f"{vocabulary} {json.dumps(settings)}"
            differences += compare(name + " code points", folder, arguments.program, list(code_point_cases()))
            differences += compare(name + " random", folder, arguments.program, list(random_cases(arguments.random, number)))
    print("differences in all:", differences)
    return 1 if differences else 0


if __name__ == "__main__":
    sys.exit(main())
