"""The fast path: what has been recorded once is replayed without Python."""
