/* level_error.c: see the header. */
#include "level_error.h"

#include "checked.h"
#include "cpu.h"
#include "square_errors_int.h"

#include <math.h>
#include <string.h>

/* ---- what the range of the scales costs ---- */

enum { HALF_MAX = 0x7bff, HALF_STEPS = 8 }; /* the largest half; steps of 2^-24 */

static unsigned half_size(const uint8_t *p)
{
    return (p[0] | (unsigned)p[1] << 8) & 0x7fffu;
}

/*
 * Whether a block's scales are at an end of what halves can be. A scale of k steps is off by up to 1/2k, 0.29/k in the
 * root mean square; where integer scales of sub-blocks make that up again, as they do but for the largest, HALF_STEPS
 * are enough. A level of small errors has less to spare: from k = 0.3 / error on they grow by less than half.
 */
static bool is_at_end(const struct mq_level *level, const uint8_t *block)
{
    const uint8_t *d = block + level->half_at;
    if (level->wide_scales)
        return false;
    const double few = fmax(HALF_STEPS, 0.3 / (double)level->error);
    return half_size(d) < few || half_size(d) >= HALF_MAX ||
           (level->has_mins && half_size(d + 2) >= HALF_MAX);
}

/* Blocks that are encoded again, several at once. */
enum { BATCH = 4096, MAX_BYTES = BATCH * 2 };
struct again {
    const struct mq_level *level;
    enum mq_isa isa;
    enum mq_effort effort;
    bool weighted;
    size_t count; /* blocks */
    int exponents[BATCH / 32];
    float weights[BATCH], importance[BATCH], decoded[BATCH];
    uint8_t bytes[MAX_BYTES];
};

static double squares(const float *a, const float *b, size_t n)
{
    double sum = 0;
    for (size_t i = 0; i < n; i++) {
        const double d = (double)a[i] - (double)b[i];
        sum += d * d;
    }
    return sum;
}

/* Encodes those that are waiting; what they lose is within the range. */
static void encode_again(struct again *a, struct mq_square_sums *sums)
{
    const size_t each = a->level->block_weights, n = a->count * each;
    a->level->encode[a->isa](a->weights, n, a->weighted ? a->importance : NULL, a->effort,
                             a->bytes);
    a->level->decode[a->isa](a->bytes, n, a->decoded);
    for (size_t b = 0; b < a->count; b++)
        sums->within += ldexp(squares(a->weights + b * each, a->decoded + b * each, each),
                              2 * a->exponents[b]);
    a->count = 0;
}

/* A block that lost what `stored` differs from it by, not counting as within the range. */
static void put_again(struct again *a, const float *weights, const float *stored,
                      const float *importance, struct mq_square_sums *sums)
{
    const size_t n = a->level->block_weights;
    float largest = 0;
    int exponent = 0;
    for (size_t i = 0; i < n; i++)
        largest = fmaxf(largest, fabsf(weights[i]));
    if (largest == 0 || !isfinite(largest))
        return;
    frexpf(largest, &exponent);
    for (size_t i = 0; i < n; i++)
        a->weights[a->count * n + i] = ldexpf(weights[i], -exponent);
    if (importance)
        memcpy(a->importance + a->count * n, importance, n * sizeof *importance);
    a->weighted = importance != NULL;
    a->exponents[a->count++] = exponent;
    sums->within -= squares(weights, stored, n);
    if ((a->count + 1) * n > BATCH)
        encode_again(a, sums);
}

/* Of rows of whole blocks, what stands at an end: what is lost of it within the range in place of what was. */
static void add_within(const struct mq_level *level, enum mq_isa isa, enum mq_effort effort,
                       const float *importance, const float *weights, const float *stored,
                       const uint8_t *bytes, uint64_t blocks, uint64_t row_blocks,
                       struct mq_square_sums *sums)
{
    const uint32_t n = level->block_weights;
    struct again again;
    again.level = NULL;
    for (uint64_t b = 0; b < blocks; b++) {
        if (!is_at_end(level, bytes + b * level->block_bytes))
            continue;
        if (!again.level) {
            again.level = level;
            again.isa = isa;
            again.effort = effort;
            again.count = 0;
        }
        put_again(&again, weights + b * n, stored + b * n,
                  importance ? importance + b % row_blocks * n : NULL, sums);
    }
    if (again.level && again.count)
        encode_again(&again, sums);
}

/* The same of rows that end in blocks of q8_0, as they do where cols is no multiple of the level's block. */
static void add_rows_within(const struct mq_level *level, enum mq_isa isa, enum mq_effort effort,
                            const float *importance, const float *weights, const float *stored,
                            const uint8_t *bytes, uint64_t rows, uint64_t cols,
                            struct mq_square_sums *sums)
{
    const uint64_t tail = cols % level->block_weights, whole = cols - tail;
    const uint64_t blocks = whole / level->block_weights, row_bytes = mq_level_row_bytes(level, cols);
    const struct mq_level *of_tail = mq_level_find("q8_0");
    if (!tail) {
        add_within(level, isa, effort, importance, weights, stored, bytes, rows * blocks, blocks,
                   sums);
        return;
    }
    for (uint64_t r = 0; r < rows; r++, weights += cols, stored += cols, bytes += row_bytes) {
        const uint64_t tails = tail / of_tail->block_weights;
        add_within(level, isa, effort, importance, weights, stored, bytes, blocks, blocks, sums);
        add_within(of_tail, isa, effort, importance ? importance + whole : NULL, weights + whole,
                   stored + whole, bytes + blocks * level->block_bytes, tails, tails, sums);
    }
}

double mq_level_error_beyond(const struct mq_level *level, enum mq_isa isa, enum mq_effort effort,
                             const float *importance, const float *weights, const float *decoded,
                             const uint8_t *bytes, uint64_t rows, uint64_t cols)
{
    struct mq_square_sums sums = {0};
    if (level->quantized)
        add_rows_within(level, isa, effort, importance, weights, decoded, bytes, rows, cols, &sums);
    return sums.within;
}

void mq_level_add_error(const struct mq_level *level, enum mq_isa isa, enum mq_effort effort,
                        const float *importance, const float *weights, const uint8_t *bytes,
                        uint64_t rows, uint64_t cols, float *scratch, size_t room,
                        struct mq_square_sums *sums)
{
    static void (*const variants[MQ_ISA_COUNT])(const float *, const float *, size_t, double *) =
        MQ_ISA_TABLE(mq_square_errors);
    const uint64_t row_bytes = mq_level_row_bytes(level, cols), step = mq_max_u64(1, room / cols);
    for (uint64_t row = 0; row < rows; row += step) {
        const uint64_t n = mq_min_u64(step, rows - row);
        double part[2] = {0};
        mq_level_decode_rows(level, isa, bytes + row * row_bytes, n, cols, scratch);
        variants[isa](weights + row * cols, scratch, n * cols, part);
        sums->lost += part[0];
        sums->weights += part[1];
        sums->within += part[0] + mq_level_error_beyond(level, isa, effort, importance,
                                                        weights + row * cols, scratch,
                                                        bytes + row * row_bytes, n, cols);
    }
}

static double relative(double lost, double weights)
{
    if (!(lost > 0)) /* a difference of sums may be just below */
        return 0;
    return weights > 0 ? sqrt(lost / weights) : INFINITY;
}

double mq_relative_error(const struct mq_square_sums *s)
{
    return relative(s->lost, s->weights);
}

double mq_error_within(const struct mq_square_sums *s)
{
    return relative(s->within, s->weights);
}

/* ---- what is to be expected ---- */

/* What the range costs is told of; an error that is nothing either way is not. */
static bool has_range_cost(const struct mq_square_sums *s)
{
    return mq_relative_error(s) > MQ_RANGE_NOTED * mq_error_within(s);
}

bool mq_level_error_noted(const struct mq_level *level, const struct mq_square_sums *s)
{
    const double e = level->error, error = mq_relative_error(s);
    if (!level->quantized)
        return error > MQ_ERROR_NOTED_ROUNDED * e;
    return has_range_cost(s) ||
           error > fmax(MQ_ERROR_FLOOR, fmin(MQ_ERROR_NOTED * e, (1 + 2 * e) / 3));
}

bool mq_level_error_far(const struct mq_level *level, const struct mq_square_sums *s)
{
    const double e = level->error, error = mq_relative_error(s), within = mq_error_within(s);
    if (error <= MQ_ERROR_FLOOR)
        return false;
    /* with wide scales only tails have an end of a range; and one outlier in a long row may cost any part of the rest */
    return error > (level->wide_scales ? 1 : fmin(MQ_ERROR_FAR * e, (2 + e) / 3)) ||
           (has_range_cost(s) && error > fmin(MQ_RANGE_FAR * within, (1 + within) / 2));
}

double mq_level_error_expected(const struct mq_level *level, const struct mq_square_sums *s)
{
    return has_range_cost(s) ? mq_error_within(s) : (double)level->error;
}
