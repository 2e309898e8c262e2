"""Compares the activations that `strata plan` estimates with the memory that training really takes.

    python bench/activations_vs_rss.py --strata build/strata --model all-MiniLM-L6-v2

Trains three updates at several batch sizes and lengths, on texts that fill every input, without and with frozen stages,
and reads the process's peak resident memory from the kernel. What the same run takes with one input of three tokens is
the rest: program, parameters, gradients, moments. Needs no package.
"""

import argparse
import json
import os
import subprocess
import tempfile
from pathlib import Path

CASES = [(8, 32), (8, 128), (32, 32), (32, 128), (8, 256), (4, 512)]
FROZEN = [('everything trains', None), ('two top groups', -2), ('the head alone', -1)]


def arguments(model, folder, batch, length, freeze_to):
    config = folder / 'run.toml'
    stage = '' if freeze_to is None else f'[[stage]]\nfreeze_to = {freeze_to}\n'
    config.write_text('layer_decay = 0.95\nmax_steps = 3\n' + stage)
    return ['--config', str(config), '--model_name_or_path', model, '--train_file', str(folder / 'train.tsv'),
            '--per_device_train_batch_size', str(batch), '--max_seq_length', str(length), '--bf16', 'false']


def peak_bytes(strata, folder, flags):
    command = [strata, 'train', *flags, '--output_dir', str(folder / 'run'), '--overwrite_output_dir', 'true',
               '--save_strategy', 'no', '--cache_frozen', 'false']
    process = subprocess.Popen(command, stdout=subprocess.PIPE, env={**os.environ, 'OMP_NUM_THREADS': '1'})
    output = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    if status != 0:
        raise SystemExit(f'{" ".join(command)} failed:\n{output.decode()}')
    return usage.ru_maxrss * 1024


def estimated_bytes(strata, folder, flags):
    plan = folder / 'plan.json'
    subprocess.run([strata, 'plan', *flags, '--json', str(plan)], check=True, stdout=subprocess.DEVNULL)
    return json.loads(plan.read_text())['stages'][0]['activations']['estimated_bytes']


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--strata', default='build/strata')
    parser.add_argument('--model', required=True)
    options = parser.parse_args()
    mebi = 1 << 20
    print(f'{"trains":20} {"batch":>5} {"length":>6} {"measured MiB":>13} {"estimated":>10} {"ratio":>6}')
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / 'train.tsv').write_text(''.join(f'{"the film was long " * 200}\t{i % 2}\n' for i in range(96)))
        for what, freeze_to in FROZEN:
            rest = peak_bytes(options.strata, folder, arguments(options.model, folder, 1, 3, freeze_to))
            for batch, length in CASES:
                flags = arguments(options.model, folder, batch, length, freeze_to)
                measured = peak_bytes(options.strata, folder, flags) - rest
                estimate = estimated_bytes(options.strata, folder, flags)
                print(f'{what:20} {batch:5} {length:6} {measured / mebi:13.1f} {estimate / mebi:10.1f} '
                      f'{estimate / measured:6.2f}', flush=True)


main()
