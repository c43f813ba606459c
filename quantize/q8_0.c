/*
 * q8_0.c: 8-bit codes. A block of 32 weights in 34 bytes, the layout of GGML's Q8_0:
 *
 *     f16 d | i8 q[32]            weight = d q
 *
 * Codes stay within -127..127, as GGML's own quantizer leaves them.
 *
 * The search: at 8 bits the rounding residues of 32 weights vary by luck, so a few scales from
 * max/127 upwards, and the least-squares scale of each one's codes, are tried; the smallest sum of
 * squared errors wins. The errors are summed as residuals: (sum x^2 - gain) would cancel in floats.
 */
#include "codecs_int.h"
#include "search_int.h"

enum { BLOCK_WEIGHTS = 32, BLOCK_BYTES = 34, LANES_WEIGHTS = 16 * BLOCK_WEIGHTS };

/* Scales tried and the span over which they spread, relative to max/127. What they buy:
 * search/efforts.c. */
static const struct search {
    int candidates;
    float span;
} searches[MQ_EFFORT_COUNT] = {
    [MQ_EFFORT_DEFAULT] = {4, 0.05f},
    [MQ_EFFORT_BEST] = {16, 0.08f},
};

/* Weights, one block a lane. */
struct lanes {
    v16 x[BLOCK_WEIGHTS];
    bool weighted;                           /* by importance: */
    v16 w[BLOCK_WEIGHTS], wx[BLOCK_WEIGHTS]; /* see mq_weigh; not set otherwise */
};

/* Terms have the importance as a factor. */
struct sums {
    v16 ee, xq, qq; /* sum (x - scale q)^2, sum x q, sum q^2 */
};

/* `weighted` is a constant wherever it decides what a loop does. */
MQ_INLINE void add_codes(const struct lanes *in, int i, v16 scale, v16 inverse, bool weighted,
                         struct sums *s)
{
    const v16 x = in->x[i], q = mq_codes(x, inverse, -127, 127), e = v_fnma(q, scale, x);
    s->ee = v_fma(e, weighted ? v_mul(e, in->w[i]) : e, s->ee);
    s->xq = v_fma(q, weighted ? in->wx[i] : x, s->xq);
    s->qq = v_fma(q, weighted ? v_mul(q, in->w[i]) : q, s->qq);
}

/* The sums of each lane; even and odd weights apart, which hides the additions' latency. Where only
 * the errors are used, the compiler drops the other two. */
MQ_INLINE struct sums sums(const struct lanes *in, v16 scale, bool weighted)
{
    const v16 inverse = v_inverse_or_zero(scale);
    struct sums even = {v_zero(), v_zero(), v_zero()}, odd = even;
    MQ_UNROLL(4)
    for (int i = 0; i < BLOCK_WEIGHTS; i += 2) {
        add_codes(in, i, scale, inverse, weighted, &even);
        add_codes(in, i + 1, scale, inverse, weighted, &odd);
    }
    return (struct sums){v_add(even.ee, odd.ee), v_add(even.xq, odd.xq), v_add(even.qq, odd.qq)};
}

/* Takes over the scale in the lanes where it lowers the error. */
MQ_INLINE void keep_better(v16 scale, v16 error, v16 *best, v16 *best_error)
{
    const m16 better = v_lt(error, *best_error);
    *best_error = v_select(better, error, *best_error);
    *best = v_select(better, scale, *best);
}

MQ_INLINE v16 search_as(const struct lanes *in, const struct search *search, bool weighted)
{
    v16 max = v_zero();
    for (int i = 0; i < BLOCK_WEIGHTS; i++)
        max = v_max(max, v_abs(in->x[i]));
    v16 best = v_zero(), best_error = v_set1(INFINITY);
    for (int k = 0; k < search->candidates; k++) {
        const float stretch = 1.0f + search->span * (float)k / (float)(search->candidates - 1);
        const v16 scale = mq_round_scale(v_mul(max, v_set1(stretch / 127.0f)));
        const struct sums s = sums(in, scale, weighted);
        keep_better(scale, s.ee, &best, &best_error);
        const v16 refit = mq_round_scale(v_mul(s.xq, v_inverse_or_zero(s.qq)));
        keep_better(refit, sums(in, refit, weighted).ee, &best, &best_error);
    }
    return best;
}

MQ_OUTLINE v16 search_scale(const struct lanes *in, const struct search *search)
{
    return in->weighted ? search_as(in, search, true) : search_as(in, search, false);
}

static void load(const float *weights, const float *importance, struct lanes *in)
{
    mq_load_lanes(weights, BLOCK_WEIGHTS, 26, in->x);
    mq_load_lanes(weights + 16, BLOCK_WEIGHTS, 26, in->x + 16);
    in->weighted = importance != NULL;
    if (!importance)
        return;
    v_transpose(importance, BLOCK_WEIGHTS, in->w);
    v_transpose(importance + 16, BLOCK_WEIGHTS, in->w + 16);
    mq_weigh(in->x, BLOCK_WEIGHTS, mq_largest(in->w, BLOCK_WEIGHTS), in->w, in->wx);
}

/* 16 blocks at once, of which `count` are stored. */
static void encode_lanes(const float *weights, const float *importance, const struct search *search,
                         uint8_t *blocks, size_t count)
{
    struct lanes in;
    load(weights, importance, &in);
    const v16 scale = search_scale(&in, search), inverse = v_inverse_or_zero(scale);
    uint8_t by_weight[2][256], by_block[2][256], scales[32];
    for (int i = 0; i < BLOCK_WEIGHTS; i++) {
        const v16 q = mq_codes(in.x[i], inverse, -127, 127);
        v_store_low8(by_weight[i / 16] + i % 16 * 16, v_add(q, v_set1(MQ_MAGIC)));
    }
    mq_transpose_bytes(by_weight[0], by_block[0]);
    mq_transpose_bytes(by_weight[1], by_block[1]);
    v_store_f16(scales, scale);
    for (size_t b = 0; b < count; b++, blocks += BLOCK_BYTES) {
        memcpy(blocks, scales + 2 * b, 2);
        memcpy(blocks + 2, by_block[0] + 16 * b, 16);
        memcpy(blocks + 18, by_block[1] + 16 * b, 16);
    }
}

void MQ_ISA_NAME(mq_q8_0_encode)(const float *weights, size_t n, const float *importance,
                                 enum mq_effort effort, uint8_t *blocks)
{
    const struct search *search = &searches[effort];
    for (; n >= LANES_WEIGHTS; n -= LANES_WEIGHTS) {
        encode_lanes(weights, importance, search, blocks, 16);
        weights += LANES_WEIGHTS;
        importance = importance ? importance + LANES_WEIGHTS : NULL;
        blocks += 16 * BLOCK_BYTES;
    }
    if (n) {
        float padded[LANES_WEIGHTS] = {0}, padded_importance[LANES_WEIGHTS] = {0};
        memcpy(padded, weights, n * sizeof *weights);
        if (importance)
            memcpy(padded_importance, importance, n * sizeof *importance);
        encode_lanes(padded, importance ? padded_importance : NULL, search, blocks,
                     n / BLOCK_WEIGHTS);
    }
}

void MQ_ISA_NAME(mq_q8_0_decode)(const uint8_t *blocks, size_t n, float *weights)
{
    for (; n; n -= BLOCK_WEIGHTS, blocks += BLOCK_BYTES, weights += BLOCK_WEIGHTS) {
        const v16 d = v_set1_f16(blocks);
        v_store(weights, v_mul(d, v_from_i8((const int8_t *)blocks + 2)));
        v_store(weights + 16, v_mul(d, v_from_i8((const int8_t *)blocks + 18)));
    }
}

void MQ_ISA_NAME(mq_q8_0_unpack)(const uint8_t *blocks, size_t n, int8_t *codes, float *scales,
                                 float *mins)
{
    for (; n; n -= BLOCK_WEIGHTS, blocks += BLOCK_BYTES, codes += BLOCK_WEIGHTS) {
        uint16_t half;
        memcpy(&half, blocks, sizeof half);
        *scales++ = mq_f16_to_f32(half);
        *mins++ = 0.0f;
        memcpy(codes, blocks + 2, BLOCK_WEIGHTS);
    }
}
