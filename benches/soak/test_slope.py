"""The verdict of the soak: what it must call growth, and what it must not."""

from __future__ import annotations

import math
import random
import sys
import unittest

from slope import drift

# A run of thirty minutes, as it is sampled.
TIMES = [5.0 * n for n in range(361)]


def verdict(values: list[float], floor: float = 0.5) -> str:
    return drift(TIMES, values, 0.01, floor).verdict


def noise(seed: int, size: float) -> list[float]:
    """Wanders about zero and comes back, as an allocator does; no sample is independent of the one before."""
    chance, values = random.Random(seed), [0.0]
    while len(values) < len(TIMES):
        values.append(0.8 * values[-1] + chance.gauss(0, size))
    return values


class Verdict(unittest.TestCase):
    def test_noise_about_a_level_is_flat(self) -> None:
        for seed in range(50):
            self.assertEqual(verdict([20 + it for it in noise(seed, 0.1)]), "flat", seed)

    def test_a_constant_is_flat(self) -> None:
        self.assertEqual(verdict([5.0] * len(TIMES)), "flat")
        self.assertEqual(verdict([0.0] * len(TIMES)), "flat")

    def test_a_slow_leak_in_the_same_noise_grows(self) -> None:
        # One and a half megabytes in the twenty minutes that are judged: five bytes for each of 300,000 requests.
        for seed in range(50):
            leaking = [20 + it + 1.5 * time / 1200 for time, it in zip(TIMES, noise(seed, 0.1), strict=True)]
            self.assertEqual(verdict(leaking), "grows", seed)

    def test_one_descriptor_a_minute_grows(self) -> None:
        leaking = [90 + 3 * it + time // 60 for time, it in zip(TIMES, noise(1, 0.5), strict=True)]
        self.assertEqual(verdict(leaking, floor=3), "grows")

    def test_filling_up_in_the_warm_up_is_flat(self) -> None:
        self.assertEqual(verdict([30 - 20 * math.exp(-time / 60) + it for time, it in zip(TIMES, noise(2, 0.1))]), "flat")

    def test_peaks_are_not_growth(self) -> None:
        values = [20 + it for it in noise(3, 0.1)]
        for place in range(250, len(values), 30):
            values[place] += 40
        self.assertEqual(verdict(values), "flat")

    def test_what_falls_is_flat(self) -> None:
        self.assertEqual(verdict([30 - time / 600 + it for time, it in zip(TIMES, noise(4, 0.1))]), "flat")

    def test_too_much_noise_is_not_called_flat(self) -> None:
        self.assertEqual(verdict([20 + it for it in noise(5, 3.0)]), "unclear")

    def test_too_few_samples_are_not_judged(self) -> None:
        with self.assertRaises(ValueError):
            drift(TIMES[:50], [1.0] * 50, 0.01, 0.5)


if __name__ == "__main__":
    result = unittest.main(exit=False).result
    failed = len(result.failures) + len(result.errors)
    print(f"{result.testsRun - failed} passed, {failed} failed")
    sys.exit(failed > 0)
