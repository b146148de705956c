"""A circuit opens after repeated failures, lets one trial through, and closes when it succeeds."""

from service.fill.circuit import Circuit


class Hands:
    """A clock moved by hand."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def opened(clock: Hands) -> Circuit:
    circuit = Circuit(failures=3, within_s=10, cool_down_s=5, clock=clock)
    assert [circuit.fail() for _ in range(3)] == [False, False, True]
    return circuit


def test_failures_far_apart_leave_it_closed() -> None:
    clock = Hands()
    circuit = Circuit(failures=3, within_s=10, cool_down_s=5, clock=clock)
    for _ in range(20):
        assert not circuit.fail()
        clock.now += 6
    assert circuit.allows()


def test_repeated_failures_open_it_and_one_trial_a_cool_down_is_let_through() -> None:
    clock = Hands()
    circuit = opened(clock)
    assert circuit.is_open
    assert not circuit.allows()
    for _ in range(2):
        clock.now += 5
        assert [circuit.allows() for _ in range(4)] == [True, False, False, False]


def test_a_trial_that_succeeds_closes_it_and_old_failures_are_forgotten() -> None:
    clock = Hands()
    circuit = opened(clock)
    clock.now += 5
    assert circuit.allows()
    circuit.succeed()
    assert not circuit.is_open
    assert not circuit.fail()
    assert circuit.allows()


def test_a_trial_that_fails_begins_another_cool_down() -> None:
    clock = Hands()
    circuit = opened(clock)
    clock.now += 5
    assert circuit.allows()
    assert not circuit.fail()
    clock.now += 4.9
    assert not circuit.allows()
    clock.now += 0.1
    assert circuit.allows()


def test_successes_in_between_do_not_hide_what_fails_every_other_time() -> None:
    circuit = Circuit(failures=3, within_s=10, cool_down_s=5, clock=Hands())
    for _ in range(2):
        circuit.fail()
        circuit.succeed()
    assert circuit.fail()
