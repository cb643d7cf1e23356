"""Chains, their parameters, and their application: against slow loops over samples, and for their statistics."""

from __future__ import annotations

from dataclasses import fields, replace

import numpy as np
import pytest
import torch
from torch import Tensor

from training.augment import effects
from training.augment.chain import (
    AUGMENTATIONS,
    COMPARED,
    MIN_SAMPLES,
    Chain,
    Parameters,
    Strengths,
    augment,
    differences,
    sample_chain,
    sample_parameters,
)

PITCH, FADE, WHITE, MIXED, STRETCH, MASK, SHIFT = range(7)
NO_NOISE = ("white_noise", "mixed_noise")


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def noise(n: int, samples: int = 8_000) -> Tensor:
    return 0.1 * torch.randn(n, samples, generator=generator(7))


def chain_of(*steps: int, n: int = 1) -> Chain:
    return Chain(torch.tensor([[*steps, *[-1] * (7 - len(steps))]] * n))


def test_label_order_is_the_papers() -> None:
    assert AUGMENTATIONS == (
        "pitch_shift", "fade", "white_noise", "mixed_noise", "time_stretch", "time_mask", "time_shift",
    )  # fmt: skip


def test_one_to_seven_without_replacement_in_random_order() -> None:
    n = 70_000
    order = sample_chain(n, generator()).order
    assert order.shape == (n, 7) and order.dtype == torch.int64
    k = (order >= 0).sum(1)
    assert torch.equal(order >= 0, torch.arange(7) < k[:, None])  # what is drawn comes first
    for count in torch.bincount(k, minlength=8)[1:].tolist():
        assert abs(count - n / 7) < 5 * (n / 7 * 6 / 7) ** 0.5
    for row in order[:2000].tolist():
        drawn = [kind for kind in row if kind >= 0]
        assert len(set(drawn)) == len(drawn)
    for step in order.T:  # each kind is as likely at each step
        taken = step[step >= 0]
        for count in torch.bincount(taken, minlength=7).tolist():
            assert abs(count - len(taken) / 7) < 5 * (len(taken) * 6 / 49) ** 0.5
    # and of two kinds, either comes first
    both = order[k == 7].argsort(1)
    first = (both[:, PITCH] < both[:, SHIFT]).float()
    assert abs(float(first.mean()) - 0.5) < 5 * 0.5 / len(first) ** 0.5


def test_labels_are_what_is_in_the_chain() -> None:
    chain = sample_chain(500, generator())
    expected = np.zeros((500, 7))
    for i, row in enumerate(chain.order.tolist()):
        for kind in row:
            if kind >= 0:
                expected[i, kind] = 1
    np.testing.assert_array_equal(chain.labels, expected)
    assert chain.labels.dtype == torch.float32
    assert torch.equal(chain.repeat(2).labels, torch.cat([chain.labels, chain.labels]))


def test_chain_limits() -> None:
    chain = sample_chain(2_000, generator(), n_min=2, n_max=3, exclude=("fade", "time_mask"))
    assert set(chain.labels.sum(1).tolist()) == {2.0, 3.0}
    assert chain.labels.sum(0)[[FADE, MASK]].tolist() == [0, 0] and (chain.labels.sum(0)[[PITCH, SHIFT]] > 0).all()
    assert set(sample_chain(2_000, generator(), exclude=("fade",)).labels.sum(1).tolist()) == {1, 2, 3, 4, 5, 6}
    assert sample_chain(3, generator(), n_min=7).labels.all()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"exclude": ("reverb",)}, "reverb"),
        ({"n_min": 0}, "n_min=0"),
        ({"n_max": 8}, "n_max=8"),
        ({"n_min": 3, "n_max": 2}, "n_min=3"),
        ({"n_min": 6, "exclude": ("fade", "time_mask")}, "not excluded"),
        ({"exclude": AUGMENTATIONS}, "not excluded"),
    ],
)
def test_bad_chains_are_refused(arguments: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        sample_chain(4, generator(), **arguments)  # type: ignore[arg-type]


def test_parameters_fill_the_papers_ranges() -> None:
    n, length = 20_000, 80_000
    p = sample_parameters(Chain(torch.full((n, 7), -1)), length, generator())
    expected = {
        "pitch_semitones": (-15, 15),
        "fade_in_samples": (0, 40_000),
        "fade_out_samples": (0, 40_000),
        "white_snr_db": (3, 30),
        "white_f_decay": (-1, 0),
        "mixed_snr_db": (3, 30),
        "mixed_f_decay": (-2, 2),
        "stretch_rate": (0.5, 1.5),
        "mask_length_samples": (0, 10_000),
        "shift_samples": (-40_000, 40_000),
    }
    for name, (low, high) in expected.items():
        drawn = getattr(p, name).double()
        span = high - low
        assert low <= drawn.min() <= low + 0.01 * span and high - 0.01 * span <= drawn.max() <= high, name
        assert abs(float(drawn.mean()) - (low + high) / 2) < 5 * span / (12 * n) ** 0.5, name  # as a uniform's
    assert torch.bincount(p.fade_shape).tolist() == pytest.approx([n / 3] * 3, rel=0.05)
    assert (p.mask_start_samples >= 0).all() and (p.mask_start_samples + p.mask_length_samples <= length).all()


def test_parameters_can_be_read_back_and_indexed() -> None:
    p = sample_parameters(sample_chain(5, generator()), 8_000, generator(1))
    part = p[torch.tensor([3, 0])]
    for field in fields(Parameters):
        values = getattr(p, field.name)
        assert values.shape == (5,) and values.dtype in (torch.float32, torch.int64)
        assert torch.equal(getattr(part, field.name), values[[3, 0]])


def test_strengths_set_the_ranges() -> None:
    strengths = Strengths(pitch_semitones=(2.0, 2.0), mask=(1.0, 1.0), shift=(0.25, 0.25))
    p = sample_parameters(sample_chain(5, generator()), 8_000, generator(1), strengths)
    assert (
        (p.pitch_semitones == 2).all() and (p.mask_length_samples == 8_000).all() and (p.shift_samples == 2_000).all()
    )
    assert (p.mask_start_samples == 0).all()


@pytest.mark.parametrize("bad", [{"fade": (0.0, 1.5)}, {"snr_db": (30.0, 3.0)}, {"stretch_rate": (0.0, 1.0)}])
def test_bad_strengths_are_refused(bad: dict[str, tuple[float, float]]) -> None:
    with pytest.raises(ValueError, match=next(iter(bad))):
        Strengths(**bad)


def test_each_sample_gets_its_own_chain_in_its_own_order() -> None:
    n = 24
    waves = noise(n)
    chain = sample_chain(n, generator(), exclude=NO_NOISE)
    parameters = sample_parameters(chain, waves.shape[1], generator(1))
    batched = augment(waves, chain, parameters, generator(2))
    for i, row in enumerate(chain.order.tolist()):
        p, wave = parameters[i : i + 1], waves[i : i + 1]
        for kind in row:
            if kind == PITCH:
                wave = effects.pitch_shift(wave, p.pitch_semitones)
            elif kind == FADE:
                wave = effects.fade(wave, p.fade_in_samples, p.fade_out_samples, p.fade_shape)
            elif kind == STRETCH:
                wave = effects.time_stretch(wave, p.stretch_rate)
            elif kind == MASK:
                wave = effects.time_mask(wave, p.mask_start_samples, p.mask_length_samples)
            elif kind == SHIFT:
                wave = effects.time_shift(wave, p.shift_samples)
        torch.testing.assert_close(batched[i], wave[0], rtol=0, atol=1e-5)


def test_order_matters() -> None:
    waves = torch.ones(2, 8_000)
    chain = Chain(torch.cat([chain_of(MASK, SHIFT).order, chain_of(SHIFT, MASK).order]))
    parameters = sample_parameters(chain, 8_000, generator(), Strengths(shift=(0.25, 0.25), mask=(0.1, 0.1)))
    parameters = replace(parameters, mask_start_samples=torch.tensor([1_000, 1_000]))
    silent = [row.nonzero()[0] for row in augment(waves, chain, parameters, generator()).eq(0).numpy()]
    assert (silent[0][0], silent[0][-1], len(silent[0])) == (3_000, 3_799, 800)
    assert (silent[1][0], silent[1][-1], len(silent[1])) == (1_000, 1_799, 800)


@pytest.mark.parametrize("kind", [WHITE, MIXED])
def test_each_noise_has_its_own_parameters(kind: int) -> None:
    waves = noise(3)
    chain = chain_of(kind, n=3)
    strengths = Strengths(white_f_decay=(-1.0, -1.0), mixed_f_decay=(2.0, 2.0))
    parameters = sample_parameters(chain, waves.shape[1], generator(), strengths)
    added = augment(waves, chain, parameters, generator(1)) - waves
    snr_db = 10 * torch.log10(waves.square().mean(1) / added.square().mean(1))
    expected = parameters.white_snr_db if kind == WHITE else parameters.mixed_snr_db
    assert snr_db.tolist() == pytest.approx(expected.tolist(), abs=0.1)
    power = torch.fft.rfft(added).abs().square()
    assert ((power[:, 3000:].sum(1) > power[:, :1000].sum(1)) == (kind == WHITE)).all()


def test_every_augmentation_alone_changes_the_sample() -> None:
    waves = noise(7) + 0.1
    chain = Chain(torch.cat([chain_of(kind).order for kind in range(7)]))
    before = waves.clone()
    after = augment(waves, chain, sample_parameters(chain, 8_000, generator()), generator())
    assert ((after - waves).abs().amax(1) > 0.01).all()
    assert torch.equal(waves, before)  # and the batch that came in is as it was


def test_same_generators_same_result() -> None:
    def run(seed: int) -> Tensor:
        chain = sample_chain(16, generator(seed))
        return augment(noise(16), chain, sample_parameters(chain, 8_000, generator(seed)), generator(seed))

    torch.manual_seed(0)
    first = run(1)
    torch.manual_seed(1)  # global state plays no part
    assert torch.equal(first, run(1))
    assert not torch.equal(first, run(2))


def test_views_share_the_chain_but_not_the_parameters() -> None:
    chain = sample_chain(8, generator(), n_min=7)
    both = chain.repeat(2)
    views = augment(noise(8).repeat(2, 1), both, sample_parameters(both, 8_000, generator(1)), generator(2))
    assert ((views[:8] - views[8:]).abs().amax(1) > 1e-3).all()


def test_differences_are_between_the_views_in_halves_of_the_range() -> None:
    strengths = Strengths(pitch_semitones=(-4.0, 4.0), mask=(0.0, 0.0))
    chain = Chain(torch.tensor([[PITCH, FADE, MASK, -1, -1, -1, -1], [STRETCH, WHITE, -1, -1, -1, -1, -1]] * 50))
    parameters = sample_parameters(chain.repeat(2), 8_000, generator(), strengths)
    found = dict(zip(COMPARED, differences(chain, parameters, 8_000, strengths).T, strict=True))
    pitch, rate, fade_out = parameters.pitch_semitones, parameters.stretch_rate, parameters.fade_out_samples
    torch.testing.assert_close(found["pitch_semitones"][::2], (pitch[:100:2] - pitch[100::2]) / 4)
    torch.testing.assert_close(found["stretch_rate"][1::2], (rate[1:100:2] - rate[101::2]) / 0.5)
    torch.testing.assert_close(found["fade_out_samples"][::2], (fade_out[:100:2] - fade_out[100::2]) / 2_000)
    assert (found["mask_length_samples"][::2] == 0).all()  # a range of one value: nothing to tell apart
    assert found["pitch_semitones"][1::2].isnan().all() and found["mixed_snr_db"].isnan().all()
    assert found["white_snr_db"].isnan().tolist() == [True, False] * 50
    assert 1.0 < found["white_snr_db"].nan_to_num().abs().max() <= 2.0


@pytest.mark.parametrize("samples", [MIN_SAMPLES, MIN_SAMPLES + 1, 16_000])
def test_silence_stays_finite(samples: int) -> None:
    waves = torch.cat([torch.zeros(8, samples), noise(8, samples)])
    chain = sample_chain(16, generator(), n_min=7)
    after = augment(waves, chain, sample_parameters(chain, samples, generator(1)), generator(2))
    assert after.shape == waves.shape and after.dtype == torch.float32
    assert (after[:8] == 0).all() and after[8:].isfinite().all()


def test_bad_input_is_refused() -> None:
    chain = sample_chain(4, generator())
    parameters = sample_parameters(chain, 8_000, generator())
    for waves in (noise(4, 4_000), noise(4).double(), noise(4)[:, None], noise(4)[0]):
        with pytest.raises(ValueError, match="expected float32"):
            augment(waves, chain, parameters, generator())
    with pytest.raises(ValueError, match="repeat"):
        augment(noise(8), chain, parameters, generator())
    with pytest.raises(ValueError, match="generator"):
        augment(noise(4).to("meta"), chain, parameters, generator())
