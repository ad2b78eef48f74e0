"""Typical mistakes in exercises 1 and 2, as a student would write them.

A class is an exercise, and a function a mistake: its name begins with that of the function that it
takes the place of, and its docstring is part of the answer that it must get.
"""

import numpy as np


class _01_dot_product:
    def unit__products(x, W):
        """the products are not added up"""
        return x * W

    def unit__mean(x, W):
        """a mean, where a sum belongs"""
        return np.mean(x * W)

    def unit__added(x, W):
        """inputs and weights are added, not multiplied"""
        total = 0
        for i in range(len(x)):
            total += x[i] + W[i]
        return total

    def unit__outer(x, W):
        """every input meets every weight"""
        return x[:, None] * W[None, :]

    def unit__sums(x, W):
        """the sums are multiplied, not the pairs"""
        return sum(x) * sum(W)

    def unit__backwards(x, W):
        """read backwards"""
        return np.convolve(x, W, "valid")[0]

    def pattern_for__too_late(spike, start, n):
        """one place too late"""
        W = np.zeros(n)
        for i, value in enumerate(spike, start + 1):
            if i < n:
                W[i] = value
        return W

    def pattern_for__to_the_end(spike, start, n):
        """the slice has another length than the spike"""
        W = np.zeros(n)
        W[start:] = spike
        return W

    def pattern_for__nothing(spike, start, n):
        """the pattern is 0 everywhere"""
        W = np.zeros(n)
        W[start : start + 0] = 1
        return W


class _02_order:
    def shuffled__only_x(x, W, perm):
        """the weights stay where they were"""
        return x[perm], W

    def shuffled__inverse(x, W, perm):
        """shuffled by the inverse"""
        W_new = np.zeros(len(W))
        W_new[perm] = W
        return x[perm], W_new

    def shuffled__sorted(x, W, perm):
        """each is sorted by itself"""
        return np.array(sorted(x)), np.array(sorted(W))

    def shuffled__put_back(x, W, perm):
        """both are put back, not shuffled"""
        a, b = np.zeros(len(x)), np.zeros(len(x))
        for k, p in enumerate(perm):
            a[p], b[p] = x[k], W[k]
        return a, b

    def shuffled__product(x, W, perm):
        """the dot product is returned"""
        return x[perm] @ W[perm]

    def in_order_again__twice(x_shuffled, perm):
        """shuffled a second time"""
        return x_shuffled[perm]

    def in_order_again__sorted(x_shuffled, perm):
        """sorted by size"""
        return np.sort(x_shuffled)
