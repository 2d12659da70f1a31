"""Training as figures: the loss over the steps, and what longer training does for the scores.

In: the logs of essim.train; the table of `essim.evaluation.scoring.training_length`. Out: a matplotlib Figure.
"""

from essim.figures.style import BLUE, ORANGE, SET_NAMES, method_styles, new_figure, series_styles, set_ticks


def plot_training_curves(logs):
    """Training and validation loss over the steps: {title: log of `essim.train.loop.train`}."""
    figure, axes = new_figure(1, len(logs), 3.4 * len(logs), 2.6, sharey=True)
    for axis, (title, log) in zip(axes[0], logs.items(), strict=True):
        axis.plot(log.step, log.train_loss, color=ORANGE, linestyle="--", label="training")
        axis.plot(log.step, log.val_loss, color=BLUE, label="validation")
        best = log.loc[log.val_loss.idxmin()]
        axis.plot(best.step, best.val_loss, "*", color="black", markersize=9, label="best (kept)")
        axis.set(title=title, xlabel="training step", yscale="log")
        axis.yaxis.set_major_formatter("{x:g}")
        axis.yaxis.set_minor_formatter("{x:.2g}")
        axis.tick_params(axis="y", which="minor", labelsize=7)
    axes[0, 0].set_ylabel("l1 loss")
    axes[0, -1].legend()
    return figure


def plot_training_length(table):
    """AUPRC over training steps, one panel per set; last, the mean |x - y| in healthy brain.

    `table`: dataset, step, method, auprc, error.
    """
    names, methods = table.dataset.unique(), method_styles(table.method.unique())
    figure, axes = new_figure(1, len(names) + 1, 2.1 * (len(names) + 1), 2.5)
    *panels, last = axes[0]
    for axis, (name, series) in zip(panels, series_styles(names).items(), strict=True):
        part = table[table.dataset == name]
        for method, line in part.groupby("method", sort=False):
            axis.plot(line.step, line.auprc, label=methods[method].label, **methods[method].curve)
        axis.set_title(SET_NAMES[name])
        errors = part.drop_duplicates("step")
        last.plot(errors.step, errors.error, label=SET_NAMES[name], **series)
    last.set(title="Error in healthy brain", ylabel="mean |x \N{MINUS SIGN} y|")
    for axis, part in zip(axes[0], [*(table[table.dataset == name] for name in names), table], strict=True):
        axis.set(xscale="log", xlabel="training step", ylim=(0, 1.1 * axis.dataLim.y1))  # no marker is cut at the top
        set_ticks(axis.xaxis, part.step.unique())
    panels[0].set_ylabel("AUPRC (validation)")
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=len(methods))
    last.legend()
    return figure
