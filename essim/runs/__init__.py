"""What makes a run safe to repeat.

In: parameters, jobs, results. Out: files that are there whole or not at all, and a record of what made them.
Imports: settings. Every other room may import this one.

    params       a notebook's parameters, validated
    files        write whole or not at all
    provenance   what made a number, written beside it
    workers      parallel jobs, in processes that may die
"""
