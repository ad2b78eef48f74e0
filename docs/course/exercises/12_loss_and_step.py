"""Exercise 12: the loss, its gradient, and one step.

A unit predicts one number for each sample of a batch: prediction = x @ W + b. The loss is the mean
squared error. Its gradient says in which direction the loss rises, so a step goes the other way.
This is SGD, stochastic gradient descent.

Fill in each `...`, then run: python 12_loss_and_step.py
"""

import numpy as np


def loss(prediction, target):
    """Return the mean squared error: one number.  Both arguments: shape (batch,)."""
    return ...


def gradients(x, prediction, target):
    """Return (dW, db), the derivatives of the loss with respect to each weight and to the bias.

    By the chain rule: first the derivative of the loss with respect to each prediction, then that
    of the prediction with respect to W and b, summed over the batch.

    x: shape (batch, n).  prediction, target: shape (batch,).  dW: shape (n,).  db: one number.
    """
    dprediction = ...  # shape (batch,)
    dW = ...
    db = ...
    return dW, db


def step(W, b, dW, db, learning_rate):
    """Return the new (W, b), after one step downhill.  Compute new arrays: do not change W."""
    return ...


if __name__ == "__main__":
    from _session5 import loss_and_step  # needs _session5.py and _checking.py in the same folder

    loss_and_step.check(globals())
