"""Memory is used again."""

from tinynn.replay.buffers import Buffers


def test_a_place_is_free_when_the_last_that_lives_there_is_released():
    made = []
    buffers = Buffers()

    def take(index, fitting="a"):
        return buffers.take(index, fitting, lambda: made.append(index) or object())

    first = take(0)
    buffers.share(1, 0)
    assert not buffers.alone(0)
    buffers.release(0)
    assert buffers.alone(1)
    assert take(2) is not first
    buffers.release(1)
    assert take(3, "b") is not first  # another kind
    assert take(4) is first
    buffers.release(7)  # an array that has no place here
    buffers.share(8, 7)
    assert not buffers.alone(8)
    assert made == [0, 2, 3]
