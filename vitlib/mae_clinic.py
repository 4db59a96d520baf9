"""Faults of masked autoencoders, to be planted one at a time: `infect(model, name)`."""

import torch
from torch import Tensor

from .mae import MaskedAutoencoder, take


class OneMask(MaskedAutoencoder):
    """One mask for all images of a batch. Built in chapter 16."""

    def forward(self, images: Tensor, noise: Tensor) -> Tensor:
        return super().forward(images, noise[:1].expand_as(noise))


class LatePlaces(MaskedAutoencoder):
    """Positions added after masking: the n patches that stay get the first n codes. Built in chapter 16."""

    def encode(self, images: Tensor, kept: Tensor) -> Tensor:
        codes = self.encoder.pos_embed[:, -self.encoder.patch_embed.num_patches:]  # (1, N, D)
        before, patches = self.encoder.embed(images).tensor_split([self.encoder.prefix], dim=1)
        late = take(patches - codes, kept) + codes[:, :kept.shape[1]]  # (B, n, D)
        return self.encoder.encode(torch.cat([before, late], dim=1))


class LostPlaces(MaskedAutoencoder):
    """A decoder without positions: all hidden patches enter it alike. Built in chapter 16."""

    def predict(self, images: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
        with torch.no_grad():
            self.decoder.pos_embed.zero_()
        return super().predict(images, noise)


class RawPixels(MaskedAutoencoder):
    """Images that go in as 0…255, without `normalise`. Built in chapter 16."""

    def forward(self, images: Tensor, noise: Tensor) -> Tensor:
        return super().forward(255 * (0.25 * images + 0.5), noise)


FAULTS = {"one mask for a batch": OneMask, "positions after the mask": LatePlaces,
          "a decoder without positions": LostPlaces, "pixels from 0 to 255": RawPixels}


def infect(model: MaskedAutoencoder, name: str) -> MaskedAutoencoder:
    """Plant a fault in a model, in place: its class becomes the faulty one, its weights stay. Built in chapter 16."""
    if name not in FAULTS:
        raise ValueError(f"there is no fault {name!r}; there are {', '.join(FAULTS)}")
    model.__class__ = FAULTS[name]
    return model
