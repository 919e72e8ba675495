"""Closed forms that simulations are compared with; nothing here simulates.

For developers: this package imports layer 0 only, and neither ``systems`` nor ``classifiers`` imports it, so
an agreement between the two is evidence and not shared code.
"""

from trainphase.theory import cubic, regression

__all__ = ["cubic", "regression"]
