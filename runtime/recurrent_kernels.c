/*
 * recurrent_kernels.c: convolutions, gates and scans, compiled once per instruction set.
 *
 * A scan's work is S = decay * S + k (x) u, o = S' q for each token. The delta rule's u needs
 * S' k before: the sweep over S that makes one token's state and output also makes the next one's
 * S' k. So S is read and written once a token, with three chains of fused multiply-adds over its
 * rows for each of its vectors; even and odd rows have chains of their own, since one would wait
 * for itself.
 */
#include "recurrent_int.h"

#include "vec16.h"

/* ---- element by element ---- */

/* The first m of 16 numbers, then zeros. */
MQ_INLINE v16 load_part(const float *x, size_t m)
{
    float part[16] = {0};
    memcpy(part, x, m * sizeof(float));
    return v_load(part);
}

MQ_INLINE void store_part(float *y, v16 value, size_t m)
{
    float part[16];
    v_store(part, value);
    memcpy(y, part, m * sizeof(float));
}

void MQ_ISA_NAME(mq_times)(float *restrict y, const float *restrict x, size_t n)
{
    for (size_t i = 0; i < n; i++)
        y[i] *= x[i];
}

void MQ_ISA_NAME(mq_times_silu)(float *y, const float *x, size_t n)
{
    size_t i = 0;
    for (; i + 16 <= n; i += 16)
        v_store(y + i, v_mul(v_load(y + i), v_silu(v_load(x + i))));
    if (i < n)
        store_part(y + i, v_mul(load_part(y + i, n - i), v_silu(load_part(x + i, n - i))), n - i);
}

void MQ_ISA_NAME(mq_unit)(const float *x, size_t n, float scale, float *y)
{
    v16 squares = v_zero();
    for (size_t i = 0; i < n; i += 16) {
        const v16 v = n - i < 16 ? load_part(x + i, n - i) : v_load(x + i);
        squares = v_fma(v, v, squares);
        v_store(y + i, v);
    }
    const v16 factor = v_set1(scale / sqrtf(v_sum(squares) + 1e-6f));
    for (size_t i = 0; i < n; i += 16)
        v_store(y + i, v_mul(v_load(y + i), factor));
}

/* ---- convolution ---- */

void MQ_ISA_NAME(mq_convolve)(float *x, size_t ld, size_t before, const float *weights, size_t ldw,
                              size_t taps, const float *bias, size_t n, bool silu)
{
    const float *newest = weights + (taps - 1) * ldw;
    for (size_t i = 0; i < n; i += 16) {
        const size_t m = n - i < 16 ? n - i : 16;
        v16 sum = v_zero();
        if (bias)
            sum = m < 16 ? load_part(bias + i, m) : v_load(bias + i);
        for (size_t j = before + 1; j-- > 0;) { /* the oldest first */
            const float *w = newest - j * ldw + i, *u = x - j * ld + i;
            sum = m < 16 ? v_fma(load_part(w, m), load_part(u, m), sum)
                         : v_fma(v_load(w), v_load(u), sum);
        }
        if (silu)
            sum = v_silu(sum);
        if (m < 16)
            store_part(x + i, sum, m);
        else
            v_store(x + i, sum);
    }
}

/* ---- scans ---- */

/* S' k of one block: even and odd rows, as in `sweep`. */
MQ_INLINE void weigh_rows(const float *state, const float *k, size_t rows, const int vectors,
                          v16 *result)
{
    v16 even[2] = {v_zero(), v_zero()}, odd[2] = {v_zero(), v_zero()};
    for (size_t i = 0; i < rows; i += 2) {
        const float *row = state + i * 16 * (size_t)vectors;
        for (int w = 0; w < vectors; w++) {
            even[w] = v_fma(v_set1(k[i]), v_load(row + 16 * w), even[w]);
            odd[w] = v_fma(v_set1(k[i + 1]), v_load(row + 16 * (vectors + w)), odd[w]);
        }
    }
    for (int w = 0; w < vectors; w++)
        result[w] = v_add(even[w], odd[w]);
}

/* What a token does to one block of the state, and what it gets from it. */
struct sweep {
    v16 decay;
    v16 u[2];   /* what is written, times k */
    v16 out[2]; /* S' q */
    v16 p[2];   /* S' (the next token's k) */
};

/* One row of the block; sums: of out, then of p. */
MQ_INLINE void sweep_row(float *row, const struct sweep *s, float k, float q, float next,
                         const bool delta, const int vectors, v16 *out, v16 *p)
{
    const v16 kk = v_set1(k), qq = v_set1(q), nn = v_set1(next);
    for (int w = 0; w < vectors; w++) {
        const v16 state = v_fma(kk, s->u[w], v_mul(s->decay, v_load(row + 16 * w)));
        v_store(row + 16 * w, state);
        out[w] = v_fma(qq, state, out[w]);
        if (delta)
            p[w] = v_fma(nn, state, p[w]);
    }
}

MQ_INLINE void sweep(float *state, struct sweep *s, const float *k, const float *q,
                     const float *next, size_t rows, const bool delta, const int vectors)
{
    v16 out[2] = {v_zero(), v_zero()}, odd_out[2] = {v_zero(), v_zero()};
    v16 p[2] = {v_zero(), v_zero()}, odd_p[2] = {v_zero(), v_zero()};
    for (size_t i = 0; i < rows; i += 2) {
        float *row = state + i * 16 * (size_t)vectors;
        sweep_row(row, s, k[i], q[i], next[i], delta, vectors, out, p);
        sweep_row(row + 16 * vectors, s, k[i + 1], q[i + 1], next[i + 1], delta, vectors, odd_out,
                  odd_p);
    }
    for (int w = 0; w < vectors; w++) {
        s->out[w] = v_add(out[w], odd_out[w]);
        s->p[w] = v_add(p[w], odd_p[w]);
    }
}

/* The columns from `column` on of all tokens. */
MQ_INLINE void scan_block(const struct mq_scan *a, size_t column, const bool delta,
                          const int vectors)
{
    const size_t rows = a->key_dim;
    float *state = a->state + column * rows;
    const v16 skip = v_set1(a->skip);
    struct sweep s;
    if (delta)
        weigh_rows(state, a->k, rows, vectors, s.p);
    for (size_t t = 0; t < a->tokens; t++) {
        const float *k = a->k + t * rows, *q = a->q + t * rows;
        float *v = a->v + t * a->value_dim + column;
        const v16 gain = v_set1(a->gain[t]);
        s.decay = v_set1(a->decay[t]);
        for (int w = 0; w < vectors; w++) {
            const v16 value = v_load(v + 16 * w);
            s.u[w] = v_mul(gain, delta ? v_fnma(s.decay, s.p[w], value) : value);
        }
        sweep(state, &s, k, q, t + 1 < a->tokens ? k + rows : k, rows, delta, vectors);
        for (int w = 0; w < vectors; w++)
            v_store(v + 16 * w, v_fma(skip, v_load(v + 16 * w), s.out[w]));
    }
}

void MQ_ISA_NAME(mq_scan)(const struct mq_scan *a)
{
    size_t column = 0;
    for (; column + MQ_SCAN_COLUMNS <= a->value_dim; column += MQ_SCAN_COLUMNS) {
        if (a->delta)
            scan_block(a, column, true, 2);
        else
            scan_block(a, column, false, 2);
    }
    if (column < a->value_dim) {
        if (a->delta)
            scan_block(a, column, true, 1);
        else
            scan_block(a, column, false, 1);
    }
}
