"""Trainings of a tiny pyramid on prepared images of buildings."""

import torch
from torch import nn

from geodamage.networks.feature_pyramid import FpnOutputs

TEXT = """
name = "cities"
network = "efficient_fpn_b0"
task = "localisation"
data = "buildings"
fold = 0
augmentation = "open_cities_localisation"
augmentation_crop = 32
batch = 4
steps = 6
lr = 1e-2
validate_every = 1
metric = "jaccard"
"""


class TinyFpn(nn.Module):
    """Three convolutions with the heads of Open Cities, a quarter of the size."""

    stride = 4

    def __init__(self):
        super().__init__()
        self.first = nn.Conv2d(3, 4, 4, 4)
        self.bce_logit, self.dice = nn.Conv2d(4, 2, 1), nn.Conv2d(4, 1, 1)
        self._fc = nn.Linear(4, 2)

    def forward(self, images):
        x = torch.relu(self.first(images))
        presence = self._fc(x.mean((2, 3)))
        return FpnOutputs(self.bce_logit(x), self.dice(x), presence, presence[:, :1])
