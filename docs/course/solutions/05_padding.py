"""Solution of exercise 5: padding decides how long the feature map is."""


def zeros(f, padding):
    if padding == "valid":
        return 0, 0
    if padding == "same":
        return (f - 1) // 2, f // 2
    if padding == "causal":
        return f - 1, 0
    raise ValueError(f"unknown padding {padding!r}")


def map_length(n, f, left, right):
    return left + n + right - f + 1
