"""Exercise 5: padding decides how long the feature map is.

Zeros are put before and behind the series, and the kernel slides over all of it.

- "valid": no zeros. The map is shorter than the series. This is THE DEFAULT of Conv1d, in tinynn
  as in Keras.
- "same": f - 1 zeros in all, half of them on each side. The map is as long as the series. This is
  what the lecture draws. If f - 1 is odd, the side behind the series gets one more.
- "causal": f - 1 zeros, all of them before the series. No output sees a later input.

Fill in each `...`, then run: python 05_padding.py
"""


def zeros(f, padding):
    """Return (left, right): how many zeros a kernel of f weights needs on each side.

    padding: "valid", "same" or "causal".
    """
    if padding == "valid":
        return ...
    if padding == "same":
        return ...
    if padding == "causal":
        return ...
    raise ValueError(f"unknown padding {padding!r}")


def map_length(n, f, left, right):
    """Return how long the feature map of n values is, with zeros at the left and right."""
    return ...


if __name__ == "__main__":
    from _session2 import padding  # needs _session2.py and _checking.py in the same folder

    padding.check(globals())
