#!/usr/bin/env python3
"""Writes tests/calibrate/data/feedback.txt: what calibrate/covariance.h and calibrate/feedback.h must give,
computed in numpy's float64, in another form than theirs.

    pip install numpy gguf
    tests/data/make_feedback_goldens.py

moeq factors H = R R' and adds errors up column by column. Here the errors are moved forward as GPTQ does
(Frantar et al., 2022), with U the upper Cholesky factor of the inverse of H, H^-1 = U'U, and D_j = 1 / U_jj^2;
both are the same numbers (Chee et al., "QuIP", 2023, theorem 6). Coordinate descent is written out column
by column on the whole matrix.

The inputs are not in the file: both sides draw them from the test programs' generator
(tests/test_support.c), in the order of `inputs` and `weights` below, in f32. First scales are in the file, of
each row and block: halves as their bits, then integers. Losses are e H e' of each row.

Of levels with codebooks every entry and every allowed set of signs is tried here, an entry as if its errors did not
meet; moeq searches less, so only its losses are compared.
"""
import pathlib

import gguf.quants
import numpy as np

ROOT = pathlib.Path(__file__).resolve().parents[2]
ROWS, COLS, INPUTS, SEED = 16, 512, 1536, 14
FAR, DAMPING = 167, 0.03
SCALE_TRIALS, MIN_TRIALS, PASSES = 3, 1, 2

# name: columns of a block, of a sub-block, codes, scales, largest minimum (docs of each: quantize/*.c)
FORMS = {
    "q8_0": (32, 32, (-127, 127), (1, 1), 0),
    "q6_k": (256, 16, (-32, 31), (-128, 127), 0),
    "q5_k": (256, 32, (0, 31), (0, 63), 63),
    "q4_k": (256, 32, (0, 15), (0, 63), 63),
    "q3_k": (256, 16, (-4, 3), (-32, 31), 0),
    "q2_k": (256, 16, (0, 3), (0, 15), 15),
    "iq4_nl": (32, 32, (-127, 113), (1, 1), 0),
    "iq4_xs": (256, 32, (-127, 113), (-32, 31), 0),
}
UNEVEN = np.array([-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113.0])
MIRROR_TRIALS = 1
# name: columns of a sub-block, what d is multiplied with, whether an even number of 8 codes is negative
BOOKS = {
    "iq3_s": (32, 2, False),
    "iq3_xxs": (32, 0.5, True),
    "iq2_s": (16, 0.25, False),
    "iq2_xs": (16, 0.25, True),
    "iq2_xxs": (32, 0.25, True),
}
BOOK_TRIALS = 4


# ---- inputs, in f32 as the test makes them ----

class Numbers:
    """splitmix64; uniform numbers in [0, 1) of 24 bits."""

    def __init__(self, seed):
        self.state = np.uint64(seed)

    def uniform(self, *shape):
        count = int(np.prod(shape))
        steps = np.arange(1, count + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
        z = self.state + steps
        self.state = z[-1]
        z = (z ^ z >> np.uint64(30)) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ z >> np.uint64(27)) * np.uint64(0x94D049BB133111EB)
        z = (z ^ z >> np.uint64(31)) >> np.uint64(40)
        return (z.astype(np.float32) * np.float32(2.0 ** -24)).reshape(shape)


def inputs(numbers, count):
    """Rows where neighbouring columns are alike, and so are columns far apart (column c like c + 1 of c FAR); some are
    large. Each times its weight."""
    half, keep = np.float32(0.5), np.float32(0.875)
    u = numbers.uniform(count, 2 * COLS + 1)
    walk = np.zeros((count, 2 * COLS), np.float32)
    before = np.zeros(count, np.float32)
    for c in range(2 * COLS):
        before = before * keep + (u[:, c] - half)
        walk[:, c] = before
    x = walk[:, :COLS] + walk[:, COLS + np.arange(COLS) * FAR % COLS]
    x[:, 7::61] *= np.float32(4)
    return x * (half + half * u[:, 2 * COLS:])


def weights(numbers):
    u = numbers.uniform(ROWS, COLS, 3)
    return ((u[..., 0] + u[..., 1]) + u[..., 2] - np.float32(1.5)) * np.float32(0.0625)


# ---- the covariance and its factor ----

def covariance(x):
    return x.T @ x / len(x)


def factor(h):
    """GPTQ's U / diagonal, and D."""
    u = np.linalg.cholesky(np.linalg.inv(h)).T
    return u / np.diag(u)[:, None], 1 / np.diag(u) ** 2


# ---- blocks ----

def half(x):
    return np.asarray(x, np.float16).astype(np.float64)


def over(a, b):
    return np.divide(a, b, out=np.zeros(np.broadcast(a, b).shape), where=np.asarray(b) != 0)


class Matrix:
    """d, dmin [row, block], s, m [row, sub-block], codes [row, column]."""

    unit = 1  # d is a half times this

    def __init__(self, form, uneven=False):
        self.uneven = uneven
        self.block, self.sub, self.code_range, self.scale_range, self.min_max = form
        self.has_scales = self.scale_range[0] < self.scale_range[1]
        self.d, self.dmin = np.zeros((2, ROWS, COLS // self.block))
        self.s, self.m = np.zeros((2, ROWS, COLS // self.sub))
        self.codes = np.zeros((ROWS, COLS))

    def nearest(self, x):
        if not self.uneven:
            return np.clip(np.round(x), *self.code_range)
        return UNEVEN[np.searchsorted((UNEVEN[1:] + UNEVEN[:-1]) / 2, x)]

    def stored(self, d):
        return half(d / self.unit) * self.unit

    def steps(self, sub):
        """d s and dmin m of a sub-block."""
        b = sub * self.sub // self.block
        return self.d[:, b] * self.s[:, sub], self.dmin[:, b] * self.m[:, sub]

    def decoded(self):
        a = np.repeat(self.d, self.block // self.sub, 1) * self.s
        b = np.repeat(self.dmin, self.block // self.sub, 1) * self.m
        return np.repeat(a, self.sub, 1) * self.codes - np.repeat(b, self.sub, 1)

    def first_scales(self, x, b):
        """So that the codes span each sub-block; not what a level's search would find, but near it."""
        lo, hi = self.code_range
        subs = slice(b * self.block // self.sub, (b + 1) * self.block // self.sub)
        y = x.reshape(ROWS, -1, self.sub)
        if not self.has_scales:
            self.d[:, b], self.s[:, subs] = half(abs(x).max(1) / hi), 1
            return
        if self.min_max:
            floor = np.minimum(y.min(2), 0)
            a, low = (np.maximum(y.max(2), 0) - floor) / hi, -floor
            self.d[:, b], self.dmin[:, b] = half(a.max(1) / self.scale_range[1]), half(low.max(1) / self.min_max)
            self.m[:, subs] = np.clip(np.round(low / self.dmin[:, b, None]), 0, self.min_max)
        else:
            a = np.take_along_axis(y, abs(y).argmax(2)[..., None], 2)[..., 0] / lo
            largest = np.take_along_axis(a, abs(a).argmax(1)[:, None], 1)[:, 0]
            self.d[:, b] = half(largest / self.scale_range[0])
        self.s[:, subs] = np.clip(np.round(a / self.d[:, b, None]), *self.scale_range)

    # ---- error feedback ----

    def round_sub(self, x, f, D, s, m, b):
        """Codes, errors and loss of a sub-block with scale s and minimum m."""
        a, low = self.d[:, b] * s, self.dmin[:, b] * m
        x, loss, codes, errors = x.copy(), np.zeros(ROWS), np.zeros_like(x), np.zeros_like(x)
        for i in range(self.sub):
            codes[:, i] = self.nearest(over(x[:, i] + low, a))
            errors[:, i] = x[:, i] - (a * codes[:, i] - low)
            loss += errors[:, i] ** 2 * D[i]
            x[:, i + 1:] -= errors[:, i, None] * f[i, i + 1:]
        return codes, errors, loss

    def trials(self, sub, b):
        """Scales around the first, and minima around the one that keeps the middle code's weight."""
        s, m = self.s[:, sub].copy(), self.m[:, sub].copy()
        for ds in range(-SCALE_TRIALS, SCALE_TRIALS + 1) if self.has_scales else [0]:
            scale = np.clip(s + ds, *self.scale_range)
            if not self.min_max:
                yield scale, m
                continue
            follows = m + over((scale - s) * self.d[:, b] * sum(self.code_range) / 2, self.dmin[:, b])
            for dm in range(-MIN_TRIALS, MIN_TRIALS + 1):
                yield scale, np.clip(np.round(follows + dm), 0, self.min_max)
        for ds in range(-MIRROR_TRIALS, MIRROR_TRIALS + 1) if self.uneven and self.has_scales else []:
            mirrored = np.round(s * self.code_range[1] / self.code_range[0])
            yield np.clip(mirrored + ds, *self.scale_range), m

    def feed(self, w, f, D):
        """GPTQ, with the sub-blocks' scales tried; the running weights are w."""
        w, firsts = w.copy(), []
        for begin in range(0, COLS, self.sub):
            sub, b, columns = begin // self.sub, begin // self.block, slice(begin, begin + self.sub)
            if begin % self.block == 0:
                self.first_scales(w[:, begin:begin + self.block], b)
                subs = slice(sub, sub + self.block // self.sub)
                firsts.append((self.d[:, b].copy(), self.dmin[:, b].copy(), self.s[:, subs].copy(),
                               self.m[:, subs].copy()))
            tried = [(s, m, *self.round_sub(w[:, columns], f[columns, columns], D[columns], s, m, b))
                     for s, m in self.trials(sub, b)]
            best, rows = np.argmin([t[4] for t in tried], 0), np.arange(ROWS)
            self.s[:, sub], self.m[:, sub], self.codes[:, columns], errors = (
                np.array([t[k] for t in tried])[best, rows] for k in range(4))
            w[:, begin + self.sub:] -= errors @ f[columns, begin + self.sub:]
        return firsts

    # ---- coordinate descent ----

    def descend(self, w, h):
        """One pass: of each block the codes, the scales and minima, d and dmin."""
        g = (w - self.decoded()) @ h
        for begin in range(0, COLS, self.block):
            self.descend_codes(g, h, begin)
            for sub in range(begin // self.sub, (begin + self.block) // self.sub):
                self.descend_scale(g, h, sub)
            self.descend_block(g, h, begin // self.block)

    def descend_codes(self, g, h, begin):
        for j in range(begin, begin + self.block):
            a = self.steps(j // self.sub)[0]
            code = self.nearest(self.codes[:, j] + over(g[:, j], h[j, j] * a))
            g -= np.outer((code - self.codes[:, j]) * a, h[j])
            self.codes[:, j] = code

    def descend_scale(self, g, h, sub):
        columns, b = slice(sub * self.sub, (sub + 1) * self.sub), sub * self.sub // self.block
        if self.has_scales:
            v = self.codes[:, columns]
            curvature = ((v @ h[columns, columns]) * v).sum(1)
            step = np.round(over((g[:, columns] * v).sum(1), curvature * self.d[:, b]))
            s = np.clip(self.s[:, sub] + step, *self.scale_range)
            g -= ((s - self.s[:, sub]) * self.d[:, b])[:, None] * v @ h[columns]
            self.s[:, sub] = s
        if self.min_max:
            step = np.round(over(-g[:, columns].sum(1), self.dmin[:, b] * h[columns, columns].sum()))
            m = np.clip(self.m[:, sub] + step, 0, self.min_max)
            g += np.outer((m - self.m[:, sub]) * self.dmin[:, b], h[columns].sum(0))
            self.m[:, sub] = m

    def descend_block(self, g, h, b):
        """Least squares for d and dmin against H; halves of the same sign, kept where the loss falls."""
        columns = slice(b * self.block, (b + 1) * self.block)
        subs = slice(b * self.block // self.sub, (b + 1) * self.block // self.sub)
        hb = h[columns, columns]
        for r in range(ROWS):
            v = [np.repeat(self.s[r, subs], self.sub) * self.codes[r, columns]]
            if self.min_max:
                v.append(-np.repeat(self.m[r, subs], self.sub))
            v = np.array(v)
            before = np.array([self.d[r, b], self.dmin[r, b]][:len(v)])
            curvature, slope = v @ hb @ v.T, v @ g[r, columns]
            after = self.stored(before + np.linalg.solve(curvature, slope)[:1])[:1]
            if self.min_max:  # dmin for the d that is stored
                left = slope[1] - (after[0] - before[0]) * curvature[0, 1]
                after = np.append(after, half(before[1] + left / curvature[1, 1]))
            after = np.where(after * before > 0, after, before)
            move = after - before
            if 2 * move @ slope - move @ curvature @ move > 0:
                g[r] -= move @ v @ h[columns]
                self.d[r, b] = after[0]
                self.dmin[r, b] = after[1] if self.min_max else 0

    # ---- for comparison ----

    def refit(self, w, h):
        """All d and dmin of a row at once."""
        for r in range(ROWS):
            s, m = np.repeat(self.s[r], self.sub), np.repeat(self.m[r], self.sub)
            blocks = np.arange(COLS) // self.block == np.arange(COLS // self.block)[:, None]
            v = np.concatenate([blocks * s * self.codes[r]] + [blocks * -m] * bool(self.min_max))
            a = v @ h @ v.T
            x = np.linalg.solve(a + 1e-9 * np.trace(a) * np.eye(len(a)), v @ h @ w[r])
            before = self.loss(w, h)[r], self.d[r].copy(), self.dmin[r].copy()
            self.d[r] = self.stored(x[:self.d.shape[1]])
            self.dmin[r] = half(x[self.d.shape[1]:]) if self.min_max else 0
            if not self.loss(w, h)[r] < before[0]:
                self.d[r], self.dmin[r] = before[1:]

    def loss(self, w, h):
        e = w - self.decoded()
        return ((e @ h) * e).sum(1)


class Book(Matrix):
    """s has the half, d the unit."""

    def __init__(self, name):
        sub, self.unit, self.even = BOOKS[name]
        grid = getattr(gguf.quants, name.upper())
        grid.init_grid()
        self.grid = np.asarray(grid.grid, float).reshape(-1, grid.grid_shape[1])
        self.n = self.grid.shape[1]
        self.step = 8 if self.even else self.n
        signs = (np.arange(2 ** self.n)[:, None] >> np.arange(self.n) & 1) * -2 + 1
        self.signs = {parity: signs[(signs.prod(1) == parity) | (parity == 0)] for parity in (1, -1, 0)}
        super().__init__((256, sub, (-self.grid.max(), self.grid.max()), (0.5, 15.5), 0))

    def first_scales(self, x, b):
        subs = slice(b * self.block // self.sub, (b + 1) * self.block // self.sub)
        D = self.D[b * self.block:(b + 1) * self.block].reshape(-1, self.sub)
        squares = (x.reshape(ROWS, -1, self.sub) ** 2 * D).sum(2) / D.sum(1)
        a = 1.2 * np.sqrt(squares / (self.grid ** 2).mean())
        self.d[:, b] = self.stored(1.1 * a.max(1) / 15.5)
        self.s[:, subs] = np.clip(np.round(a / self.d[:, b, None] - 0.5), 0, 15) + 0.5

    def trials(self, sub, b):
        s = self.s[:, sub].copy()
        for ds in range(-BOOK_TRIALS, BOOK_TRIALS + 1):
            yield np.clip(s + ds, *self.scale_range), self.m[:, sub].copy()

    def feed(self, w, f, D):
        self.D = D
        return super().feed(w, f, D)

    def pick_group(self, x, f, D, a, parity):
        """Codes, errors and loss of an entry's columns; its signs multiply to parity, or are free."""
        y = D * abs(x)
        if parity:
            wrong = np.where(x < 0, -1, 1).prod(1) != parity
            rows = np.arange(ROWS)[wrong]
            y[rows, y[rows].argmin(1)] *= -1
        best = ((D * self.grid ** 2).sum(1) - over(2, a)[:, None] * (y @ self.grid.T)).argmin(1)
        tried = self.signs[parity] * self.grid[best][:, None]
        left, loss = np.repeat(x[:, None], tried.shape[1], 1), 0
        errors = np.zeros_like(left)
        for i in range(self.n):
            errors[..., i] = left[..., i] - a[:, None] * tried[..., i]
            loss = loss + errors[..., i] ** 2 * D[i]
            left[..., i + 1:] -= errors[..., i, None] * f[i, i + 1:]
        rows, best = np.arange(ROWS), loss.argmin(1)
        return tried[rows, best], errors[rows, best], loss[rows, best]

    def pick(self, x, f, D, a):
        """The same of a unit."""
        if self.step == self.n:
            return self.pick_group(x, f, D, a, int(self.even))
        n, both = self.n, []
        for parity in (1, -1):
            first = self.pick_group(x[:, :n], f[:n, :n], D[:n], a, parity)
            second = self.pick_group(x[:, n:] - first[1] @ f[:n, n:], f[n:, n:], D[n:], a, parity)
            both.append([np.concatenate([p, q], -1) for p, q in zip(first[:2], second)] + [first[2] + second[2]])
        better = both[1][2] < both[0][2]
        return [np.where(better.reshape((-1,) + (1,) * (p.ndim - 1)), q, p) for p, q in zip(*both)]

    def round_sub(self, x, f, D, s, m, b):
        a, x, loss = self.d[:, b] * s, x.copy(), 0
        codes, errors = np.zeros_like(x), np.zeros_like(x)
        for c in range(0, self.sub, self.step):
            unit = slice(c, c + self.step)
            codes[:, unit], errors[:, unit], own = self.pick(x[:, unit], f[unit, unit], D[unit], a)
            x[:, c + self.step:] -= errors[:, unit] @ f[unit, c + self.step:]
            loss = loss + own
        return codes, errors, loss

    def descend_codes(self, g, h, begin):
        for c in range(begin, begin + self.block, self.step):
            unit, a = slice(c, c + self.step), self.steps(c // self.sub)[0]
            z = np.linalg.solve(h[unit, unit], g[:, unit].T).T
            codes, _, loss = self.pick(a[:, None] * self.codes[:, unit] + z, *factor(h[unit, unit]), a)
            better = loss < (z * g[:, unit]).sum(1) * (1 - 1e-5)
            codes = np.where(better[:, None], codes, self.codes[:, unit])
            g -= a[:, None] * (codes - self.codes[:, unit]) @ h[unit]
            self.codes[:, unit] = codes


# ---- the file ----

def line(name, values):
    return name + "".join(" %.9g" % v for v in np.ravel(values)) + "\n"


def case(level, w, h, f, D):
    matrix = Book(level) if level in BOOKS else Matrix(FORMS[level], level.startswith("iq4"))
    text = f"level {level}\n"
    for d, dmin, s, m in matrix.feed(w, f, D):
        for r in range(ROWS if level in FORMS else 0):
            bits = np.array([d[r], dmin[r]], np.float16).view(np.uint16)
            text += line("first", np.concatenate([bits, s[r], m[r]]))
    text += line("fed", matrix.loss(w, h))
    steps = [matrix.loss(w, h).sum()]
    for _ in range(PASSES):
        matrix.descend(w, h)
        steps.append(matrix.loss(w, h).sum())
    text += line("descended", matrix.loss(w, h))
    matrix.refit(w, h)
    steps.append(matrix.loss(w, h).sum())
    print(level, *("%.6g" % (s / ((w @ h) * w).sum()) for s in steps))
    return text


def cross_target(w, x, x_q):
    """W* that makes W* x_q nearest to W x; both sums damped alike."""
    h = covariance(x_q)
    damp = DAMPING * np.diag(h).mean() * np.eye(COLS)
    return np.linalg.solve(h + damp, (w @ (x.T @ x_q / len(x) + damp)).T).T


def main():
    numbers = Numbers(SEED)
    x32 = inputs(numbers, INPUTS)
    w = weights(numbers).astype(np.float64)
    # what another, noisier pass would see of the same inputs
    noisy = (x32 + (numbers.uniform(INPUTS, COLS) - np.float32(0.5)) * np.float32(0.25)).astype(np.float64)
    x = x32.astype(np.float64)
    h = covariance(x) + DAMPING * np.diag(covariance(x)).mean() * np.eye(COLS)
    f, D = factor(h)
    r = np.linalg.inv(np.linalg.cholesky(np.linalg.inv(h)).T)  # R = U^-1
    share = np.triu(r / np.diag(r), 1)
    text = f"sizes {ROWS} {COLS} {INPUTS} {SEED}\n"
    text += line("h", [h[i * 5 % COLS, i * 37 % COLS] for i in range(COLS)])
    text += line("D", D)
    text += line("f", [share[i, (i + 1 + i * 29 % 97) % COLS] if (i + 1 + i * 29 % 97) < COLS else 0
                       for i in range(COLS)])
    for level in (*FORMS, *BOOKS):
        text += case(level, w, h, f, D)
    text += line("cross", cross_target(w, x, noisy)[:, ::7])
    (ROOT / "tests/calibrate/data/feedback.txt").write_text(text)


if __name__ == "__main__":
    main()
