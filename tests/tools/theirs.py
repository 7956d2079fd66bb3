"""Networks as others write them down: modules whose state dicts have torchvision's names, or those of the QCFS code."""

from __future__ import annotations

import torch
from torch import nn


class Threshold(nn.Module):
    """The clip with a learned threshold, quantised to levels, of shape (1,); its name changed between the versions."""

    def __init__(self, name="thresh", levels=4):
        super().__init__()
        self.name, self.levels = name, levels
        self.register_parameter(name, nn.Parameter(torch.tensor([8.0])))

    def forward(self, x):
        bound = getattr(self, self.name)
        return (torch.floor(x / bound * self.levels + 0.5) / self.levels).clamp(0, 1) * bound


class TorchvisionBlock(nn.Module):
    def __init__(self, inputs, outputs, stride, shortcut="downsample"):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False), nn.BatchNorm2d(outputs)
        self.conv2, self.bn2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False), nn.BatchNorm2d(outputs)
        self.name = shortcut if stride != 1 or inputs != outputs else ""
        if self.name:
            conv = nn.Conv2d(inputs, outputs, 1, stride, bias=False)
            self.add_module(shortcut, nn.Sequential(conv, nn.BatchNorm2d(outputs)))

    def forward(self, x):
        y = self.bn2(self.conv2(torch.relu(self.bn1(self.conv1(x)))))
        return torch.relu(y + (getattr(self, self.name)(x) if self.name else x))


class TorchvisionResNet(nn.Module):
    def __init__(self, counts, width, classes, imagenet, shortcut="downsample", last="fc"):
        super().__init__()
        self.imagenet, self.last, self.counts = imagenet, last, counts
        stem = nn.Conv2d(3, width, 7, 2, 3, bias=False) if imagenet else nn.Conv2d(3, width, 3, 1, 1, bias=False)
        self.conv1, self.bn1 = stem, nn.BatchNorm2d(width)
        inputs = width
        for stage, count in enumerate(counts):
            blocks, outputs = [], width << stage
            for block in range(count):
                blocks.append(TorchvisionBlock(inputs, outputs, 2 if stage and not block else 1, shortcut))
                inputs = outputs
            self.add_module(f"layer{stage + 1}", nn.Sequential(*blocks))
        self.add_module(last, nn.Linear(inputs, classes))

    def forward(self, x):
        x = torch.relu(self.bn1(self.conv1(x)))
        if self.imagenet:
            x = nn.functional.max_pool2d(x, 3, 2, 1)
        for stage in range(len(self.counts)):
            x = getattr(self, f"layer{stage + 1}")(x)
        return getattr(self, self.last)(x.mean((2, 3)))


class TorchvisionInvertedResidual(nn.Module):
    def __init__(self, inputs, outputs, stride, expansion):
        super().__init__()
        hidden = inputs * expansion
        layers = [conv_norm_relu6(inputs, hidden, 1)] if expansion != 1 else []
        layers.append(conv_norm_relu6(hidden, hidden, 3, stride, groups=hidden))
        self.conv = nn.Sequential(*layers, nn.Conv2d(hidden, outputs, 1, bias=False), nn.BatchNorm2d(outputs))
        self.residual = stride == 1 and inputs == outputs

    def forward(self, x):
        return x + self.conv(x) if self.residual else self.conv(x)


class TorchvisionMobileNetV2(nn.Module):
    def __init__(self, width, classes):
        super().__init__()
        inputs, layers = width, [conv_norm_relu6(3, width, 3, 2)]
        for expansion, channels, count, stride in (
            (1, 16, 1, 1),
            (6, 24, 2, 2),
            (6, 32, 3, 2),
            (6, 64, 4, 2),
            (6, 96, 3, 1),
            (6, 160, 3, 2),
            (6, 320, 1, 1),
        ):
            for block in range(count):
                outputs = channels * width // 32
                layers.append(TorchvisionInvertedResidual(inputs, outputs, 1 if block else stride, expansion))
                inputs = outputs
        self.features = nn.Sequential(*layers, conv_norm_relu6(inputs, 40 * width, 1))
        self.classifier = nn.Sequential(nn.Dropout(0.2), nn.Linear(40 * width, classes))

    def forward(self, x):
        return self.classifier(self.features(x).mean((2, 3)))


def conv_norm_relu6(inputs, outputs, kernel, stride=1, groups=1):
    conv = nn.Conv2d(inputs, outputs, kernel, stride, (kernel - 1) // 2, groups=groups, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(outputs), nn.ReLU6())


class TorchvisionVGG16(nn.Module):
    def __init__(self, width, classes, hidden):
        super().__init__()
        layers, inputs = [], 3
        for stage, count in enumerate((2, 2, 3, 3, 3)):
            for _ in range(count):
                outputs = width * min(1 << stage, 8)
                layers += [nn.Conv2d(inputs, outputs, 3, padding=1), nn.BatchNorm2d(outputs), nn.ReLU()]
                inputs = outputs
            layers.append(nn.MaxPool2d(2, 2))
        self.features = nn.Sequential(*layers)
        hidden_layers = [nn.Linear(inputs, hidden), nn.ReLU(), nn.Dropout(), nn.Linear(hidden, hidden), nn.ReLU()]
        self.classifier = nn.Sequential(*hidden_layers, nn.Dropout(), nn.Linear(hidden, classes))

    def forward(self, x):
        return self.classifier(self.features(x).flatten(1))


class QCFSBlock(nn.Module):
    def __init__(self, inputs, outputs, stride, threshold):
        super().__init__()
        self.residual_function = nn.Sequential(
            nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False),
            nn.BatchNorm2d(outputs),
            Threshold(threshold),
            nn.Conv2d(outputs, outputs, 3, padding=1, bias=False),
            nn.BatchNorm2d(outputs),
        )
        self.shortcut = nn.Sequential()
        if stride != 1 or inputs != outputs:
            self.shortcut = nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))
        self.last = "act" if threshold == "thresh" else "relu"
        self.add_module(self.last, Threshold(threshold))

    def forward(self, x):
        return getattr(self, self.last)(self.residual_function(x) + self.shortcut(x))


class QCFSResNet(nn.Module):
    def __init__(self, counts, width, classes, threshold):
        super().__init__()
        self.conv1 = nn.Sequential(
            nn.Conv2d(3, width, 3, padding=1, bias=False), nn.BatchNorm2d(width), Threshold(threshold)
        )
        self.counts, inputs = counts, width
        for stage, count in enumerate(counts):
            blocks, outputs = [], width << stage
            for block in range(count):
                blocks.append(QCFSBlock(inputs, outputs, 2 if stage and not block else 1, threshold))
                inputs = outputs
            self.add_module(f"conv{stage + 2}_x", nn.Sequential(*blocks))
        self.fc = nn.Linear(inputs, classes)

    def forward(self, x):
        x = self.conv1(x)
        for stage in range(len(self.counts)):
            x = getattr(self, f"conv{stage + 2}_x")(x)
        return self.fc(x.mean((2, 3)))


class QCFSVGG16(nn.Module):
    def __init__(self, width, classes, hidden, threshold):
        super().__init__()
        inputs = 3
        for stage, count in enumerate((2, 2, 3, 3, 3)):
            layers = []
            for _ in range(count):
                outputs = width * min(1 << stage, 8)
                conv = nn.Conv2d(inputs, outputs, 3, padding=1)
                layers += [conv, nn.BatchNorm2d(outputs), Threshold(threshold), nn.Dropout(0.0)]
                inputs = outputs
            self.add_module(f"layer{stage + 1}", nn.Sequential(*layers, nn.AvgPool2d(2, 2)))
        self.classifier = nn.Sequential(nn.Flatten())
        for features in (inputs, hidden):
            for layer in (nn.Linear(features, hidden), Threshold(threshold), nn.Dropout(0.0)):
                self.classifier.append(layer)
        self.classifier.append(nn.Linear(hidden, classes))

    def forward(self, x):
        for stage in range(1, 6):
            x = getattr(self, f"layer{stage}")(x)
        return self.classifier(x)
