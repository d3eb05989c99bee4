"""The work of `baton bench train`, in PyTorch's Python front end: what the GPU check measures against.

Usage: torch_peer.py WORKLOAD DEVICE PRECISION STEPS [DATA]
Prints one line of JSON with the keys of `baton bench train`. Times the training loop alone, after three steps.
TF32 is off, as it is in Baton; everything else is as PyTorch has it.
"""
import gzip
import json
import os
import struct
import sys
import time

import torch
import torch.nn.functional as F
from torch import nn

workload, device, precision, steps = sys.argv[1], torch.device(sys.argv[2]), sys.argv[3], int(sys.argv[4])
WARM_UP = 3
torch.backends.cuda.matmul.allow_tf32 = False
torch.backends.cudnn.allow_tf32 = False
if device.type == "cpu":
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
torch.manual_seed(1)


def idx(folder, name):
    for path, opener in ((os.path.join(folder, name), open), (os.path.join(folder, name + ".gz"), gzip.open)):
        if os.path.exists(path):
            with opener(path, "rb") as file:
                data = bytearray(file.read())
            shape = struct.unpack(">" + "I" * data[3], data[4 : 4 + 4 * data[3]])
            return torch.frombuffer(data, dtype=torch.uint8, offset=4 + 4 * data[3]).reshape(shape)
    raise SystemExit(f"{folder}: no {name}")


class LeNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(3, 6, 5), nn.Conv2d(6, 16, 5)
        self.fc1, self.fc2, self.fc3 = nn.Linear(400, 120), nn.Linear(120, 84), nn.Linear(84, 10)

    def forward(self, x):
        x = F.max_pool2d(F.relu(self.conv1(x)), 2)
        x = F.max_pool2d(F.relu(self.conv2(x)), 2)
        return self.fc3(F.relu(self.fc2(F.relu(self.fc1(x.flatten(1))))))


def mnist_cnn():
    return nn.Sequential(
        nn.Conv2d(1, 32, 3), nn.MaxPool2d(2), nn.Conv2d(32, 64, 5), nn.MaxPool2d(2), nn.Dropout2d(0.1),
        nn.AdaptiveMaxPool2d(1), nn.Flatten(), nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10))


class Residual(nn.Module):
    def __init__(self, inputs, outputs, halve):
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, padding=1, stride=2 if halve else 1)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1)
        self.conv3 = nn.Conv2d(inputs, outputs, 1, stride=2) if halve else nn.Identity()
        self.bn1, self.bn2 = nn.BatchNorm2d(outputs), nn.BatchNorm2d(outputs)

    def forward(self, x):
        return F.relu(self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x))))) + self.conv3(x))


def resnet18():
    layers = [nn.Conv2d(1, 64, 7, stride=2, padding=3), nn.BatchNorm2d(64), nn.ReLU(), nn.MaxPool2d(3, 2, 1)]
    inputs = 64
    for outputs in (64, 128, 256, 512):
        layers += [Residual(inputs, outputs, outputs != inputs), Residual(outputs, outputs, False)]
        inputs = outputs
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(512, 10))


shuffle, accuracy = True, None
if workload == "linreg":
    n = 1_000_000
    x = 10 * torch.rand(n, 2) - 5
    y = x @ torch.tensor([[2.0], [-3.0]]) + 10 + 2 * torch.randn(n, 1)
    net, batch, shuffle, steps = nn.Linear(2, 1), n, False, steps or 500
elif workload == "lenet-cifar":
    x, y = torch.randn(4000, 3, 32, 32), torch.randint(10, (4000,))
    net, batch, steps = LeNet(), 4, steps or 3997
elif workload == "mnist-cnn":
    folder = os.path.join(sys.argv[5], "mnist")
    x = idx(folder, "train-images-idx3-ubyte").float().div_(255).unsqueeze(1)
    y = idx(folder, "train-labels-idx1-ubyte").long()
    net, batch = mnist_cnn(), 128
    steps = steps or len(x) // batch - WARM_UP
elif workload == "resnet18":
    x, y = torch.rand(512, 1, 96, 96), torch.randint(10, (512,))
    net, batch, steps = resnet18(), 256, steps or 3
else:
    raise SystemExit(f"unknown workload {workload}")

net, x, y = net.to(device), x.to(device), y.to(device)
optimizer = {
    "linreg": lambda p: torch.optim.Adam(p, lr=0.1),
    "lenet-cifar": lambda p: torch.optim.SGD(p, lr=0.001, momentum=0.9),
    "mnist-cnn": lambda p: torch.optim.Adam(p, lr=0.02),
    "resnet18": lambda p: torch.optim.Adam(p, lr=0.001),
}[workload](net.parameters())
loss_of = nn.MSELoss() if workload == "linreg" else nn.CrossEntropyLoss()


def batches():
    while True:
        if not shuffle:
            yield x, y
            continue
        order = torch.randperm(len(x), device=device)
        for at in range(0, len(x) - batch + 1, batch):
            chosen = order[at : at + batch]
            yield x[chosen], y[chosen]


def wait():
    if device.type == "cuda":
        torch.cuda.synchronize()


for step, (inputs, targets) in enumerate(batches()):
    if step == WARM_UP:
        wait()
        begin = time.perf_counter()
    if step == steps + WARM_UP:
        break
    optimizer.zero_grad()
    with torch.autocast(device.type, dtype=torch.bfloat16, enabled=precision == "bf16"):
        loss = loss_of(net(inputs), targets)
    loss.backward()
    optimizer.step()
wait()
seconds = time.perf_counter() - begin
print(json.dumps({
    "workload": workload, "torch": torch.__version__, "device": device.type, "precision": precision,
    "threads": torch.get_num_threads(), "steps": steps, "seconds": round(seconds, 3),
    "us_per_step": round(seconds / steps * 1e6, 1), "loss": round(loss.item(), 5),
    "peak_mib": torch.cuda.max_memory_allocated() >> 20 if device.type == "cuda" else 0}))
