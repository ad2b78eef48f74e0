"""Typical mistakes in exercises 6 to 8, as a student would write them."""

import numpy as np


def windows(x, f):
    return np.array([x[j : j + f] for j in range(len(x) - f + 1)])


class _06_several_features:
    def feature_maps__rows(x, kernels):
        """the maps are rows, not columns"""
        f, features = kernels.shape
        return np.array([windows(x, f) @ kernels[:, k] for k in range(features)])

    def feature_maps__products(x, kernels):
        """the products are not added up"""
        f, features = kernels.shape
        return np.array([[w * kernels[:, k] for k in range(features)] for w in windows(x, f)])

    def feature_maps__summed(x, kernels):
        """the features are added up"""
        return np.array([np.sum(window @ kernels) for window in windows(x, len(kernels))])

    def feature_maps__first(x, kernels):
        """there is one map only"""
        return np.array([window @ kernels[:, 0] for window in windows(x, len(kernels))])

    def feature_maps__flipped(x, kernels):
        """the kernels are turned round"""
        return np.stack([np.convolve(x, k, "valid") for k in kernels.T], axis=1)

    def feature_maps__reshaped(x, kernels):
        """reshaped where they should be transposed"""
        f, features = kernels.shape
        rows = kernels.reshape(features, f)
        return np.array([[row @ window for row in rows] for window in windows(x, f)])

    def feature_maps__rows_of_kernels(x, kernels):
        """Are rows and columns of `kernels` mixed up?"""
        return np.array([[x[:3] @ kernels[k] for k in range(len(kernels))]])

    def best_feature__axis(y):
        """taken over the locations"""
        return np.argmax(y, axis=0)

    def best_feature__values(y):
        """the matches themselves"""
        return np.max(y, axis=1)


class _07_several_channels:
    def feature_map__products(x, kernel):
        """the products are not added up"""
        f = len(kernel)
        return np.array([x[j : j + f] * kernel for j in range(len(x) - f + 1)])

    def feature_map__not_summed(x, kernel):
        """the channels are not added up"""
        f = len(kernel)
        return np.array([np.sum(x[j : j + f] * kernel, axis=0) for j in range(len(x) - f + 1)])

    def feature_map__wrong_axis(x, kernel):
        """the values of the window are not added up"""
        f = len(kernel)
        return np.array([np.sum(x[j : j + f] * kernel, axis=1) for j in range(len(x) - f + 1)])

    def feature_map__mean(x, kernel):
        """a mean over the channels"""
        f, channels = kernel.shape
        return np.array([np.sum(x[j : j + f] * kernel) / channels for j in range(len(x) - f + 1)])

    def feature_map__first(x, kernel):
        """only the first channel is used"""
        f = len(kernel)
        return np.array([x[j : j + f, 0] @ kernel[:, 0] for j in range(len(x) - f + 1)])

    def feature_map__crossed(x, kernel):
        """every channel meets the weights of every other"""
        f = len(kernel)
        return np.array([np.sum(x[j : j + f].T @ kernel) for j in range(len(x) - f + 1)])

    def feature_map__flipped(x, kernel):
        """the kernel is turned round"""
        channels = range(x.shape[1])
        return np.sum([np.convolve(x[:, c], kernel[:, c], "valid") for c in channels], axis=0)

    def kernel_shape__pytorch(f, channels, features):
        """PyTorch's order"""
        return features, channels, f


class _08_bias:
    def layer__forgotten(x, kernels, bias):
        """the bias is forgotten"""
        return windows(x, len(kernels)) @ kernels

    def layer__products(x, kernels, bias):
        """the products are not added up"""
        return windows(x, len(kernels))[:, :, None] * kernels + bias

    def layer__each_product(x, kernels, bias):
        """the bias is added f times"""
        return np.sum(windows(x, len(kernels))[:, :, None] * kernels + bias, axis=1)

    def layer__subtracted(x, kernels, bias):
        """the bias is subtracted"""
        return windows(x, len(kernels)) @ kernels - bias

    def layer__first(x, kernels, bias):
        """every feature gets the first feature's bias"""
        return windows(x, len(kernels)) @ kernels + bias[0]

    def layer__locations(x, kernels, bias):
        """the bias runs along the locations"""
        return windows(x, len(kernels)) @ kernels + bias[:, None]

    def bias_for__sign(threshold):
        """the sign is wrong"""
        return threshold
