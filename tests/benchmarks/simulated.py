"""The simulated recordings that detectors are measured on, their limit, and the one recipe."""

from dataclasses import dataclass
from functools import partial

import numpy as np

import tinynn as tnn
from tinynn import spikes

RATE = 0.01  # spikes a sample
SCORING = {"tolerance": 2, "exclusion": 12}
PITCH, WIDTH = 20, 25  # micrometres between channels; of a spike over the channels
NOISES = {"white": ("white", False), "time": ((0.9,), False), "channels": ("white", True),
          "both": ((0.9,), True)}  # fmt: skip
LENGTHS = {"train": 400_000, "valid": 100_000, "test": 100_000}
EPOCHS = 30


@dataclass(frozen=True)
class Case:
    """One kind of recording: channels, a name of ``NOISES``, the spikes' d'."""

    channels: int
    noise: str
    dprime: float

    @property
    def gains(self):
        """The spike's size on each channel, a bell over their places: ``(C,)``."""
        place = PITCH * (np.arange(self.channels) - self.channels // 2)
        return np.exp(-(place**2) / (2 * WIDTH**2))

    @property
    def spatial(self):
        """The noise's covariance across channels, .6 between neighbours, or None: ``(C, C)``."""
        i = np.arange(self.channels)
        return 0.6 ** np.abs(np.subtract.outer(i, i)) if NOISES[self.noise][1] else None

    @property
    def law(self):
        """What the functions of ``tnn.spikes`` are told of the noise: (noise, spatial)."""
        return NOISES[self.noise][0], self.spatial

    def amount(self, samples):
        """Return how many samples to train on: 400 weights, of 16 channels, take twice as many."""
        return samples * (2 if self.channels > 8 else 1)

    def simulate(self, length, seed):
        """Return a recording of ``length`` samples."""
        shape = spikes.waveform()[:, np.newaxis] * self.gains
        noise, spatial = self.law
        how = {"template": shape, "noise": noise, "spatial": spatial, "rng": seed}
        return spikes.simulate(length, rate=RATE, dprime=self.dprime, **how)

    def held_back(self, valid=LENGTHS["valid"], test=LENGTHS["test"]):
        """Return the recordings for the threshold and for the test."""
        return self.simulate(valid, 1_000_001), self.simulate(test, 1_000_002)

    def exact(self, recording):
        """Return the exact posterior of a recording: ``(length,)``."""
        noise, spatial = self.law
        return spikes.posterior(recording.x[0], recording.template, noise, RATE, spatial=spatial)

    def efficiency(self, kernel, template):
        """Return the share of the squared signal-to-noise ratio that a kernel extracts."""
        return (spikes.dprime(kernel, template, *self.law) / self.dprime) ** 2


def cases(channels, dprimes):
    """Return all cases; one channel has no noise across channels."""
    return [
        Case(c, noise, d)
        for c in channels
        for noise, (_, across) in NOISES.items()
        for d in dprimes
        if c > 1 or not across
    ]


def train(recording, taps, seed, epochs=EPOCHS):
    """Return one linear Conv1d, trained by the recipe: the same for every kind of recording.

    Windows of 1,000 samples from anywhere, 16 a batch; labels .5, 1, .5; Adam, whose learning rate
    rises to .1 and falls to 0 (it needs no setting for the size of the noise's eigenvalues).
    """
    x, times = recording.x[0], recording.times[0]
    data = spikes.Windows(x, times, length=1_000, batch_size=16, rng=seed)
    model = tnn.Conv1d(x.shape[1], 1, taps, padding="same", rng=seed)
    rate = tnn.schedules.one_cycle(0.1, epochs * len(data))
    loss = partial(tnn.losses.binary_crossentropy, from_logits=True)
    optimizer = tnn.Adam(model.parameters(), rate)
    tnn.fit(model, data, loss=loss, optimizer=optimizer, epochs=epochs, progress=False)
    return model


def held_out_f1(scores, recordings):
    """Return the F1 on the second recording, with the threshold best on the first."""
    (valid, test), (known, true) = scores, (r.times[0] for r in recordings)
    threshold, _ = spikes.best_threshold(valid, known, **SCORING)
    found = spikes.find_events(test, threshold, exclusion=SCORING["exclusion"])
    return spikes.match(true, found, SCORING["tolerance"]).f1


def measure(case, seeds, lengths=LENGTHS, epochs=EPOCHS):
    """Return the F1 of the exact posterior, and F1 and efficiency of each seed: ``(seeds, 2)``."""
    held_back = case.held_back(lengths["valid"], lengths["test"])
    limit = held_out_f1([case.exact(r) for r in held_back], held_back)
    template = held_back[0].template
    taps = len(spikes.matched_filter(template, *case.law))  # K, and 2 more in AR(1) noise
    rows = []
    for seed in seeds:
        model = train(case.simulate(case.amount(lengths["train"]), seed), taps, seed, epochs)
        f1 = held_out_f1([tnn.predict(model, r.x)[0] for r in held_back], held_back)
        rows.append((f1, case.efficiency(model.kernel.numpy(), template)))
    return limit, np.array(rows)
