"""The field's methods in one harness: reconstructors make a scan healthy, scores say where the two differ.

In: a scan and its brain mask; a trained network where a method needs one. Out: reconstructions [draws, H, W, D], and
anomaly maps [H, W, D]. A new method is one file in reconstructors/ or scores/, and one line of the profile.
Imports: core, train.

    reconstructors  one file each: `reconstruct`, and what it trains
    scores          one file each: `score`
    registry        finds both
    context         what a score is given besides scan and reconstructions, and the checks that all of them share
    networks        trains the network of a method, and reads it back
    draws           a volume reconstructed several times, slice by slice
    chain           from a noised slice back to one, in one step or several
"""
