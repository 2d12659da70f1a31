"""The paper's DDPM, with the network of the study itself: what a longer training adds to `ddpm`.

    y = f(sqrt(abar_t) x + sqrt(1 - abar_t) noise, t)

With pretrained networks the study's own has seen many more slices than the methods' networks. So that all methods have
one budget, `make methods` then trains the DDPM once more, as long as the others; all entries that share its network
take that one, and this entry alone the study's.
"""

from essim.methods.reconstructors import ddpm

DRAWS, NETWORK = 1, "ddpm"
reconstruct = ddpm.reconstruct
