"""Papers, figure by figure: each is drawn from our own runs, and each claim gets a verdict, paper against measured.

``papers`` knows the names, ``claims`` says what a claim and its verdict are, ``context`` keeps computed data on disk,
``runner`` runs items and writes pictures and tables. One package per paper holds ``FIGURES``.

For developers: a new item is a ``runner.Figure`` in the tuple ``FIGURES`` of its paper's package, and its name in
``papers.PAPERS``. Nothing is imported here, so that lists and help stay quick.
"""
