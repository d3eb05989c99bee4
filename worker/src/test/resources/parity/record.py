"""Records what Python's PyTorch computes, for ParityTest to hold libtorch from Java against.

Made with Debian 12's python3-torch (PyTorch 1.13.0) and libopenblas0-pthread:
    OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 python3 record.py > parity.json
One thread, batches in file order, manual_seed alone. The pictures are made by SplitMix64 (class
ParityPictures makes the same), so that no data set is needed: noise, and a bright band whose place is the label.
"""
import json
import math

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

torch.set_num_threads(1)


def splitmix(i):
    z = i.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


def pictures(first, n, channels, size):
    """uint8 [n, channels, size, size] and int64 [n]: samples first, first + 1, ..."""
    samples = np.arange(first, first + n, dtype=np.uint64)
    labels = (splitmix(samples + np.uint64(1 << 40)) % np.uint64(10)).astype(np.int64)
    per = channels * size * size
    index = (samples[:, None] * np.uint64(per) + np.arange(per, dtype=np.uint64)[None]) + np.uint64(1)
    noise = (splitmix(index) >> np.uint64(57)).astype(np.int64).reshape(n, channels, size, size)
    band = (np.arange(size) * 10 // size)[None, None, :, None] == labels[:, None, None, None]
    return torch.from_numpy((noise + band * 128).astype(np.uint8)), torch.from_numpy(labels)


class LeNet(nn.Module):
    def __init__(s):
        super().__init__()
        s.conv1 = nn.Conv2d(3, 6, 5); s.conv2 = nn.Conv2d(6, 16, 5)
        s.fc1 = nn.Linear(400, 120); s.fc2 = nn.Linear(120, 84); s.fc3 = nn.Linear(84, 10)

    def forward(s, x):
        x = F.max_pool2d(F.relu(s.conv1(x)), 2)
        x = F.max_pool2d(F.relu(s.conv2(x)), 2)
        x = x.view(-1, 400)
        return s.fc3(F.relu(s.fc2(F.relu(s.fc1(x)))))


class MnistCnn(nn.Module):
    def __init__(s):
        super().__init__()
        s.layers = nn.Sequential(
            nn.Conv2d(1, 32, 3), nn.MaxPool2d(2, 2), nn.Conv2d(32, 64, 5), nn.MaxPool2d(2, 2), nn.Dropout2d(0.1),
            nn.AdaptiveMaxPool2d((1, 1)), nn.Flatten(), nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10))

    def forward(s, x):
        return s.layers(x)


class Residual(nn.Module):
    def __init__(s, i, o, down):
        super().__init__()
        st = 2 if down else 1
        s.conv1 = nn.Conv2d(i, o, 3, padding=1, stride=st); s.conv2 = nn.Conv2d(o, o, 3, padding=1)
        s.conv3 = nn.Conv2d(i, o, 1, stride=st) if down else None
        s.bn1 = nn.BatchNorm2d(o); s.bn2 = nn.BatchNorm2d(o)

    def forward(s, x):
        y = s.bn2(s.conv2(F.relu(s.bn1(s.conv1(x)))))
        if s.conv3 is not None:
            x = s.conv3(x)
        return F.relu(y + x)


def resnet18_d2l():
    blk = lambda i, o, first=False: nn.Sequential(Residual(i, o, not first), Residual(o, o, False))
    return nn.Sequential(
        nn.Conv2d(1, 64, 7, stride=2, padding=3), nn.BatchNorm2d(64), nn.ReLU(), nn.MaxPool2d(3, 2, 1),
        blk(64, 64, True), blk(64, 128), blk(128, 256), blk(256, 512),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(512, 10))


class BasicBlock(nn.Module):  # torchvision/models/resnet.py, by hand: torchvision is not packaged everywhere
    def __init__(s, i, o, stride, downsample):
        super().__init__()
        s.conv1 = nn.Conv2d(i, o, 3, stride, 1, bias=False); s.bn1 = nn.BatchNorm2d(o)
        s.conv2 = nn.Conv2d(o, o, 3, 1, 1, bias=False); s.bn2 = nn.BatchNorm2d(o)
        s.downsample = downsample

    def forward(s, x):
        y = s.bn2(s.conv2(F.relu(s.bn1(s.conv1(x)))))
        return F.relu(y + (x if s.downsample is None else s.downsample(x)))


class ResNet18(nn.Module):
    def __init__(s, channels, classes):
        super().__init__()
        s.conv1 = nn.Conv2d(channels, 64, 7, 2, 3, bias=False); s.bn1 = nn.BatchNorm2d(64)
        s.layer1 = s.layer(64, 64, 1); s.layer2 = s.layer(64, 128, 2)
        s.layer3 = s.layer(128, 256, 2); s.layer4 = s.layer(256, 512, 2)
        s.fc = nn.Linear(512, classes)
        for m in s.modules():
            if isinstance(m, nn.Conv2d):
                nn.init.kaiming_normal_(m.weight, mode="fan_out", nonlinearity="relu")
            elif isinstance(m, nn.BatchNorm2d):
                nn.init.constant_(m.weight, 1); nn.init.constant_(m.bias, 0)

    def layer(s, i, o, stride):
        down = None
        if stride != 1 or i != o:
            down = nn.Sequential(nn.Conv2d(i, o, 1, stride, bias=False), nn.BatchNorm2d(o))
        return nn.Sequential(BasicBlock(i, o, stride, down), BasicBlock(o, o, 1, None))

    def forward(s, x):
        x = F.max_pool2d(F.relu(s.bn1(s.conv1(x))), 3, 2, 1)
        x = s.layer4(s.layer3(s.layer2(s.layer1(x))))
        return s.fc(torch.flatten(F.adaptive_avg_pool2d(x, 1), 1))


class Flat(nn.Module):
    def __init__(s):
        super().__init__()
        s.net = nn.Linear(196, 10)

    def forward(s, x):
        return s.net(x.flatten(1))


def curve(make, optimizer, channels, size, batch, steps, normalise=None, reseed=False):
    torch.manual_seed(1)
    net = make()
    opt = optimizer(net.parameters())
    losses = []
    for step in range(1, steps + 1):
        x, y = pictures((step - 1) * batch, batch, channels, size)
        x = x.float().div_(255)
        if normalise:
            x = x.sub_(normalise[0]).div_(normalise[1])
        if reseed:
            torch.manual_seed(1000 + step)
        opt.zero_grad()
        loss = F.cross_entropy(net(x), y)
        loss.backward()
        opt.step()
        losses.append(loss.item())
    assert all(map(math.isfinite, losses))
    return losses


def initial(make):
    torch.manual_seed(1)
    state = make().state_dict()
    return {name: [list(t.shape), t.double().sum().item(), t.flatten()[0].item()] for name, t in state.items()}


SGD, Adam, AdamW = torch.optim.SGD, torch.optim.Adam, torch.optim.AdamW
print(json.dumps({
    "torch": torch.__version__,
    "initial": {
        "linear": initial(lambda: nn.Linear(196, 10)), "lenet": initial(LeNet), "mnist-cnn": initial(MnistCnn),
        "resnet18-d2l": initial(resnet18_d2l), "resnet18": initial(lambda: ResNet18(3, 7)),
    },
    "curves": {
        "lenet": curve(LeNet, lambda p: SGD(p, lr=0.01, momentum=0.9), 3, 32, 4, 200, normalise=(0.5, 0.5)),
        "mnist-cnn": curve(MnistCnn, lambda p: Adam(p, lr=0.001), 1, 28, 32, 50, reseed=True),
        "resnet18-d2l": curve(resnet18_d2l, lambda p: SGD(p, lr=0.001), 1, 64, 8, 2),
        "resnet18": curve(lambda: ResNet18(3, 10), lambda p: SGD(p, lr=0.001), 3, 64, 8, 2),
        "sgd": curve(Flat, lambda p: SGD(p, lr=0.02), 1, 14, 8, 40),
        "sgd-nesterov": curve(Flat, lambda p: SGD(p, lr=0.02, momentum=0.9, weight_decay=0.01, nesterov=True), 1, 14, 8, 40),
        "adam": curve(Flat, lambda p: Adam(p, lr=0.002, betas=(0.8, 0.99), eps=1e-7, weight_decay=0.01), 1, 14, 8, 40),
        "adamw": curve(Flat, lambda p: AdamW(p, lr=0.002), 1, 14, 8, 40),
    },
}, indent=1))
