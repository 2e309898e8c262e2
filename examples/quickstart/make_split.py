#!/usr/bin/env python3
"""Makes train.tsv (2,400 sentences) and validation.tsv (600) from the three files of the UCI data set.

    python3 make_split.py FOLDER     # with amazon_cells_labelled.txt, imdb_labelled.txt, yelp_labelled.txt

The split has no random numbers, so it comes out the same on every machine:

* Sentences equal but for case, punctuation and spaces form one unit, and a unit lies on one side as a whole: nothing
  that is held out was seen in training.
* Units are ordered by the SHA-256 of their text. Going down that order, a unit is held out if each of the six cells
  (three sources, two labels) it touches still has fewer than 100 held-out sentences. So each side has the sources and
  labels in equal parts.
* Both files keep the order of the hashes: a good shuffle, even for a run with `--shuffle false`.
"""

import collections
import hashlib
import pathlib
import re
import sys

SOURCES = ("amazon_cells_labelled.txt", "imdb_labelled.txt", "yelp_labelled.txt")
HELD_OUT_PER_CELL = 100

Sentence = collections.namedtuple("Sentence", "text label cell")


def read_sentences(folder):
    for source in SOURCES:
        # Only \n ends a line: the IMDb file has U+0085, at which str.splitlines() would cut.
        for line in (folder / source).read_bytes().decode("utf-8").rstrip("\n").split("\n"):
            text, label = line.rstrip("\r").split("\t")
            yield Sentence(text.strip(), label, (source, label))


def unit_of(text):
    return " ".join(re.findall(r"\w+", text.lower()))


def hash_of(text):
    return hashlib.sha256(text.encode("utf-8")).hexdigest()


def split(sentences):
    units = collections.defaultdict(list)
    for sentence in sentences:
        units[unit_of(sentence.text)].append(sentence)
    held_out = collections.Counter()
    train, validation = [], []
    for name in sorted(units, key=hash_of):
        cells = collections.Counter(sentence.cell for sentence in units[name])
        fits = all(held_out[cell] + count <= HELD_OUT_PER_CELL for cell, count in cells.items())
        if fits:
            held_out.update(cells)
        (validation if fits else train).extend(units[name])
    return train, validation


def write(path, sentences):
    text = "".join(f"{sentence.text}\t{sentence.label}\n" for sentence in sentences)
    path.write_bytes(text.encode("utf-8"))
    print(f"{path.name}: {len(sentences)} sentences, sha256 {hashlib.sha256(text.encode('utf-8')).hexdigest()}")


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    here = pathlib.Path(__file__).resolve().parent
    train, validation = split(read_sentences(pathlib.Path(sys.argv[1])))
    write(here / "train.tsv", train)
    write(here / "validation.tsv", validation)


if __name__ == "__main__":
    main()
