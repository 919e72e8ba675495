"""The explorer: a phase diagram as one page that people can move in, from a server on this machine or from a file.

The page is plain ECMAScript under ``page/``; ``bundle`` makes it one HTML text, ``document`` what it shows, ``stored``
reads the stores of diagrams for it, ``export`` writes it, ``server`` serves it, ``notebook`` shows it inline.
"""
