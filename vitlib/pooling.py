"""How an answer is read off the tokens, where it is neither one of them nor their plain mean."""

from torch import Tensor, nn


class SequencePool(nn.Linear):
    """A mean of the tokens whose weights the model learns: (B, N, D) -> (B, D).

    A linear layer gives each token one number, and a softmax over the tokens makes weights of them. With a layer of
    zeros it is the plain mean. Source: Hassani et al. 2021, "Escaping the big data paradigm with compact transformers",
    section 3.1.2. Built in chapter 18.
    """

    def __init__(self, dim: int):
        super().__init__(dim, 1)

    def forward(self, x: Tensor) -> Tensor:
        weights = super().forward(x).softmax(dim=1)  # (B, N, 1)
        return (weights * x).sum(dim=1)


POOLS = {"sequence": SequencePool}
