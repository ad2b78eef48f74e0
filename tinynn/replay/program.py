"""Placeholder: runs a recording step by step."""

import math
import numpy as np
from tinynn._trees import tree_map
from tinynn.autodiff.tensor import Tensor
from tinynn.replay.recording import *
from tinynn.replay.recording import Assign, Check, Update, Ref, Returned


class NotFinite(ArithmeticError):
    pass


def quiet():
    warned = {kind: "ignore" for kind, action in np.geterr().items() if action == "warn"}
    return np.errstate(**warned)


class Program:
    def __init__(self, recording, *, order=None):
        self.recording, self.order = recording, order
        self.draws = None
        self.largest = max((s.nbytes for s in recording.specs), default=0)
        self.flat_gradient = None
        self.light = True

    def load(self, arguments):
        self.arguments = arguments

    def refresh(self):
        pass

    def execute(self):
        r = self.recording
        a = self.a = {}
        draws = iter(self.draws) if self.draws is not None else None
        self.draws = None
        for i, s in r.sources.items():
            if s.kind == "argument":
                a[i] = self.arguments[s.value]
            elif s.kind == "leaf":
                a[i] = s.value._data
            elif s.kind == "gradient":
                a[i] = s.value._grad
            elif s.kind == "constant":
                a[i] = s.value
            else:
                a[i] = next(draws) if draws is not None else np.asarray(s.value())
        get = lambda x: a[x.index] if isinstance(x, Ref) else x
        for s in r.steps:
            if isinstance(s, Check):
                s.check(*map(get, s.args))
            elif isinstance(s, Assign):
                s.leaf._replace(get(s.value).copy())
            elif isinstance(s, Update):
                for p, g in zip(s.parameters, s.gradients):
                    p._grad = None if g is None else np.array(get(g))
                s.step()
                for p, ref in zip(s.parameters, s.results):
                    a[ref.index] = p._data
            else:
                a[s.result.index] = np.asarray(s.op.forward(*map(get, s.args), **s.params))
        if self.order is not None:
            g = {id(l): ref for l, ref in r.gradients}
            self.flat_gradient = np.concatenate([a[g[id(l)].index].ravel() for l in self.order])
        else:
            for leaf, ref in r.gradients:
                leaf._grad = None if ref is None else np.array(get(ref))

    def result(self):
        def out(v):
            if not isinstance(v, Returned):
                return v
            x = np.array(self.a[v.ref.index])
            if v.kind == "number":
                return x.item()
            return Tensor._result(x, None) if v.kind == "tensor" else x[()]
        return tree_map(out, self.recording.result)

    def run(self, arguments):
        self.load(arguments)
        self.refresh()
        self.execute()
        return self.result()
