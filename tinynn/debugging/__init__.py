"""Seeing what goes wrong: the first nan, and where time goes.

Both listen to each operation, and know the user's line and the layer by its path.
"""
