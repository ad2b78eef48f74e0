r"""
A spike detector, beside its limit
==================================

Now everything comes together. A recording holds spikes of one shape at random times, in noise. One
kernel is trained on labelled examples. Its output at each sample is the *log-odds* of a spike:
positive if a spike is more likely there than not.

**Claim.** One linear ``Conv1d`` with 25 weights comes close to the best that any detector can do.
"""

# %%
# In code
# -------
# Train on one recording, choose the threshold on a second one, and count on a third one. A found
# spike counts if it lies within 2 samples of a true one.

from functools import partial

import tinynn as tnn
from tinynn import spikes

sizes = 400_000, 100_000, 100_000
training, validation, test = (
    spikes.simulate(n, rate=0.01, dprime=4, rng=seed) for seed, n in enumerate(sizes)
)
x = training.x.reshape(-1, 1000, 1)
y = spikes.labels(training.times[0], 400_000).reshape(-1, 1000, 1)  # 1 at a spike, 0.5 beside it

layer = tnn.Conv1d(1, 1, 25, padding="same", activation="linear", rng=0)
optimizer = tnn.SGD(layer.parameters(), tnn.schedules.cosine_decay(1.0, 500), momentum=0.9)
loss = partial(tnn.losses.binary_crossentropy, from_logits=True)
tnn.fit(layer, x, y, loss=loss, optimizer=optimizer, epochs=20, batch_size=16, progress=False)

score = tnn.predict(layer, validation.x)
threshold, _ = spikes.best_threshold(score, validation.times, tolerance=2, exclusion=12)
found = spikes.find_events(tnn.predict(layer, test.x)[0], threshold, exclusion=12)
counts = spikes.match(test.times[0], found, tolerance=2)
print(f"precision {counts.precision:.3f}, recall {counts.recall:.3f}, F1 {counts.f1:.3f}")

# %%
# *Precision* is the share of found spikes that are true. *Recall* is the share of true spikes that
# are found. *F1* is high only if both are. What is the best possible F1? The **exact posterior** is
# told the spike, the noise and the rate. Sample by sample no detector can beat it.

limit = [
    spikes.posterior(r.x, r.template, r.noise, r.rate, r.refractory) for r in (validation, test)
]
best, _ = spikes.best_threshold(limit[0], validation.times, tolerance=2, exclusion=12)
possible = spikes.find_events(limit[1][0], best, exclusion=12)
print(f"the limit:                         F1 {spikes.match(test.times[0], possible, 2).f1:.3f}")

# %%
# The picture
# -----------

# Drawing
# A recording with true and found spikes, and below it the score with its threshold
import matplotlib.pyplot as plt

shown = {"start": 0, "stop": 1200, "tolerance": 2, "threshold": threshold}
top = tnn.plots.recording(test, found=found, score=tnn.predict(layer, test.x), **shown)
plt.show()

# %%
# Above, the unseen recording. The bars below it mark the true spikes and those that were found. A
# circle marks a mistake: a spike that is missed, or one that is found and not there. Below, the
# score with its threshold. The log-odds are far below zero almost everywhere, because spikes are
# rare.
#
# A spike is missed where noise happens to hide it: its score stays below the threshold. A lower
# threshold would find it, at the price of false alarms elsewhere. The threshold was chosen where
# F1 is highest.

# %%
# Change this: what do you expect?
# --------------------------------
# Make the spikes weaker: ``dprime=3`` in place of 4. What happens to F1, and to the distance from
# the limit?
#
# .. admonition:: Answer
#    :collapsible: closed
#
#    F1 falls from about .9 to about .75, and so does the limit. The distance stays small, about
#    .02. So what is missed is hidden by the noise, and no other network would find it.

# %%
# The whole experiment
# --------------------
# The script compares four detectors, in white or coloured noise, at any d' and rate. With
# ``--plot`` it draws the recording, the score, the kernel and the loss.
