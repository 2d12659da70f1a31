"""Training: healthy slices in, a model folder out.

In: the scan table and settings. Out: a model folder: weights, description and log of the diffusion model (which
`essim.models.load_model` reads) and of the autoencoders that it is compared with.
Imports: core, data, runs; nothing here knows of patients or scores.

    loop         training the diffusion model; its command line is `python -m essim.train SETTINGS OUT`
    autoencoder  the autoencoder and the VAE, and how they are trained
    slices       healthy volumes in memory, served as batches of axial slices
    augment      the protocol's augmentations of a batch
    randomise    a batch as other scanners would show it
    optim        optimizers, learning rate, when to validate
    checkpoints  what a training leaves on disk: its state while it runs, the model folder at its end
    trained      networks that are taken from models/, or released to it
"""
