/*
 * linear.c: Y = X W' for several arms, W streamed from disk.
 *
 * A parallel loop over tasks of rows: each thread reads, decodes, packs and multiplies on its own,
 * without queues. That the disk works meanwhile, a thread asks the kernel for the rows of a later
 * task before it takes up its own (ask_ahead). A task writes columns of Y that no other task
 * touches; sums over rows are formed afterwards in order. So threads leave no trace in the bits.
 */
#include "linear_int.h"

#include "checked.h"
#include "first_error.h"
#include "kept_weights.h"
#include "panel_product.h"
#include "round_bf16.h"
#include "weights_rows.h"

#include <omp.h>
#include <stdlib.h>
#include <string.h>

/* Tasks for each thread that are asked for before they are taken up. */
#define TASKS_AHEAD 2

void mq_linear_keep(struct mq_linear *linear, struct mq_kept_weights *kept)
{
    linear->kept = kept;
}

static bool same_source(const struct mq_weights *a, const struct mq_weights *b)
{
    return a->view == b->view && a->tensor == b->tensor;
}

moeq_status mq_weights_load(const struct mq_weights *weights, enum mq_isa isa, uint64_t row,
                            uint64_t count, uint8_t *bytes, float *rows, moeq_error *err)
{
    const struct mq_level *level = weights->level;
    if (mq_level_has_bands(level) && (row || count < weights->tensor->rows)) {
        MQ_TRY(mq_weights_encode_bands(weights, isa, row, count, bytes, err));
        return mq_weights_decode_encoded(weights, isa, row, count, bytes, rows, err);
    }
    MQ_TRY(mq_weights_read(weights, isa, row, count, bytes, rows, err));
    if (!level)
        return MOEQ_OK;
    mq_level_encode_rows(weights->level, isa, weights->effort, weights->importance, rows, count,
                         weights->tensor->cols, bytes);
    return mq_weights_decode_encoded(weights, isa, row, count, bytes, rows, err);
}

/* One product, as its tasks see it. */
struct job {
    struct mq_linear *linear;
    enum mq_linear_output output;
    struct mq_linear_arm *arms;
    double *squares; /* [count][rows][SQUARES] */
    size_t count;
    uint64_t first_row, rows, cols; /* rows are numbered from first_row of the matrix on */
    size_t step;                    /* rows at once */
};

/* Several of them: tasks are numbered from one product to the next. */
struct batch {
    struct job first;
    size_t products, task_rows;
    uint64_t tasks_each;
};

static struct job job_of(const struct batch *b, uint64_t task)
{
    const size_t product = task / b->tasks_each;
    struct job job = b->first;
    job.arms += product * job.count;
    job.squares += product * job.count * job.rows * SQUARES;
    return job;
}

/* Of the bytes that weights are decoded from. */
static const struct mq_level *level_of(const struct mq_weights *w)
{
    return w->level ? w->level : w->storage;
}

/* Whether an arm's product is one of integers: its weights have codes. */
static bool is_int8(const struct mq_linear_arm *arm)
{
    return arm->compute == MQ_COMPUTE_INT8 && level_of(&arm->weights)->unpack[0];
}

/* A token's codes are padded for the same reason as rows of floats (MQ_ROW_PAD). */
static uint64_t int8_stride(uint64_t cols)
{
    return mq_round_up(cols, 64) + 64;
}

uint64_t mq_linear_int8_bytes(uint64_t cols)
{
    const uint64_t block = sizeof(struct mq_int8_block) + sizeof(struct mq_int8_halves);
    return int8_stride(cols) + mq_round_up(cols / MQ_INT8_BLOCK * block, 64);
}

/* Where quantize_tokens leaves an arm's tokens, from token `first` on. */
static struct mq_int8_tokens int8_tokens(const struct job *job, const struct mq_linear_arm *arm,
                                         size_t first)
{
    const size_t stride = int8_stride(job->cols), blocks = job->cols / MQ_INT8_BLOCK;
    const void *all_blocks = (const char *)arm->int8 + arm->tokens * stride;
    const void *all_halves = (const struct mq_int8_block *)all_blocks + arm->tokens * blocks;
    return (struct mq_int8_tokens){
        .codes = (const int8_t *)arm->int8 + first * stride,
        .blocks = (const struct mq_int8_block *)all_blocks + first * blocks,
        .halves = (const struct mq_int8_halves *)all_halves + first * blocks,
        .codes_stride = stride,
        .blocks_stride = blocks,
    };
}

/* Token i of an arm. */
static void quantize_token(const struct job *job, const struct mq_linear_arm *arm, size_t i)
{
    const struct mq_int8_tokens t = int8_tokens(job, arm, i);
    job->linear->int8->quantize(arm->x + i * arm->ldx, job->cols - job->cols % MQ_INT8_BLOCK,
                                (int8_t *)t.codes, (struct mq_int8_block *)t.blocks,
                                (struct mq_int8_halves *)t.halves);
}

/* All tokens that integers are to be made of. */
static void quantize_tokens(const struct batch *b)
{
    const struct job *job = &b->first;
    size_t arms = b->products * job->count, most = 0;
    for (size_t a = 0; a < arms; a++)
        if (is_int8(&job->arms[a]) && job->arms[a].tokens > most)
            most = job->arms[a].tokens;
    if (most == 0)
        return;
    const int team = mq_team(job->linear->context, 4 * arms * most * job->cols);
#pragma omp parallel for num_threads(team) schedule(static) collapse(2)
    for (int64_t a = 0; a < (int64_t)arms; a++)
        for (int64_t i = 0; i < (int64_t)most; i++)
            if ((size_t)i < job->arms[a].tokens && is_int8(&job->arms[a]))
                quantize_token(job, &job->arms[a], (size_t)i);
}

/* What codes a level's rows have here: those of q8_0, too, where a row ends in such blocks. */
static struct code_range {
    int8_t min, max;
} code_range(const struct job *job, const struct mq_level *level)
{
    if (job->cols % level->block_weights >= MQ_INT8_BLOCK)
        return (struct code_range){INT8_MIN, INT8_MAX};
    return (struct code_range){level->code_min, level->code_max};
}

/* Products of m tokens with integers: first the columns beyond the last block of 32, as floats. */
static void product_int8(const struct job *job, const struct mq_linear_arm *arm,
                         const struct int8_rows *w, size_t first, size_t m, size_t n, float *y,
                         size_t ldy)
{
    const struct mq_level *level = level_of(&arm->weights);
    const size_t tail = job->cols % MQ_INT8_BLOCK, k = job->cols - tail;
    const struct mq_int8_tokens tokens = int8_tokens(job, arm, first);
    const struct code_range range = code_range(job, level);
    const struct mq_int8_panels panels = {
        .codes = w->codes,
        .scales = w->scales,
        .mins = level->has_mins ? w->mins : NULL,
        .group = level->group,
        .code_min = range.min,
        .code_max = range.max,
    };
    if (tail)
        job->linear->kernels->multiply(arm->x + first * arm->ldx + k, arm->ldx, m, w->tails,
                                       tail * MQ_PANEL, tail, n, y, ldy);
    job->linear->int8->multiply(&tokens, m, &panels, k, n, y, ldy, tail > 0);
}

/* y = products of the rows, packed or as they are stored, with the tokens [first, first + m) of an arm. */
static void product(const struct job *job, const struct mq_linear_arm *arm,
                    const struct thread_scratch *scratch, size_t first, size_t m, size_t n,
                    float *y, size_t ldy)
{
    if (is_int8(arm))
        product_int8(job, arm, &scratch->integers, first, m, n, y, ldy);
    else if (scratch->panel)
        mq_panel_product(job->linear->kernels, level_of(&arm->weights), job->linear->context->isa,
                         scratch->panel, n, job->cols, arm->x + first * arm->ldx, arm->ldx, m, y,
                         ldy);
    else
        job->linear->kernels->multiply(arm->x + first * arm->ldx, arm->ldx, m, scratch->packed,
                                       job->cols * MQ_PANEL, job->cols, n, y, ldy);
}

/* One token's products with the rows [row, row + n), as they leave: with their biases. */
static void finish_products(const struct mq_linear_arm *arm, uint64_t row, float *values, size_t n)
{
    for (size_t r = 0; arm->bias && r < n; r++)
        values[r] += arm->bias[row + r];
    if (arm->bf16)
        mq_round_bf16(values, n);
}

/* Products of the tokens [first, first + m) with n rows, into the sums that were asked for. Tasks meet
 * there; what they add are integers. */
static void sum_outputs(const struct job *job, const struct mq_linear_arm *arm, size_t first,
                        size_t m, const float *y, size_t ldy, size_t n)
{
    size_t begin = first;
    for (size_t r = 0; r < arm->sums.runs_count && begin < first + m; r++) {
        const struct mq_output_squares *run = &arm->sums.runs[r];
        const size_t end = run->end < first + m ? run->end : first + m;
        int64_t sum[2] = {0};
        if (end <= begin)
            continue;
        job->linear->kernels->exact_squares(y + (begin - first) * ldy, ldy, end - begin, n, sum);
#pragma omp critical(mq_linear_sums)
        mq_exact_sum_join(run->sum, sum[0], sum[1]);
        begin = end;
    }
}

/* Multiplies the rows [row, row + n) with an arm's tokens. */
static void multiply(const struct job *job, const struct mq_linear_arm *arm,
                     const struct thread_scratch *scratch, uint64_t row, size_t n)
{
    const struct mq_kernels *kernels = job->linear->kernels;
    if (job->output == MQ_LINEAR_STORE) {
        product(job, arm, scratch, 0, arm->tokens, n, arm->y + row, arm->ldy);
        sum_outputs(job, arm, 0, arm->tokens, arm->y + row, arm->ldy, n);
        for (size_t i = 0; (arm->bf16 || arm->bias) && i < arm->tokens; i++)
            finish_products(arm, row, arm->y + i * arm->ldy + row, n);
        return;
    }
    const size_t ld = PRODUCT_LD;
    for (size_t first = 0; first < arm->tokens; first += CHUNK_TOKENS) {
        const size_t left = arm->tokens - first, m = left < CHUNK_TOKENS ? left : CHUNK_TOKENS;
        product(job, arm, scratch, first, m, n, scratch->product, ld);
        sum_outputs(job, arm, first, m, scratch->product, ld, n);
        for (size_t i = 0; i < m; i++) {
            float *values = scratch->product + i * ld;
            finish_products(arm, row, values, n);
            float *y = arm->y + (first + i) * arm->ldy + row;
            kernels->activate_times[arm->activation](y, values, n, arm->activation_limit);
            if (arm->bf16)
                mq_round_bf16(y, n);
        }
    }
}

/* What the arms want of some weights. */
struct uses {
    bool f32, int8; /* products */
    bool measure;   /* their squares, and the errors of quantizing them */
    bool there;     /* their bytes are at hand (find_there): nothing is read of the source */
};

static bool measures(const struct mq_linear_arm *arm)
{
    return (arm->measure && arm->weights.level) || arm->sums.weights;
}

/* Of the weights of arm `which`: nothing if an arm before it has the same, which then did it for
 * all. */
static struct uses uses_of(const struct job *job, size_t which)
{
    struct uses uses = {0};
    for (size_t a = 0; a < job->count; a++) {
        const struct mq_linear_arm *arm = &job->arms[a];
        if (!mq_weights_equal(&arm->weights, &job->arms[which].weights))
            continue;
        if (a < which)
            return (struct uses){0};
        uses.measure |= measures(arm);
        uses.int8 |= arm->tokens > 0 && is_int8(arm);
        uses.f32 |= arm->tokens > 0 && !is_int8(arm);
    }
    const struct mq_linear_arm *arm = &job->arms[which];
    uses.there = (arm->is_kept || (arm->encoded && arm->is_encoded)) && !uses.measure;
    return uses;
}

static bool any_use(struct uses uses)
{
    return uses.f32 || uses.int8 || uses.measure;
}

static bool reads(struct uses uses)
{
    return any_use(uses) && !uses.there;
}

/* Bytes of rows [at, at + count) of an arm's matrix, of which uses.there holds. `room`: of so many. Where the matrix is
 * kept they are left for the next slab, too. */
static moeq_status find_there(const struct mq_linear_arm *arm, uint64_t at, uint64_t count,
                              uint8_t *room, const uint8_t **bytes, moeq_error *err)
{
    const struct mq_weights *w = &arm->weights;
    const uint64_t row_bytes = arm->encoded ? mq_level_row_bytes(w->level, w->tensor->cols) : 0;
    uint8_t *encoded = arm->encoded ? arm->encoded + at * row_bytes : room;
    *bytes = encoded;
    if (arm->encoded && arm->is_encoded)
        return MOEQ_OK;
    MQ_TRY(mq_kept_matrix_get(arm->kept, at, count, encoded, bytes, err));
    if (arm->encoded && *bytes != encoded)
        memcpy(encoded, *bytes, count * row_bytes);
    return MOEQ_OK;
}

/* Rows [row + p, row + p + count) in `bytes` to integers, packed. */
static moeq_status pack_int8(const struct job *job, const struct mq_weights *weights,
                             const uint8_t *bytes, uint64_t row, size_t p, size_t count,
                             const struct thread_scratch *scratch, moeq_error *err)
{
    const struct mq_linear *linear = job->linear;
    const enum mq_isa isa = linear->context->isa;
    const struct mq_level *level = level_of(weights);
    const char *what = weights->level ? level->name : "as stored";
    const size_t tail = job->cols % MQ_INT8_BLOCK, k = job->cols - tail, groups = k / level->group;
    const struct int8_rows *rows = &scratch->unpacked, *packed = &scratch->integers;
    mq_level_unpack_rows(level, isa, bytes, count, job->cols, rows->codes, rows->scales, rows->mins,
                         rows->tails);
    MQ_TRY(
        mq_weights_check_values(weights, isa, row + p, count, rows->scales, groups, level->group, what, err));
    MQ_TRY(mq_weights_check_values(weights, isa, row + p, count, rows->mins, groups, level->group, what, err));
    MQ_TRY(mq_weights_check_values(weights, isa, row + p, count, rows->tails, tail, 1, what, err));
    const struct code_range range = code_range(job, level);
    /* Four codes are as wide as a float, and packing only moves floats. */
    int8_t *codes = packed->codes + p * k;
    linear->kernels->pack((const float *)(const void *)rows->codes, k / 4, count, k / 4,
                          (float *)(void *)codes);
    linear->int8->finish_pack(codes, MQ_PANEL * k, range.min, range.max);
    linear->kernels->pack(rows->scales, groups, count, groups, packed->scales + p * groups);
    if (level->has_mins)
        linear->kernels->pack(rows->mins, groups, count, groups, packed->mins + p * groups);
    linear->kernels->pack(rows->tails, tail, count, tail, packed->tails + p * tail);
    return MOEQ_OK;
}

/* The same, or floats, of rows that are there, which are good. */
static moeq_status prepare_there(const struct job *job, size_t which, struct uses uses,
                                 const struct thread_scratch *scratch, uint64_t row, size_t p,
                                 size_t count, moeq_error *err)
{
    const struct mq_linear *linear = job->linear;
    const struct mq_weights *weights = &job->arms[which].weights;
    const uint8_t *bytes;
    MQ_TRY(find_there(&job->arms[which], job->first_row + row + p, count, scratch->bytes, &bytes,
                      err));
    if (uses.f32) { /* scratch->rows may be those of the source, for another arm */
        mq_level_decode_rows(level_of(weights), linear->context->isa, bytes, count, job->cols,
                             scratch->quantized);
        linear->kernels->pack(scratch->quantized, job->cols, count, job->cols,
                              scratch->packed + p * job->cols);
    }
    return uses.int8 ? pack_int8(job, weights, bytes, job->first_row + row, p, count, scratch, err)
                     : MOEQ_OK;
}

/* The sums of rows [row, row + count) of an arm's weights, of which `used` are what they were encoded to. */
static void measure_rows(const struct job *job, size_t which, const float *rows, const float *used,
                         const uint8_t *encoded, uint64_t row, size_t count)
{
    const struct mq_weights *w = &job->arms[which].weights;
    const uint64_t cols = job->cols, bytes = w->level ? mq_level_row_bytes(w->level, cols) : 0;
    for (size_t r = 0; r < count; r++) {
        double *squares = job->squares + (which * job->rows + row + r) * SQUARES;
        job->linear->kernels->sum_squares(rows + r * cols, used + r * cols, cols, squares);
        squares[2] = w->level ? mq_level_error_beyond(w->level, job->linear->context->isa, w->effort,
                                                      w->importance, rows + r * cols,
                                                      used + r * cols, encoded + r * bytes, 1, cols)
                              : 0;
    }
}

/* The rows at their level, if they are to be quantized. */
static moeq_status encode_panel(const struct job *job, const struct mq_weights *weights,
                                const struct thread_scratch *scratch, uint64_t at, size_t count,
                                const float *rows, uint8_t *encoded, moeq_error *err)
{
    const enum mq_isa isa = job->linear->context->isa;
    if (mq_level_has_bands(weights->level))
        return mq_linear_encode_bands(scratch->band, weights, isa, at, count, encoded, err);
    if (weights->level)
        mq_level_encode_rows(weights->level, isa, weights->effort, weights->importance, rows, count,
                             job->cols, encoded);
    return MOEQ_OK;
}

/* Makes what `uses` asks of `count` <= MQ_PANEL rows of the weights, from row + p on. `have_rows`:
 * the source's floats are there; otherwise they are read, unless integers alone are wanted of the
 * bytes as stored (`need_rows` is false). */
static moeq_status prepare_panel(const struct job *job, size_t which, struct uses uses,
                                 bool need_rows, bool have_rows,
                                 const struct thread_scratch *scratch, uint64_t row, size_t p,
                                 size_t count, moeq_error *err)
{
    const struct mq_linear *linear = job->linear;
    const struct mq_weights *weights = &job->arms[which].weights;
    const enum mq_isa isa = linear->context->isa;
    const uint64_t at = job->first_row + row + p;
    float *rows = scratch->rows + p * job->cols;
    const float *used = rows;
    const struct mq_linear_arm *arm = &job->arms[which];
    const uint64_t begin_ns = arm->kept ? mq_kept_clock_ns() : 0;
    uint8_t *bytes = scratch->bytes, *encoded = arm->encoded;
    const uint8_t *stored =
        scratch->stored
            ? scratch->stored + (at - scratch->stored_row) * weights->tensor->row_bytes
            : NULL;
    if (uses.there)
        return prepare_there(job, which, uses, scratch, row, p, count, err);
    encoded = encoded ? encoded + at * mq_level_row_bytes(weights->level, job->cols) : bytes;
    if (need_rows && !have_rows && stored)
        MQ_TRY(mq_weights_decode(weights, isa, at, count, stored, rows, err));
    else if (need_rows && !have_rows)
        MQ_TRY(mq_weights_read(weights, isa, at, count, bytes, rows, err));
    else if (uses.int8 && !weights->level)
        MQ_TRY(mq_view_read_rows(weights->view, weights->tensor, at, count, bytes, err));
    MQ_TRY(encode_panel(job, weights, scratch, at, count, rows, encoded, err));
    if (weights->level && (uses.f32 || uses.measure)) {
        MQ_TRY(mq_weights_decode_encoded(weights, isa, at, count, encoded, scratch->quantized, err));
        used = scratch->quantized;
    }
    if (arm->kept && !arm->is_kept && (weights->level || !have_rows)) /* the bytes are these weights' */
        mq_kept_matrix_put(arm->kept, at, count,
                           weights->level ? encoded
                           : stored       ? stored
                                          : bytes,
                           begin_ns);
    if (uses.measure)
        measure_rows(job, which, rows, used, encoded, row + p, count);
    if (uses.f32)
        linear->kernels->pack(used, job->cols, count, job->cols, scratch->packed + p * job->cols);
    return uses.int8 ? pack_int8(job, weights, weights->level ? encoded : bytes,
                                 job->first_row + row, p, count, scratch, err)
                     : MOEQ_OK;
}

/* Whether a product has few tokens, of one arm. */
static bool has_few_tokens(const struct job *job)
{
    const struct mq_linear_arm *arm = job->arms;
    return job->count == 1 && arm->tokens > 0 && arm->tokens <= MQ_FEW_TOKENS && !is_int8(arm) &&
           !measures(arm);
}

/* Finds `count` <= MQ_PANEL rows from `row` on as they are to be decoded, or reads them; NULL where
 * they must be quantized first. */
static moeq_status find_panel(const struct job *job, const struct thread_scratch *scratch,
                              uint64_t row, size_t count, const uint8_t **panel, moeq_error *err)
{
    const struct mq_linear_arm *arm = job->arms;
    const struct mq_weights *weights = &arm->weights;
    const uint64_t at = job->first_row + row;
    const uint64_t begin_ns = arm->kept ? mq_kept_clock_ns() : 0;
    *panel = NULL;
    if (uses_of(job, 0).there)
        return find_there(arm, at, count, scratch->bytes, panel, err);
    if (weights->level)
        return MOEQ_OK;
    if (scratch->stored) {
        *panel = scratch->stored + (at - scratch->stored_row) * weights->tensor->row_bytes;
    } else {
        MQ_TRY(mq_view_read_rows(weights->view, weights->tensor, at, count, scratch->bytes, err));
        *panel = scratch->bytes;
    }
    if (arm->kept)
        mq_kept_matrix_put(arm->kept, at, count, *panel, begin_ns);
    return MOEQ_OK;
}

/* Fails if one of the rows of a panel is not finite. A product with such a row is none either, so the
 * rows are looked at only where a product is not. */
static moeq_status check_panel(const struct job *job, const struct thread_scratch *scratch,
                               uint64_t row, size_t count, moeq_error *err)
{
    const struct mq_linear_arm *arm = job->arms;
    const enum mq_isa isa = job->linear->context->isa;
    const bool stores = job->output == MQ_LINEAR_STORE; /* an activation may have a limit */
    const float *y = stores ? arm->y + row : scratch->product;
    bool finite = true;
    for (size_t i = 0; i < arm->tokens; i++, y += stores ? arm->ldy : PRODUCT_LD)
        finite &= mq_first_not_finite(isa, y, count) == count;
    if (finite)
        return MOEQ_OK;
    if (arm->weights.level)
        return mq_weights_decode_encoded(&arm->weights, isa, job->first_row + row, count, scratch->panel,
                              scratch->rows, err);
    return mq_weights_decode(&arm->weights, isa, job->first_row + row, count, scratch->panel,
                       scratch->rows, err);
}

/* Multiplies the rows [row, row + n) with few tokens, panel by panel; *done: how many of them. */
static moeq_status run_few(const struct job *job, const struct thread_scratch *scratch,
                           uint64_t row, size_t n, size_t *done, moeq_error *err)
{
    struct thread_scratch mine = *scratch;
    for (*done = 0; *done < n;) {
        const size_t count = mq_min_u64(MQ_PANEL, n - *done);
        MQ_TRY(find_panel(job, scratch, row + *done, count, &mine.panel, err));
        if (!mine.panel)
            break;
        multiply(job, job->arms, &mine, row + *done, count);
        MQ_TRY(check_panel(job, &mine, row + *done, count, err));
        *done += count;
    }
    return MOEQ_OK;
}

/* Prepares the weights of arm `which`, and multiplies them for all arms that use them. */
static moeq_status run_weights(const struct job *job, size_t which, struct uses uses,
                               bool need_rows, bool have_rows, const struct thread_scratch *scratch,
                               uint64_t row, size_t n, moeq_error *err)
{
    for (size_t p = 0; p < n; p += MQ_PANEL)
        MQ_TRY(prepare_panel(job, which, uses, need_rows, have_rows, scratch, row, p,
                             n - p < MQ_PANEL ? n - p : MQ_PANEL, err));
    for (size_t a = which; a < job->count; a++)
        if (job->arms[a].tokens > 0 &&
            mq_weights_equal(&job->arms[a].weights, &job->arms[which].weights))
            multiply(job, &job->arms[a], scratch, row, n);
    return MOEQ_OK;
}

/* Rows [row, row + n) for the arms that have the source of arm `source`, the first of them. */
static moeq_status run_step(const struct job *job, size_t source, bool need_rows,
                            const struct thread_scratch *scratch, uint64_t row, size_t n,
                            moeq_error *err)
{
    bool have_rows = false;
    size_t done = 0;
    if (has_few_tokens(job))
        MQ_TRY(run_few(job, scratch, row, n, &done, err));
    if (done == n)
        return MOEQ_OK;
    row += done;
    n -= done;
    for (size_t a = source; a < job->count; a++) {
        const struct uses uses = uses_of(job, a);
        if (!same_source(&job->arms[a].weights, &job->arms[source].weights) || !any_use(uses))
            continue;
        MQ_TRY(run_weights(job, a, uses, need_rows, have_rows, scratch, row, n, err));
        have_rows |= need_rows && !uses.there;
    }
    return MOEQ_OK;
}

static moeq_status run_source(const struct job *job, size_t source, bool need_rows,
                              const struct thread_scratch *scratch, uint64_t row, size_t n,
                              moeq_error *err)
{
    const struct mq_weights *weights = &job->arms[source].weights;
    struct thread_scratch mine = *scratch;
    if (need_rows && mq_view_rows_at_once(weights->tensor) > 1) {
        mine.stored = scratch->together;
        mine.stored_row = job->first_row + row;
        MQ_TRY(mq_view_read_rows(weights->view, weights->tensor, mine.stored_row, n,
                                 scratch->together, err));
    }
    for (size_t r = 0; r < n; r += job->step)
        MQ_TRY(run_step(job, source, need_rows, &mine, row + r, mq_min_u64(job->step, n - r), err));
    return MOEQ_OK;
}

/* Rows [row, row + n) for all arms, source by source so that each is read once. */
static moeq_status run_task(const struct job *job, const struct thread_scratch *scratch,
                            uint64_t row, size_t n, moeq_error *err)
{
    for (size_t source = 0; source < job->count; source++) {
        const struct mq_weights *weights = &job->arms[source].weights;
        bool seen = false, need_rows = false;
        for (size_t a = 0; a < source; a++)
            seen |= same_source(&job->arms[a].weights, weights);
        for (size_t a = source; a < job->count; a++) {
            const struct uses uses = uses_of(job, a);
            need_rows |=
                same_source(&job->arms[a].weights, weights) && !uses.there &&
                (uses.f32 || uses.measure || (job->arms[a].weights.level && any_use(uses)));
        }
        if (!seen)
            MQ_TRY(run_source(job, source, need_rows, scratch, row, n, err));
    }
    return MOEQ_OK;
}

/* Asks for rows [row, row + n) of every source that is used, and of what is kept. Threads take turns at a file, which
 * the kernel's own readahead takes for leaps. */
static void ask_for_rows(const struct job *job, uint64_t row, uint64_t n)
{
    for (size_t a = 0; a < job->count; a++) {
        const struct mq_weights *weights = &job->arms[a].weights;
        const struct uses uses = uses_of(job, a);
        bool seen = !reads(uses);
        for (size_t b = 0; b < a && !seen; b++)
            seen = same_source(&job->arms[b].weights, weights) && reads(uses_of(job, b));
        if (!seen)
            mq_view_prefetch_rows(weights->view, weights->tensor, job->first_row + row, n);
        if (any_use(uses) && uses.there && job->arms[a].is_kept)
            mq_kept_matrix_prefetch(job->arms[a].kept, job->first_row + row, n);
    }
}

/* At the beginning of a task: the task that lies TASKS_AHEAD for each thread behind it, and with
 * the first one all up to there. So each is asked for once, and no more than those lie unused in
 * memory that the kernel takes back when it needs it. */
static void ask_ahead(const struct batch *b, uint64_t task)
{
    const uint64_t ahead = (uint64_t)TASKS_AHEAD * b->first.linear->context->threads;
    const uint64_t end = mq_min_u64(task + ahead + 1, b->products * b->tasks_each);
    for (uint64_t t = task ? task + ahead : 0; t < end; t++) {
        const struct job job = job_of(b, t);
        const uint64_t row = t % b->tasks_each * b->task_rows;
        ask_for_rows(&job, row, mq_min_u64(b->task_rows, job.rows - row));
    }
}

/* Adds the rows' sums up, in order, for every arm that asked. */
static void finish_sums(const struct job *job)
{
    for (size_t a = 0; a < job->count; a++) {
        struct mq_linear_arm *arm = &job->arms[a];
        arm->squares = (struct mq_square_sums){0};
        if (!measures(arm))
            continue;
        size_t which = 0;
        while (!mq_weights_equal(&job->arms[which].weights, &arm->weights))
            which++;
        const double *squares = job->squares + which * job->rows * SQUARES;
        for (uint64_t r = 0; r < job->rows; r++, squares += SQUARES) {
            arm->squares.lost += squares[0];
            arm->squares.weights += squares[1];
            arm->squares.within += squares[0] + squares[2];
            if (arm->sums.weights)
                mq_exact_sum_add(arm->sums.weights, squares[1]);
        }
    }
}

/* Rows at once: many where there are enough for all threads. */
static size_t step_of(const struct job *job, size_t products)
{
    uint64_t panels = MAX_PANELS;
    while (panels > 1 &&
           (panels * MQ_PANEL * job->cols * sizeof(float) > MAX_PACKED_BYTES ||
            products * job->rows < 4 * panels * MQ_PANEL * job->linear->context->threads))
        panels /= 2;
    return panels * MQ_PANEL;
}

/* Rows that the arms' levels encode together. */
static uint64_t band_rows_of(const struct job *job)
{
    uint64_t most = 1;
    for (size_t a = 0; a < job->count; a++)
        if (job->arms[a].weights.level)
            most = mq_max_u64(most, job->arms[a].weights.level->band_rows);
    return most;
}

/* Rows of a task: a multiple of job->step, where rows are to be read together and there are enough; and whole bands of
 * rows that are encoded together, so that no two threads encode the same one. */
static size_t task_rows_of(const struct job *job, size_t products)
{
    uint64_t steps = 1, room = UINT64_MAX;
    for (size_t a = 0; a < job->count; a++) {
        const struct mq_tensor *t = job->arms[a].weights.tensor;
        const uint64_t together = mq_view_rows_at_once(t);
        room = together > 1 ? mq_min_u64(room, TOGETHER_BYTES / t->row_bytes) : room;
        steps = mq_max_u64(steps, together / job->step);
    }
    steps = mq_max_u64(1, mq_min_u64(steps, room / job->step));
    while (steps > 1 &&
           products * job->rows < 4 * steps * job->step * job->linear->context->threads)
        steps /= 2;
    const uint64_t bands = mq_max_u64(1, band_rows_of(job) / job->step);
    return mq_max_u64(steps, mq_min_u64(bands, mq_max_u64(1, room / job->step))) * job->step;
}

/* Multiply-adds, and for each weight what decoding and packing it costs. */
static uint64_t operations_of(const struct batch *b)
{
    enum { PREPARING = 16 };
    uint64_t tokens = 0;
    for (size_t a = 0; a < b->products * b->first.count; a++)
        tokens += b->first.arms[a].tokens;
    return b->first.rows * b->first.cols * (tokens + PREPARING * b->products);
}

/* Where the arms' matrices are kept, and whether their rows are there. */
static void find_kept(const struct batch *b)
{
    for (size_t p = 0; p < b->products; p++) {
        const struct job job = job_of(b, p * b->tasks_each);
        for (size_t a = 0; a < job.count; a++) {
            job.arms[a].kept = NULL;
            job.arms[a].is_kept = false;
        }
        for (size_t a = 0; job.linear->kept && a < job.count; a++) {
            struct mq_linear_arm *arm = &job.arms[a];
            if (!any_use(uses_of(&job, a)))
                continue;
            arm->kept = mq_kept_weights_matrix(job.linear->kept, &arm->weights);
            arm->is_kept = mq_kept_matrix_has(arm->kept, job.first_row, job.rows);
        }
    }
}

/* The rows of a product have been put where they are kept. */
static void add_kept(const struct job *job)
{
    for (size_t a = 0; a < job->count; a++)
        if (job->arms[a].kept && !job->arms[a].is_kept)
            mq_kept_matrix_add(job->arms[a].kept, job->first_row, job->rows);
}

moeq_status mq_linear_apply(struct mq_linear *linear, enum mq_linear_output output,
                            struct mq_linear_arm *arms, size_t count, size_t products,
                            moeq_error *err)
{
    const struct mq_tensor *tensor = arms[0].weights.tensor;
    struct batch b = {.first = {.linear = linear,
                                .output = output,
                                .arms = arms,
                                .squares = linear->squares,
                                .count = count,
                                .first_row = arms[0].first_row,
                                .rows = arms[0].rows_count ? arms[0].rows_count : tensor->rows,
                                .cols = tensor->cols},
                      .products = products};
    const struct mq_context *context = linear->context;
    b.first.step = step_of(&b.first, products);
    b.task_rows = task_rows_of(&b.first, products);
    b.tasks_each = (b.first.rows + b.task_rows - 1) / b.task_rows;
    quantize_tokens(&b);
    find_kept(&b);
    struct mq_first_error first = {.err = err};
    const int team = mq_team(context, operations_of(&b));
#pragma omp parallel for num_threads(team) schedule(dynamic)
    for (int64_t task = 0; task < (int64_t)(products * b.tasks_each); task++) {
        if (mq_first_error_status(&first))
            continue;
        moeq_error mine = {0};
        const struct job job = job_of(&b, (uint64_t)task);
        const uint64_t row = (uint64_t)task % b.tasks_each * b.task_rows;
        const size_t n = mq_min_u64(b.task_rows, job.rows - row);
        ask_ahead(&b, (uint64_t)task);
        const moeq_status result =
            mq_cancelled(context)
                ? mq_fail(&mine, MOEQ_CANCELLED, "interrupted")
                : run_task(&job, &linear->threads[omp_get_thread_num()], row, n, &mine);
        mq_first_error_note(&first, result, &mine);
    }
    for (size_t p = 0; p < products && mq_first_error_status(&first) == MOEQ_OK; p++) {
        const struct job job = job_of(&b, p * b.tasks_each);
        finish_sums(&job);
        add_kept(&job);
    }
    return mq_first_error_status(&first);
}
