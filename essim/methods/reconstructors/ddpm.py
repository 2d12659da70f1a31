"""The paper's DDPM (Behrendt et al., ISBI 2024, arXiv 2403.14262): noised to t = 500 and predicted back in one step.

    y = f(sqrt(abar_t) x + sqrt(1 - abar_t) noise, t)

The mean of n draws is what `essim.reconstruct.reconstruct_volume` gives with `draws=n`. Published for l1 by the same
group (arXiv 2312.04215), Dice and AUPRC: tumours .443 and .500, strokes .129 and .157, WMH .100 and .089, MS .048 and
.064.
"""

from essim.methods.chain import noised, predict_slice, steps_from
from essim.methods.draws import by_draws
from essim.reconstruct import tone_for

DRAWS, NETWORK = 1, "ddpm"
SHARE = 0.5  # of T


def reconstruct(model, image, mask, *, draws, seed):
    """As `essim.methods.reconstructors` says; `model` is a `GaussianDiffusion`."""
    tone, (step,) = tone_for(model, image, mask), steps_from(model, SHARE)

    def predict(x, seed):
        return predict_slice(model, noised(model, x, step, seed)[0], step, tone)

    return by_draws(predict, image, mask, model.betas.device, draws=draws, seed=seed)
