#!/usr/bin/env python3
"""Writes the sample model, Linear(10, 5) and Linear(5, 2), and eight samples for it; then trains it with plain PyTorch.

    python3 examples/two_layers/make_module.py runs/two_layers

The folder gets module.pt, train-features-idx2-float and train-labels-idx1-ubyte. The losses printed are those that
`strata train` must give.
"""
import copy
import pathlib
import struct
import sys

import torch
from torch import nn


class SimpleModel(nn.Module):
    def __init__(self):
        super().__init__()
        self.part1 = nn.Linear(10, 5)
        self.part2 = nn.Linear(5, 2)

    def forward(self, x):
        return self.part2(torch.relu(self.part1(x)))


def write_idx(path, kind, shape, data):
    path.write_bytes(bytes([0, 0, kind, len(shape)]) + b"".join(struct.pack(">I", n) for n in shape) + data)


def train(model, optimizer, inputs, targets):
    for epoch in range(3):
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(model(inputs), targets)
        loss.backward()
        optimizer.step()
        print(f"  Epoch {epoch + 1}, Loss: {loss.item():.4f}")


def main():
    folder = pathlib.Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(0)
    model = SimpleModel()
    inputs, targets = torch.randn(8, 10), torch.randint(0, 2, (8,))
    torch.jit.script(model).save(str(folder / "module.pt"))
    write_idx(folder / "train-features-idx2-float", 0x0D, (8, 10), struct.pack(">80f", *inputs.flatten().tolist()))
    write_idx(folder / "train-labels-idx1-ubyte", 0x08, (8,), bytes(targets.tolist()))
    for name, optimizer in (("SGD", lambda groups: torch.optim.SGD(groups, momentum=0.9)), ("Adam", torch.optim.Adam)):
        own = copy.deepcopy(model)
        print(f"{name}, part1 at 0.001, part2 at 0.01:")
        train(own, optimizer([{"params": own.part1.parameters(), "lr": 0.001},
                              {"params": own.part2.parameters(), "lr": 0.01}]), inputs, targets)


if __name__ == "__main__":
    main()
