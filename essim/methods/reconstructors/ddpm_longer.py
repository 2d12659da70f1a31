"""The paper's DDPM, with the network of the study itself: what a longer training adds to `ddpm`.

    y = f(sqrt(abar_t) x + sqrt(1 - abar_t) noise, t)

With pretrained networks, the study's own has seen many more slices than the methods' networks. To give all methods one
budget, `make methods` then trains the DDPM once more, for as long as the others. All entries that share the DDPM's
network take this new one; this entry alone takes the study's.
"""

from essim.methods.reconstructors import ddpm

DRAWS, NETWORK = 1, "ddpm"
reconstruct = ddpm.reconstruct
