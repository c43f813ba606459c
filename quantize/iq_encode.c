/*
 * iq_encode.c: encoders of GGML's types with codebooks of eights and fours, IQ2 and IQ3. Layouts: iq_blocks.c.
 *
 * How entries are ranked: iq_pick.h. The search, of a block of 256 weights with sub-blocks at scales a = d step (2 s + 1):
 *
 *   1. a sub-block's first scale is a multiple of its root mean square; d is such that the largest has some room above it;
 *   2. each sub-block takes the s, of some next to the first, with the smallest loss: products and norms serve all of them;
 *   3. refit d to the entries by least squares; rounds: 2 and 3 again, with this d and around these s;
 *   4. unbias d (mq_unbiased_scale): at 2 and 3 bits this is worth more than all of the search.
 *
 * A codebook has no 0: blocks of zeros have d = 0.
 */
#include "codecs_int.h"
#include "iq_pick.h"
#include "weights_int.h"

enum { BLOCK = 256, UNITS = BLOCK / MQ_IQ_UNIT, SUBS = 16, SUB_PRODUCTS = 4096, MAX_TRIALS = 15 };

enum { MAX_STARTS = 3 };

/* Factors that have registers for their minima: a third more speed with AVX-512, a tenth less without. */
#if defined(MQ_USE_AVX512)
enum { FEW = 3, TOGETHER = 9 };
#else
enum { FEW = 3, TOGETHER = FEW };
#endif

/* How a sub-block's first scale stands to its weights. */
struct start {
    float of_rms, of_largest;
};

struct search {
    int starts;              /* values of d, each searched to the end */
    float rooms[MAX_STARTS]; /* above the largest first scale */
    int trials;              /* s that are tried, a multiple of FEW */
    int rounds;              /* more of them, with a refitted d */
};

/* Of the error of Gaussian weights, a third round is worth 0.03 %, 15 trials 0.01 %, and rooms from 1.1 to 1.3 are equal. */
static const struct search searches[MQ_EFFORT_COUNT] = {
    [MQ_EFFORT_DEFAULT] = {1, {1.2f}, 9, 0},
    [MQ_EFFORT_BEST] = {3, {1.05f, 1.2f, 1.35f}, 9, 1},
};

/* A block as it will be stored. */
struct coded {
    struct mq_iq_choice units[UNITS];
    uint8_t scales[SUBS];
    float d;
};

struct block {
    float x[BLOCK], w[BLOCK];
    bool weighted;
    const float *norms; /* of any group, where all weights are 1 */
};

/* ---- one sub-block ---- */

/* What ranks the entries of each of its groups. */
struct ranking {
    _Alignas(64) float products[SUB_PRODUCTS]; /* [sub / dim][entries] */
    _Alignas(64) float own_norms[SUB_PRODUCTS];
    const float *norms;
    int norms_stride; /* 0: the same for all */
};

MQ_INLINE const float *norms_of(const struct ranking *r, int group)
{
    return r->norms + group * r->norms_stride;
}

static bool has_odd_signs(const float x[MQ_IQ_UNIT])
{
    bool odd = false;
    for (int i = 0; i < MQ_IQ_UNIT; i++)
        odd ^= x[i] < 0.0f;
    return odd;
}

static void rank(const struct mq_iq_book *book, const struct block *in, int at, struct ranking *r)
{
    r->norms = in->weighted ? r->own_norms : in->norms;
    r->norms_stride = in->weighted ? book->entries : 0;
    for (int u = 0; u < book->sub; u += MQ_IQ_UNIT) {
        const float *x = in->x + at + u, *w = in->w + at + u;
        float y[MQ_IQ_UNIT];
        for (int i = 0; i < MQ_IQ_UNIT; i++)
            y[i] = w[i] * fabsf(x[i]);
        if (book->even && has_odd_signs(x)) {
            const int turned = mq_iq_smallest(y, MQ_IQ_UNIT);
            y[turned] = -y[turned];
        }
        for (int i = 0; i < MQ_IQ_UNIT; i += book->dim) {
            const int group = (u + i) / book->dim;
            mq_iq_products(book, y + i, r->products + group * book->entries);
            if (in->weighted)
                mq_iq_norms(book, w + i, r->own_norms + group * book->entries);
        }
    }
}

/* The smallest B - factor P of a group, for `count` factors. */
MQ_INLINE void add_least(const float *norms, const float *products, int entries, int count,
                         const float *factors, float *sums)
{
    v16 least[TOGETHER];
    MQ_UNROLL(9)
    for (int t = 0; t < count; t++)
        least[t] = v_set1(INFINITY);
    for (int k = 0; k < entries; k += 16) {
        const v16 norm = v_load(norms + k), product = v_load(products + k);
        MQ_UNROLL(9)
        for (int t = 0; t < count; t++)
            least[t] = v_min(least[t], v_fnma(product, v_set1(factors[t]), norm));
    }
    MQ_UNROLL(9)
    for (int t = 0; t < count; t++)
        sums[t] -= v_max_lane(v_neg(least[t]));
}

/* Of the `trials` numbers s from `first` on, the one with the smallest loss. */
MQ_OUTLINE int best_scale(const struct mq_iq_book *book, const struct ranking *r, float d,
                          int first, int trials)
{
    float factors[MAX_TRIALS], sums[MAX_TRIALS] = {0}, best_loss = INFINITY;
    int best = first;
    for (int t = 0; t < trials; t++)
        factors[t] = 2.0f / (d * book->step * (float)(2 * (first + t) + 1));
    for (int group = 0; group < book->sub / book->dim; group++) {
        const float *products = r->products + group * book->entries, *norms = norms_of(r, group);
        int t = 0;
        for (; trials - t >= TOGETHER; t += TOGETHER)
            add_least(norms, products, book->entries, TOGETHER, factors + t, sums + t);
        for (; t < trials; t += FEW)
            add_least(norms, products, book->entries, FEW, factors + t, sums + t);
    }
    for (int t = 0; t < trials; t++) {
        const float a = d * book->step * (float)(2 * (first + t) + 1), loss = a * a * sums[t];
        if (loss < best_loss) {
            best_loss = loss;
            best = first + t;
        }
    }
    return best;
}

/* The entries and signs at scale a. */
static void choose(const struct mq_iq_book *book, const struct block *in, int at,
                   const struct ranking *r, float a, struct mq_iq_choice *choices)
{
    for (int u = 0; u < book->sub; u += MQ_IQ_UNIT, choices++) {
        const float *x = in->x + at + u, *w = in->w + at + u;
        float costs[MQ_IQ_UNIT];
        choices->entries[1] = 0;
        for (int i = 0; i < MQ_IQ_UNIT; i += book->dim) {
            const int group = (u + i) / book->dim;
            choices->entries[i / book->dim] = (uint16_t)mq_iq_best(
                norms_of(r, group), r->products + group * book->entries, book->entries, 2.0f / a);
        }
        choices->signs = 0;
        for (int i = 0; i < MQ_IQ_UNIT; i++) {
            choices->signs = (uint8_t)(choices->signs | (x[i] < 0.0f) << i);
            costs[i] = w[i] * fabsf(x[i]) * mq_iq_magnitude(book, choices, i);
        }
        if (book->even && has_odd_signs(x))
            choices->signs ^= (uint8_t)(1 << mq_iq_smallest(costs, MQ_IQ_UNIT));
    }
}

/* ---- a block ---- */

/* Of a sub-block: a multiple of the root mean square, or as large as the largest weight asks for. */
static float first_scale(const struct start *start, const struct mq_iq_book *book,
                         const struct block *in, int at)
{
    float xx = 0.0f, sum = 0.0f, largest = 0.0f;
    for (int i = at; i < at + book->sub; i++) {
        const float x = fabsf(in->x[i]);
        xx += in->w[i] * x * x;
        sum += in->w[i];
        largest = x > largest ? x : largest;
    }
    const float usual = start->of_rms * sqrtf(xx / sum), least = start->of_largest * largest;
    return usual > least ? usual : least;
}

struct sums {
    float xx, xq, qq; /* of w x^2, w x q, w q^2; weights decode to d q */
};

static struct sums sums_of(const struct mq_iq_book *book, const struct block *in,
                           const struct coded *coded)
{
    struct sums s = {0, 0, 0};
    for (int i = 0; i < BLOCK; i++) {
        const struct mq_iq_choice *c = &coded->units[i / MQ_IQ_UNIT];
        // NOLINTNEXTLINE(bugprone-integer-division): an index
        const float step = book->step * (float)(2 * coded->scales[i / book->sub] + 1);
        const float m = step * mq_iq_magnitude(book, c, i % MQ_IQ_UNIT);
        const float q = c->signs >> i % MQ_IQ_UNIT & 1 ? -m : m, wx = in->w[i] * in->x[i];
        s.xx += wx * in->x[i];
        s.xq += wx * q;
        s.qq += in->w[i] * q * q;
    }
    return s;
}

/* Steps 2 and 3 with this d; the scales are tried around those of `coded`. */
static struct sums search_round(const struct mq_iq_book *book, const struct block *in, float d,
                                int trials, struct coded *coded)
{
    struct ranking r;
    for (int at = 0; at < BLOCK; at += book->sub) {
        uint8_t *scale = &coded->scales[at / book->sub];
        const int lowest = *scale - trials / 2, highest = MQ_IQ_STEPS - trials;
        const int first = lowest < 0 ? 0 : lowest > highest ? highest : lowest;
        rank(book, in, at, &r);
        *scale = (uint8_t)best_scale(book, &r, d, first, trials);
        choose(book, in, at, &r, d * book->step * (float)(2 * *scale + 1),
               coded->units + at / MQ_IQ_UNIT);
    }
    return sums_of(book, in, coded);
}

static float half_of(float d)
{
    return mq_f16_to_f32(mq_f32_to_f16(d > MQ_F16_MAX ? MQ_F16_MAX : d));
}

/* Steps 2 and 3 from d, which is not 0; `first` are first scales of sub-blocks. */
static struct sums search_from(const struct mq_iq_book *book, const struct block *in,
                               const struct search *search, const float first[SUBS], float d,
                               struct coded *coded)
{
    memset(coded, 0, sizeof *coded);
    for (int j = 0; j < BLOCK / book->sub; j++) {
        const float s = (first[j] / (d * book->step) - 1.0f) / 2.0f + 0.5f;
        coded->scales[j] = (uint8_t)(s < 0.0f ? 0.0f : s > 15.0f ? 15.0f : s);
    }
    struct sums s = search_round(book, in, d, search->trials, coded);
    for (int round = 0; round < search->rounds && s.xq > 0.0f; round++)
        s = search_round(book, in, s.xq / s.qq, FEW, coded);
    return s;
}

static void search_block(const struct mq_iq_book *book, const struct block *in,
                         const struct search *search, const struct start *start, struct coded *best)
{
    float first[SUBS], largest = 0.0f, best_gain = 0.0f;
    memset(best, 0, sizeof *best);
    for (int j = 0; j < BLOCK / book->sub; j++) {
        first[j] = first_scale(start, book, in, j * book->sub);
        largest = first[j] > largest ? first[j] : largest;
    }
    const float to_top = largest / (book->step * (2 * MQ_IQ_STEPS - 1));
    for (int k = 0; k < search->starts; k++) {
        const float d = half_of(search->rooms[k] * to_top);
        struct coded coded;
        if (d == 0.0f)
            continue;
        const struct sums s = search_from(book, in, search, first, d, &coded);
        const float gain = s.xq * (s.xq / s.qq);
        if (s.xq > 0.0f && gain > best_gain) {
            best_gain = gain;
            *best = coded;
            best->d = half_of(mq_unbiased_scale(s.xx, s.xq, s.qq, in->weighted));
        }
    }
}

/* ---- layouts ---- */

static void pack_d(float d, uint8_t *block)
{
    const uint16_t half = mq_f32_to_f16(d);
    memcpy(block, &half, sizeof half);
}

static void pack_scales(const uint8_t *scales, int count, uint8_t *packed)
{
    for (int i = 0; i < count; i += 2)
        packed[i / 2] = (uint8_t)(scales[i] | scales[i + 1] << 4);
}

/* The seven signs of four units each, and a scale. */
static void pack_signs_and_scale(const struct mq_iq_choice *units, unsigned scale, uint8_t *packed)
{
    uint32_t word = (uint32_t)scale << 28;
    for (int g = 0; g < 4; g++)
        word |= (uint32_t)(units[g].signs & 127) << 7 * g;
    mq_store4(packed, word);
}

static void pack_iq2_xxs(const struct coded *coded, uint8_t *block)
{
    pack_d(coded->d, block);
    for (int i = 0; i < 8; i++) {
        const struct mq_iq_choice *units = coded->units + 4 * i;
        for (int g = 0; g < 4; g++)
            block[2 + 8 * i + g] = (uint8_t)units[g].entries[0];
        pack_signs_and_scale(units, coded->scales[i], block + 6 + 8 * i);
    }
}

static void pack_iq2_xs(const struct coded *coded, uint8_t *block)
{
    pack_d(coded->d, block);
    for (int u = 0; u < UNITS; u++) {
        const struct mq_iq_choice *unit = &coded->units[u];
        const uint16_t word = (uint16_t)(unit->entries[0] | (unit->signs & 127) << 9);
        memcpy(block + 2 + 2 * u, &word, sizeof word);
    }
    pack_scales(coded->scales, 16, block + 66);
}

static void pack_iq2_s(const struct coded *coded, uint8_t *block)
{
    uint8_t *low = block + 2, *signs = low + 32, *high = signs + 32;
    pack_d(coded->d, block);
    memset(high, 0, 8);
    for (int u = 0; u < UNITS; u++) {
        const unsigned entry = coded->units[u].entries[0];
        low[u] = (uint8_t)entry;
        signs[u] = coded->units[u].signs;
        high[u / 4] = (uint8_t)(high[u / 4] | entry >> 8 << 2 * (u % 4));
    }
    pack_scales(coded->scales, 16, high + 8);
}

static void pack_iq3_xxs(const struct coded *coded, uint8_t *block)
{
    pack_d(coded->d, block);
    for (int u = 0; u < UNITS; u++)
        for (int k = 0; k < 2; k++)
            block[2 + 2 * u + k] = (uint8_t)coded->units[u].entries[k];
    for (int i = 0; i < 8; i++)
        pack_signs_and_scale(coded->units + 4 * i, coded->scales[i], block + 66 + 4 * i);
}

static void pack_iq3_s(const struct coded *coded, uint8_t *block)
{
    uint8_t *low = block + 2, *high = low + 64, *signs = high + 8;
    pack_d(coded->d, block);
    memset(high, 0, 8);
    for (int u = 0; u < UNITS; u++) {
        const struct mq_iq_choice *unit = &coded->units[u];
        signs[u] = unit->signs;
        for (int k = 0; k < 2; k++) {
            low[2 * u + k] = (uint8_t)unit->entries[k];
            high[u / 4] = (uint8_t)(high[u / 4] | unit->entries[k] >> 8 << (2 * (u % 4) + k));
        }
    }
    pack_scales(coded->scales, 8, signs + 32);
}

/* ---- rows of blocks ---- */

static void encode(const struct mq_iq_book *book, struct start start,
                   void (*pack)(const struct coded *, uint8_t *), size_t block_bytes,
                   const float *weights, size_t n, const float *importance,
                   const struct search *search, uint8_t *blocks)
{
    static const float ones[MQ_IQ_UNIT] = {1, 1, 1, 1, 1, 1, 1, 1};
    const float max = 0x1p25f; /* above the largest: 15 * 31 * 65504 */
    _Alignas(64) float norms[MQ_IQ_ENTRIES];
    mq_iq_norms(book, ones, norms);
    for (; n; n -= BLOCK, weights += BLOCK, blocks += block_bytes) {
        struct block in = {.weighted = importance != NULL, .norms = norms};
        struct coded coded;
        for (int i = 0; i < BLOCK; i += 16)
            v_store(in.x + i, v_clamp(v_load(weights + i), -max, max));
        mq_importance_weights(importance, BLOCK, in.w);
        search_block(book, &in, search, &start, &coded);
        pack(&coded, blocks);
        importance = importance ? importance + BLOCK : NULL;
    }
}

#define LEVEL(level, block_bytes, ...)                                                             \
    void MQ_ISA_NAME(mq_##level##_encode)(const float *weights, size_t n, const float *importance, \
                                          enum mq_effort effort, uint8_t *blocks)                  \
    {                                                                                              \
        encode(&mq_##level##_book, (struct start){__VA_ARGS__}, pack_##level, block_bytes,         \
               weights, n, importance, &searches[effort], blocks);                                 \
    }
LEVEL(iq2_xxs, 66, 0.048f, 0.7f / 43)
LEVEL(iq2_xs, 74, 0.045f, 0.7f / 43)
LEVEL(iq2_s, 82, 0.046f, 0.7f / 43)
LEVEL(iq3_xxs, 98, 0.041f, 0.8f / 62)
LEVEL(iq3_s, 110, 0.168f, 0.87f / 15)
