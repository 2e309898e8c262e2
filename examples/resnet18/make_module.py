#!/usr/bin/env python3
"""Writes ResNet-18 (He et al. 2015, arXiv 1512.03385) as a TorchScript module, freshly initialised.

    python3 examples/resnet18/make_module.py runs/resnet18.pt [--channels 1] [--classes 10]

Names and shapes are torchvision's and timm's: 62 parameter tensors under conv1, bn1, layer1 ... layer4, fc. With either
installed, a pretrained one is as short:

    model = timm.create_model("resnet18", pretrained=True, in_chans=1, num_classes=10)
    torch.jit.script(model).save("runs/resnet18.pt")
"""
import argparse

import torch
from torch import nn


class BasicBlock(nn.Module):
    def __init__(self, inputs, outputs, stride):
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.downsample = nn.Identity()
        if stride != 1 or inputs != outputs:
            self.downsample = nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))

    def forward(self, x):
        y = torch.relu(self.bn1(self.conv1(x)))
        return torch.relu(self.bn2(self.conv2(y)) + self.downsample(x))


class ResNet18(nn.Module):
    def __init__(self, channels, classes):
        super().__init__()
        self.conv1 = nn.Conv2d(channels, 64, 7, stride=2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        self.maxpool = nn.MaxPool2d(3, stride=2, padding=1)
        self.layer1 = nn.Sequential(BasicBlock(64, 64, 1), BasicBlock(64, 64, 1))
        self.layer2 = nn.Sequential(BasicBlock(64, 128, 2), BasicBlock(128, 128, 1))
        self.layer3 = nn.Sequential(BasicBlock(128, 256, 2), BasicBlock(256, 256, 1))
        self.layer4 = nn.Sequential(BasicBlock(256, 512, 2), BasicBlock(512, 512, 1))
        self.fc = nn.Linear(512, classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, x):
        x = self.maxpool(torch.relu(self.bn1(self.conv1(x))))
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        return self.fc(x.mean((2, 3)))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("file")
    parser.add_argument("--channels", type=int, default=1, help="1 for Fashion-MNIST, 3 for colours")
    parser.add_argument("--classes", type=int, default=10)
    arguments = parser.parse_args()
    torch.manual_seed(0)
    module = torch.jit.script(ResNet18(arguments.channels, arguments.classes))
    module.save(arguments.file)
    tensors = list(module.named_parameters())
    print(f"{arguments.file}: {len(tensors)} parameter tensors, {sum(t.numel() for _, t in tensors):,} numbers")


if __name__ == "__main__":
    main()
