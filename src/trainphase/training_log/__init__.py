"""The reading of a recorded training run: its phases, its distance to the edge, and the catapults it went through.

A record is the loss at some steps and, at some, the sharpness that matters for the optimiser in use: of the Hessian for
full-batch methods without a preconditioner, of the preconditioned Hessian for Adam and RMSProp, batch sharpness for
minibatches. All is judged on the *ratio* = sharpness / threshold, 1 at the edge, for every optimiser alike
(``theory.thresholds`` has the thresholds). Labels are those of the vocabularies ``edge`` and ``training``, with the bands
of ``classifiers``: at the edge is within 0.1 of 1, sharper is a rise by more than 5 %. Two things differ for a record, which
ends where its user stops it:

- ``edge`` is read at the end of the record. A run that is below the band and rising is ``sharpening``, whatever it would
  become; within the band it is ``edge-of-stability`` only if it has met the edge and stays, or has come to rest there.
- ``training`` says ``monotonic`` or ``catapult`` only where the loss falls without rises in the second half and the ratio,
  drift included, stays below 1. A run that goes up and down at the edge is ``undecided`` here.

Numbers only: no JAX, and no knowledge of where a record came from.
"""

from trainphase.training_log.reading import Evidence, LogReading, read
from trainphase.training_log.record import Distance, Record, Spike, make_record

__all__ = ["Distance", "Evidence", "LogReading", "Record", "Spike", "make_record", "read"]
