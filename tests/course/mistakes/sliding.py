"""Typical mistakes in exercises 3 to 5, as a student would write them."""

import numpy as np


class _03_sliding:
    def feature_map__flipped(x, kernel):
        """the kernel is turned round"""
        return np.convolve(x, kernel, "valid")

    def feature_map__off_by_one(x, kernel):
        """the last location is missing"""
        f = len(kernel)
        y = np.zeros(len(x) - f)
        for j in range(len(y)):
            y[j] = np.dot(x[j : j + f], kernel)
        return y

    def feature_map__jumps(x, kernel):
        """jumps by its own length"""
        f = len(kernel)
        return np.array([x[j : j + f] @ kernel for j in range(0, len(x) - f + 1, f)])

    def feature_map__moving_sum(x, kernel):
        """the weights are not used"""
        f = len(kernel)
        y = np.zeros(len(x) - f + 1)
        for j in range(len(y)):
            y[j] = x[j : j + f].sum()
        return y

    def feature_map__too_long(x, kernel):
        """the kernel runs out of the series"""
        y = np.zeros(len(x))
        for j in range(len(y)):
            y[j] = x[j : j + len(kernel)] @ kernel
        return y

    def feature_map__before_the_beginning(x, kernel):
        """the first window is empty or too short"""
        f = len(kernel)
        y = np.zeros(len(x) - f + 1)
        for j in range(len(y)):
            y[j] = x[j - 1 : j + f - 1] @ kernel
        return y

    def feature_map__three(x, kernel):
        """it is right for kernels of 3 weights only"""
        y = np.zeros(len(x) - 2)
        for j in range(len(y)):
            y[j] = x[j : j + 3] @ kernel
        return y

    def feature_map__index(x, kernel):
        """an index is beyond the end"""
        y = np.zeros(len(x))
        for j in range(len(x)):
            for k in range(len(kernel)):
                y[j] += x[j + k] * kernel[k]
        return y

    def feature_map__same(x, kernel):
        """the map is as long as the series"""
        f = len(kernel)
        x = np.concatenate([np.zeros((f - 1) // 2), x, np.zeros(f // 2)])
        return np.array([x[j : j + f] @ kernel for j in range(len(x) - f + 1)])

    def feature_map__products(x, kernel):
        """the products are not added up"""
        f = len(kernel)
        return np.array([x[j : j + f] * kernel for j in range(len(x) - f + 1)])


class _04_neighbourhood:
    def neighbourhood__half(x, f, j):
        """the location i is no whole number"""
        values = np.zeros(f)
        for k in range(f):
            i = j - f / 2 + k
            if 0 <= i < len(x):
                values[k] = x[i]
        return values

    def neighbourhood__whole_width(x, f, j):
        """the values end before location j"""
        values = np.zeros(f)
        for k in range(f):
            i = j - f + k
            if 0 <= i < len(x):
                values[k] = x[i]
        return values

    def neighbourhood__begins(x, f, j):
        """the values begin at location j"""
        values = np.zeros(f)
        for k in range(f):
            if 0 <= j + k < len(x):
                values[k] = x[j + k]
        return values

    def neighbourhood__ends(x, f, j):
        """the values end at location j"""
        values = np.zeros(f)
        for k in range(f):
            i = j - f + 1 + k
            if 0 <= i < len(x):
                values[k] = x[i]
        return values

    def neighbourhood__from_one(x, f, j):
        """one location too early"""
        values = np.zeros(f)
        for k in range(f):
            i = j - 1 - f // 2 + k
            if 0 <= i < len(x):
                values[k] = x[i]
        return values

    def neighbourhood__negative(x, f, j):
        """before the beginning it goes on at the end"""
        values = np.zeros(f)
        for k in range(f):
            i = j - f // 2 + k
            if i < len(x):
                values[k] = x[i]
        return values

    def neighbourhood__beyond(x, f, j):
        """an index is beyond the end"""
        values = np.zeros(f)
        for k in range(f):
            i = j - f // 2 + k
            if i >= 0:
                values[k] = x[i]
        return values

    def neighbourhood__below_f(x, f, j):
        """i is compared with f"""
        values = np.zeros(f)
        for k in range(f):
            i = j - f // 2 + k
            if 0 <= i < f:
                values[k] = x[i]
        return values

    def neighbourhood__not_zero(x, f, j):
        """the value at location 0 is left out"""
        values = np.zeros(f)
        for k in range(f):
            i = j - f // 2 + k
            if 0 < i < len(x):
                values[k] = x[i]
        return values

    def feature_map__flipped(x, kernel):
        """the kernel is turned round"""
        return np.convolve(x, kernel, "same")

    def feature_map__products(x, kernel):
        """the products are not added up"""
        f = len(kernel)
        padded = np.pad(x, f // 2)
        return np.array([padded[j : j + f] * kernel for j in range(len(x))])


class _05_padding:
    def zeros__causal_behind(f, padding):
        """the zeros are on the wrong side"""
        return {"valid": (0, 0), "same": ((f - 1) // 2, f // 2), "causal": (0, f - 1)}[padding]

    def zeros__too_many(f, padding):
        """f // 2 zeros on each side"""
        return {"valid": (0, 0), "same": (f // 2, f // 2), "causal": (f - 1, 0)}[padding]

    def zeros__lower(f, padding):
        """the odd zero is on the left"""
        left = f // 2
        return {"valid": (0, 0), "same": (left, f - 1 - left), "causal": (f - 1, 0)}[padding]

    def zeros__full(f, padding):
        """f - 1 zeros on each side"""
        return {"valid": (0, 0), "same": (f - 1, f - 1), "causal": (f - 1, 0)}[padding]

    def zeros__halves(f, padding):
        """the numbers are halves"""
        half = (f - 1) / 2
        return {"valid": (0, 0), "same": (half, f / 2), "causal": (f - 1, 0)}[padding]

    def zeros__causal_half(f, padding):
        """half of the zeros are behind the series"""
        half = f // 2
        return {"valid": (0, 0), "same": ((f - 1) // 2, half), "causal": (half, half)}[padding]

    def zeros__causal_same(f, padding):
        """the same zeros as for "same\""""
        return (0, 0) if padding == "valid" else ((f - 1) // 2, f // 2)

    def map_length__off_by_one(n, f, left, right):
        """off by one: too short"""
        return n + left + right - f

    def map_length__no_zeros(n, f, left, right):
        """the zeros are not counted"""
        return n - f + 1

    def map_length__as_the_series(n, f, left, right):
        """as long as the series"""
        return n

    def map_length__divided(n, f, left, right):
        """the kernel jumps by its own length"""
        length = left + n + right
        return length // f

    def map_length__fraction(n, f, left, right):
        """whole numbers: //"""
        return (left + n + right) / f
