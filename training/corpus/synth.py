"""Synthetic sound, made in batches on the device: pretraining needs no recordings, or mixes these in.

    waves = synthesize(64, 80_000, torch.Generator("cuda").manual_seed(0))    # [64, 80000] at 16 kHz

The idea is that of "Contrastive Learning from Synthetic Audio Doppelgangers" (Cherep & Singh 2024,
https://arxiv.org/abs/2406.05923): a synthesiser with random settings covers enough causes of sound to learn from.
A sound is a mix of one to three layers of four kinds (harmonic, frequency modulation, noise, impacts). Each layer has
its own rhythm of events with envelopes, loudness and melody, and goes through its own sweeping resonant filter.

There is no loop over sounds. What varies slowly (pitch, envelope, brightness, filter) is drawn as curves at the
control rate of 1 kHz. Letters: R layers of one kind, E events, P control points, M modes.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

SAMPLE_RATE = 16_000  # hz
CONTROL = 16  # samples between two control points
WINDOW = 512  # samples in a frame of the filter, and the shortest sound
HOP = WINDOW // 2  # samples; a multiple of CONTROL
TOP = 7_600.0  # hz, the highest partial: a little below Nyquist
MAX_LAYERS = 3
EVENTS = 64  # most events of a layer
MODES = 10  # resonances of a struck body
RING = SAMPLE_RATE  # samples of ringing after a stroke
PEAK = (0.05, 0.9)  # of a finished sound; full scale is 1


def synthesize(n: int, length: int, generator: torch.Generator, device: torch.device | str | None = None) -> Tensor:
    """Draw n sounds: float32 [n, length] at 16 kHz, without DC, each with its own peak in 0.05 to 0.9.

    Args:
        n: sounds, >= 1.
        length: samples, >= 512.
        generator: the only source of randomness; the same state, n, length and machine give the same bits.
        device: where to compute; default: the generator's. A generator elsewhere draws there, and its draws are moved.

    Raises:
        ValueError: n or length too small.
    """
    if n < 1 or length < WINDOW:
        raise ValueError(f"got n = {n} and length = {length}, expected at least 1 sound of at least {WINDOW} samples")
    draw = _Draw(generator, torch.device(device) if device is not None else generator.device)
    makers = (_harmonic, _frequency_modulation, _noise, _impacts)
    kinds = draw.uniform(0, len(makers), n, MAX_LAYERS).long()
    layer = torch.arange(MAX_LAYERS, device=draw.device)
    kinds[layer > draw.uniform(0, MAX_LAYERS, n, 1).long()] = -1  # one to three layers; the others stay silent
    layers = torch.zeros(n, MAX_LAYERS, length, device=draw.device)
    for kind, make in enumerate(makers):
        chosen = kinds == kind
        if rows := int(chosen.sum()):
            layers[chosen] = _to_peak(_filter(draw, make(draw, rows, length)), 1.0)
    loudness = 10 ** (draw.uniform(-18, 0, n, MAX_LAYERS, 1) / 20)
    background = 10 ** (draw.uniform(-90, -40, n, 1) / 20)  # a recording is never quite silent between its events
    mix = (layers * loudness).sum(dim=1) + background * draw.normal(n, length)
    return _to_peak(mix - mix.mean(dim=1, keepdim=True), draw.log_uniform(*PEAK, n, 1))


class _Draw:
    """Random tensors of one generator, on one device."""

    def __init__(self, generator: torch.Generator, device: torch.device) -> None:
        self.generator = generator
        self.device = device

    def uniform(self, low: float, high: float, *shape: int) -> Tensor:
        u = torch.rand(shape, generator=self.generator, device=self.generator.device).to(self.device)
        return low + (high - low) * u

    def log_uniform(self, low: float, high: float, *shape: int) -> Tensor:
        return self.uniform(math.log(low), math.log(high), *shape).exp()

    def normal(self, *shape: int) -> Tensor:
        return torch.randn(shape, generator=self.generator, device=self.generator.device).to(self.device)

    def chance(self, probability: float, *shape: int) -> Tensor:
        return self.uniform(0, 1, *shape) < probability

    def curve(self, low: float, high: float, rows: int, length: int) -> Tensor:
        """[rows, P] inside low..high: from one level to another (or staying, half of the time), plus a slow wobble."""
        t = _control_times(length, self.device)
        start, end = self.uniform(low, high, rows, 1), self.uniform(low, high, rows, 1)
        end = torch.where(self.chance(0.5, rows, 1), start, end)
        bend = (t / t[-1]) ** self.log_uniform(0.3, 3, rows, 1)
        depth = self.chance(0.5, rows, 1) * self.uniform(0, 0.2, rows, 1) * (high - low)
        wobble = torch.sin(2 * math.pi * (self.log_uniform(0.2, 12, rows, 1) * t + self.uniform(0, 1, rows, 1)))
        return (start + (end - start) * bend + depth * wobble).clamp(low, high)


def _control_times(length: int, device: torch.device) -> Tensor:
    """Seconds of the P = ceil(length / CONTROL) + 1 control points; the last one is at or after the end."""
    return torch.arange(-(-length // CONTROL) + 1, device=device) * (CONTROL / SAMPLE_RATE)


def _to_samples(curve: Tensor, length: int) -> Tensor:
    """[R, P] -> [R, length], straight lines between control points."""
    ramp = torch.arange(CONTROL, device=curve.device) / CONTROL
    return torch.lerp(curve[:, :-1, None], curve[:, 1:, None], ramp).flatten(1)[:, :length]


def _decay(time: Tensor) -> Tensor:
    """exp(-time), 1 before time 0, with a floor at -217 dB: smaller numbers become denormal, and those are slow."""
    return torch.exp(-time.clamp(0, 25))


def _phase(hertz: Tensor, length: int) -> Tensor:
    """Instantaneous frequency [R, P] -> angle in radians [R, length], a block of CONTROL samples at one frequency."""
    turns = hertz * (CONTROL / SAMPLE_RATE)
    # summed as integers (2**-32 turns): exact, hence the same bits in whatever order a GPU sums
    steps = (turns * 2**32).long()
    start = ((steps.cumsum(dim=1) - steps) % 2**32).float() / 2**32
    ramp = torch.arange(CONTROL, device=hertz.device) / CONTROL
    return 2 * math.pi * (start[:, :, None] + turns[:, :, None] * ramp).flatten(1)[:, :length]


def _onsets(draw: _Draw, rows: int, length: int) -> Tensor:
    """Seconds at which events start, [R, E] ascending, 40 ms apart or more: a pulse with jitter, or a single event.

    The first is within the first third of the sound, half of the time right at its start.
    """
    seconds = length / SAMPLE_RATE
    period = torch.where(draw.chance(0.3, rows, 1), 2 * seconds, draw.log_uniform(0.08, 1.5, rows, 1))
    event = torch.arange(EVENTS, device=draw.device)
    jitter = draw.uniform(0, 0.5, rows, EVENTS) * draw.chance(0.5, rows, 1) * (event > 0)
    return seconds * draw.uniform(-0.33, 0.33, rows, 1).clamp(min=0) + period * (event + jitter)


def _notes(draw: _Draw, rows: int, length: int) -> tuple[Tensor, Tensor]:
    """A layer's envelope in 0..1 and its melody in semitones, both [R, P]: every event attacks, decays and releases."""
    t = _control_times(length, draw.device).expand(rows, -1).contiguous()
    onsets = _onsets(draw, rows, length)
    event = (torch.searchsorted(onsets, t, right=True) - 1).clamp(min=0)  # [R, P], the last one that has started
    since = t - onsets.gather(1, event)
    left = F.pad(onsets, (0, 1), value=math.inf).gather(1, event + 1) - t
    attack, decay = draw.log_uniform(0.001, 0.3, rows, 1), draw.log_uniform(0.02, 1.5, rows, 1)
    sustain, hold = draw.uniform(0, 1, rows, 1), draw.log_uniform(0.03, 3, rows, 1)
    release = draw.log_uniform(0.01, 0.6, rows, 1)
    envelope = (since / attack).clamp(0, 1)  # 0 before the first event
    envelope = envelope * (sustain + (1 - sustain) * _decay((since - attack) / decay))
    envelope = envelope * _decay((since - hold) / release)
    envelope = envelope * (left / 0.005).clamp(0, 1)  # no click where the next event cuts this one off
    velocity = draw.uniform(0.3, 1, rows, EVENTS)
    leap = draw.chance(0.5, rows, 1) * draw.uniform(0, 7, rows, 1)
    melody = (draw.normal(rows, EVENTS) * leap).round()
    return envelope * velocity.gather(1, event), melody.gather(1, event)


def _pitch(draw: _Draw, melody: Tensor, length: int) -> Tensor:
    """Melody in semitones [R, P] -> Hz [R, P] in 30..3000, with a glide and a vibrato."""
    rows = len(melody)
    t = _control_times(length, draw.device)
    vibrato = draw.uniform(0, 0.5, rows, 1) * torch.sin(2 * math.pi * draw.uniform(3, 8, rows, 1) * t)
    glide = draw.chance(0.4, rows, 1) * draw.curve(-12, 12, rows, length)
    return (draw.log_uniform(50, 1500, rows, 1) * 2 ** ((melody + glide + vibrato) / 12)).clamp(30, 3000)


def _harmonic(draw: _Draw, rows: int, length: int) -> Tensor:
    """Partials at f0 (1 + k s), k = 0 .. K - 1, of amplitude a^k with moving a, up to TOP and no further.

    s = 1 has all harmonics (as a saw), s = 2 the odd ones (as a square), others are inharmonic.
    """
    envelope, melody = _notes(draw, rows, length)
    hertz = _pitch(draw, melody, length)
    inharmonic = torch.where(draw.chance(0.3, rows, 1), draw.uniform(0.5, 3, rows, 1), 2.0)
    spacing = torch.where(draw.chance(0.5, rows, 1), 1.0, inharmonic)
    k = ((TOP / hertz.amax(dim=1, keepdim=True) - 1) / spacing).floor().clamp(min=0) + 1
    a = _to_samples(draw.curve(0.3, 0.97, rows, length), length)
    return _to_samples(envelope, length) * _partials(_phase(hertz, length), _phase(hertz * spacing, length), a, k)


def _partials(u: Tensor, b: Tensor, a: Tensor, k: Tensor) -> Tensor:
    """The sum of a^i sin(u + i b) over i = 0 .. K - 1 in closed form (J. A. Moorer 1976, "The Synthesis of Complex
    Audio Spectra by Means of Discrete Summation Formulas"):

        (sin u - a sin(u - b) - a^K (sin(u + K b) - a sin(u + (K - 1) b))) / (1 + a^2 - 2 a cos b)
    """
    last = torch.exp((k * a.log()).clamp(min=-25))  # a^K, not denormal
    tail = torch.sin(u + k * b) - a * torch.sin(u + (k - 1) * b)
    return (torch.sin(u) - a * torch.sin(u - b) - last * tail) / (1 + a * a - 2 * a * torch.cos(b))


def _frequency_modulation(draw: _Draw, rows: int, length: int) -> Tensor:
    """sin(u + I sin v), v at a simple (harmonic) or any (bell-like) ratio to u; I a curve, or curve x envelope."""
    envelope, melody = _notes(draw, rows, length)
    hertz = _pitch(draw, melody, length)
    simple = draw.uniform(1, 9, rows, 1).floor() / draw.uniform(1, 4, rows, 1).floor()
    ratio = torch.where(draw.chance(0.6, rows, 1), simple, draw.log_uniform(0.2, 7, rows, 1))
    index = draw.curve(0, 8, rows, length) * torch.where(draw.chance(0.5, rows, 1), envelope, 1.0)
    widest = (TOP / hertz - 1) / ratio - 1  # Carson's rule: partials reach hertz (1 + ratio (I + 1))
    index = torch.minimum(index, widest.clamp(min=0))
    modulator = _to_samples(index, length) * torch.sin(_phase(hertz * ratio, length))
    return _to_samples(envelope, length) * torch.sin(_phase(hertz, length) + modulator)


def _noise(draw: _Draw, rows: int, length: int) -> Tensor:
    """Hiss, or a rain of single clicks (few samples kept) on faint hiss, under the events' envelope."""
    envelope, _ = _notes(draw, rows, length)
    hiss = draw.normal(rows, length)
    kept = torch.where(draw.chance(0.7, rows, 1), 1.0, draw.log_uniform(1e-3, 0.3, rows, 1))
    clicks = torch.where(draw.uniform(0, 1, rows, length) < kept, hiss, 0.01 * hiss)
    return _to_samples(envelope, length) * clicks


def _impacts(draw: _Draw, rows: int, length: int) -> Tensor:
    """Strokes on a resonant body: MODES damped sines and a burst of noise, convolved with the events."""
    ring = min(RING, length)
    t = torch.arange(ring, device=draw.device) / SAMPLE_RATE
    hertz = draw.log_uniform(60, 2000, rows, 1)
    gaps = draw.uniform(0.1, 1.5, rows, MODES) * draw.uniform(0.3, 2, rows, 1)
    ratios = 1 + F.pad(gaps[:, 1:], (1, 0)).cumsum(dim=1)  # [R, M], 1 and ascending
    damping = ratios ** draw.uniform(0, 1.5, rows, 1) / draw.log_uniform(0.01, 0.4, rows, 1)  # 1/s
    amplitude = draw.normal(rows, MODES) * ratios ** -draw.uniform(0, 1.5, rows, 1) * (ratios * hertz < TOP)
    burst = draw.log_uniform(0.02, 1, rows, 1) * _decay(t / draw.log_uniform(0.001, 0.03, rows, 1))
    body = burst * draw.normal(rows, ring)
    for m in range(MODES):
        angle = 2 * math.pi * (ratios[:, m, None] * hertz) * t
        body += amplitude[:, m, None] * _decay(damping[:, m, None] * t) * torch.sin(angle)
    at = (_onsets(draw, rows, length) * SAMPLE_RATE).long().clamp(max=length)  # those past the end share one place
    strokes = torch.zeros(rows, length + 1, device=draw.device)
    strokes.scatter_(1, at, draw.uniform(0.2, 1, rows, EVENTS))
    size = length + ring
    spectrum = torch.fft.rfft(strokes[:, :length], size) * torch.fft.rfft(body, size)
    struck: Tensor = torch.fft.irfft(spectrum, size)[:, :length]
    return struck


def _filter(draw: _Draw, x: Tensor) -> Tensor:
    """A resonant second-order filter on [R, length], low-, band- or high-pass, whose cutoff f_c moves.

    |H(f)| = (f / f_c)^m / sqrt((1 - (f / f_c)^2)^2 + (f / (Q f_c))^2),    m = 0, 1, 2.
    """
    rows, length = x.shape
    window = torch.hann_window(WINDOW, device=x.device)
    spectrum = torch.stft(x, WINDOW, HOP, window=window, pad_mode="constant", return_complex=True)  # [R, F, T]
    cutoff = draw.curve(math.log(150), math.log(TOP), rows, length).exp()[:, None, :: HOP // CONTROL]
    f = torch.arange(WINDOW // 2 + 1, device=x.device)[:, None] * (SAMPLE_RATE / WINDOW)
    ratio = f / cutoff[..., : spectrum.shape[2]]  # [R, F, T]
    m = draw.uniform(0, 3, rows, 1, 1).floor()
    q = draw.log_uniform(0.5, 8, rows, 1, 1)
    gain = ratio**m / ((1 - ratio**2) ** 2 + (ratio / q) ** 2).sqrt()
    return torch.istft(spectrum * gain, WINDOW, HOP, window=window, length=length)


def _to_peak(x: Tensor, peak: Tensor | float) -> Tensor:
    return x * (peak / x.abs().amax(dim=1, keepdim=True).clamp(min=1e-9))
