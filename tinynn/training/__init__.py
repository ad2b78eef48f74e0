"""What happens to a model: batches, optimizers, the training loop, files.

Each step is eager; steps.py alone asks for a faster one.
"""
