/*
 * linear.c: Y = X W' for several arms, W streamed from disk.
 *
 * A parallel loop over tasks of rows: each thread reads, decodes, packs and multiplies on its own,
 * so reading overlaps with arithmetic without queues. A task writes columns of Y that no other task
 * touches; sums over rows are formed afterwards in order. So threads leave no trace in the bits.
 */
#include "linear.h"

#include "checked.h"
#include "error.h"
#include "kernels.h"
#include "round_bf16.h"

#include <omp.h>
#include <stdlib.h>
#include <string.h>

/* Rows of W per task: more let a token's activations, once in cache, meet more weights; fewer
 * spread better over threads. 4 MiB of packed weights stay near the core between blocks of k. */
#define MAX_PANELS 4
#define MAX_PACKED_BYTES (4u << 20)
/* Tokens whose product goes through a buffer of the thread before it is stored: a multiple of the
 * micro-kernels' 6 and 14 tokens; 504 * 128 floats = 252 KiB. */
#define CHUNK_TOKENS 504

struct thread_scratch {
    float *rows;      /* decoded rows of a task: [MAX_PANELS * MQ_PANEL][cols] */
    float *quantized; /* [MQ_PANEL][cols] after encoding and decoding */
    float *packed;    /* [MAX_PANELS][cols][MQ_PANEL] */
    float *product;   /* [CHUNK_TOKENS][MAX_PANELS * MQ_PANEL] */
    uint8_t *bytes;   /* [MQ_PANEL][row_bytes] */
};

struct mq_linear {
    const struct mq_context *context;
    const struct mq_kernels *kernels;
    struct mq_linear_sizes sizes;
    struct thread_scratch *threads; /* [context->threads] */
    double *squares;                /* [arms][rows][2]: error and weights per row */
    void *memory;
};

/* Offsets of the scratch arrays in one allocation. */
struct layout {
    uint64_t rows, quantized, packed, product, bytes, thread_bytes, total;
};

static struct layout lay_out(const struct mq_context *context, const struct mq_linear_sizes *sizes)
{
    struct layout l;
    uint64_t at = 0;
    /* mq_linear_apply packs one panel of any width, and more of them up to MAX_PACKED_BYTES */
    const uint64_t panel = MQ_PANEL * sizes->cols;
    const uint64_t floats =
        mq_max_u64(panel, mq_min_u64(MAX_PACKED_BYTES / sizeof(float), MAX_PANELS * panel));
#define TAKE(field, size) (l.field = at, at += mq_round_up((size), 64))
    TAKE(rows, floats * sizeof(float));
    TAKE(quantized, panel * sizeof(float));
    TAKE(packed, floats * sizeof(float));
    TAKE(product, (uint64_t)CHUNK_TOKENS * MAX_PANELS * MQ_PANEL * sizeof(float));
    TAKE(bytes, MQ_PANEL * sizes->row_bytes);
#undef TAKE
    l.thread_bytes = mq_round_up(at, 4096);
    l.total = l.thread_bytes * context->threads + sizes->arms * sizes->rows * 2 * sizeof(double);
    return l;
}

uint64_t mq_linear_bytes(const struct mq_context *context, const struct mq_linear_sizes *sizes)
{
    return lay_out(context, sizes).total;
}

moeq_status mq_linear_create(const struct mq_context *context, const struct mq_linear_sizes *sizes,
                             struct mq_linear **linear, moeq_error *err)
{
    const struct layout l = lay_out(context, sizes);
    struct mq_linear *r = calloc(1, sizeof *r);
    if (!r)
        return mq_fail_memory(err, "preparing matrix products");
    r->threads = calloc(context->threads, sizeof *r->threads);
    r->memory = aligned_alloc(4096, mq_round_up(l.total, 4096));
    if (!r->threads || !r->memory) {
        mq_linear_destroy(r);
        return mq_fail_memory(err, "preparing matrix products");
    }
    r->context = context;
    r->kernels = mq_kernels_get(context->isa);
    r->sizes = *sizes;
    char *at = r->memory;
    for (unsigned t = 0; t < context->threads; t++, at += l.thread_bytes) {
        r->threads[t] = (struct thread_scratch){
            .rows = (float *)(void *)(at + l.rows),
            .quantized = (float *)(void *)(at + l.quantized),
            .packed = (float *)(void *)(at + l.packed),
            .product = (float *)(void *)(at + l.product),
            .bytes = (uint8_t *)at + l.bytes,
        };
    }
    r->squares = (double *)(void *)at;
    *linear = r;
    return MOEQ_OK;
}

void mq_linear_destroy(struct mq_linear *linear)
{
    if (!linear)
        return;
    free(linear->threads);
    free(linear->memory);
    free(linear);
}

static bool same_source(const struct mq_weights *a, const struct mq_weights *b)
{
    return a->view == b->view && a->tensor == b->tensor;
}

bool mq_weights_equal(const struct mq_weights *a, const struct mq_weights *b)
{
    return same_source(a, b) && a->level == b->level && (!a->level || a->effort == b->effort);
}

uint64_t mq_weights_row_bytes(const struct mq_weights *weights)
{
    const uint64_t cols = weights->tensor->cols;
    return mq_max_u64(weights->tensor->row_bytes,
                      weights->level ? mq_level_row_bytes(weights->level, cols) : 0);
}

/* Fails if one of the values is not finite; `what` says where it came from. */
static moeq_status check_finite(const struct mq_weights *weights, enum mq_isa isa, uint64_t row,
                                uint64_t count, const float *rows, const char *what,
                                moeq_error *err)
{
    const struct mq_tensor *tensor = weights->tensor;
    const size_t n = count * tensor->cols, bad = mq_first_not_finite(isa, rows, n);
    if (bad == n)
        return MOEQ_OK;
    const uint64_t bad_row = row + bad / tensor->cols;
    return mq_fail_tensor(err, MOEQ_MALFORMED, weights->view->files[tensor->file].file.path,
                          tensor->name, tensor->offset + bad_row * tensor->row_bytes,
                          "row %llu, column %llu %s: expected a finite weight, found %g",
                          (unsigned long long)bad_row, (unsigned long long)(bad % tensor->cols),
                          what, (double)rows[bad]);
}

static moeq_status read_rows(const struct mq_weights *weights, enum mq_isa isa, uint64_t row,
                             uint64_t count, uint8_t *bytes, float *rows, moeq_error *err)
{
    MQ_TRY(mq_view_read_rows(weights->view, weights->tensor, row, count, bytes, err));
    mq_level_decode_rows(weights->storage, isa, bytes, count, weights->tensor->cols, rows);
    return check_finite(weights, isa, row, count, rows, "as stored", err);
}

/* Encodes and decodes rows; `out` may be `rows`. */
static moeq_status quantize_rows(const struct mq_weights *weights, enum mq_isa isa, uint64_t row,
                                 uint64_t count, const float *rows, uint8_t *bytes, float *out,
                                 moeq_error *err)
{
    const size_t cols = weights->tensor->cols;
    mq_level_encode_rows(weights->level, isa, weights->effort, rows, count, cols, bytes);
    mq_level_decode_rows(weights->level, isa, bytes, count, cols, out);
    return check_finite(weights, isa, row, count, out, weights->level->name, err);
}

moeq_status mq_weights_load(const struct mq_weights *weights, enum mq_isa isa, uint64_t row,
                            uint64_t count, uint8_t *bytes, float *rows, moeq_error *err)
{
    MQ_TRY(read_rows(weights, isa, row, count, bytes, rows, err));
    return weights->level ? quantize_rows(weights, isa, row, count, rows, bytes, rows, err)
                          : MOEQ_OK;
}

/* Sums of (q - w)^2 and w^2 over a row: eight interleaved partial sums, folded in a fixed order. */
static void sum_squares(const float *w, const float *q, size_t n, double result[2])
{
    double error[8] = {0}, weight[8] = {0};
    size_t i = 0;
    for (; i + 8 <= n; i += 8) {
        for (size_t lane = 0; lane < 8; lane++) {
            const double a = (double)w[i + lane], d = (double)q[i + lane] - a;
            error[lane] += d * d;
            weight[lane] += a * a;
        }
    }
    for (size_t lane = 0; i < n; i++, lane++) {
        const double a = (double)w[i], d = (double)q[i] - a;
        error[lane] += d * d;
        weight[lane] += a * a;
    }
    for (size_t half = 4; half; half /= 2) {
        for (size_t lane = 0; lane < half; lane++) {
            error[lane] += error[lane + half];
            weight[lane] += weight[lane + half];
        }
    }
    result[0] = error[0];
    result[1] = weight[0];
}

/* One product, as its tasks see it. */
struct job {
    struct mq_linear *linear;
    enum mq_linear_output output;
    struct mq_linear_arm *arms;
    size_t count;
    uint64_t rows, cols;
    size_t task_rows;
};

/* Multiplies the packed rows [row, row + n) with an arm's tokens. */
static void multiply(const struct job *job, const struct mq_linear_arm *arm,
                     const struct thread_scratch *scratch, uint64_t row, size_t n)
{
    const struct mq_kernels *kernels = job->linear->kernels;
    const size_t panel_stride = job->cols * MQ_PANEL;
    if (job->output == MQ_LINEAR_STORE) {
        kernels->multiply(arm->x, arm->ldx, arm->tokens, scratch->packed, panel_stride, job->cols,
                          n, arm->y + row, arm->ldy);
        for (size_t i = 0; arm->bf16 && i < arm->tokens; i++)
            mq_round_bf16(arm->y + i * arm->ldy + row, n);
        return;
    }
    const size_t ld = MAX_PANELS * MQ_PANEL;
    for (size_t first = 0; first < arm->tokens; first += CHUNK_TOKENS) {
        const size_t left = arm->tokens - first, m = left < CHUNK_TOKENS ? left : CHUNK_TOKENS;
        kernels->multiply(arm->x + first * arm->ldx, arm->ldx, m, scratch->packed, panel_stride,
                          job->cols, n, scratch->product, ld);
        for (size_t i = 0; i < m; i++) {
            float *product = scratch->product + i * ld;
            if (arm->bf16)
                mq_round_bf16(product, n);
            if (job->output == MQ_LINEAR_SILU_TIMES) {
                float *y = arm->y + (first + i) * arm->ldy + row;
                kernels->silu_times(y, product, n);
                if (arm->bf16)
                    mq_round_bf16(y, n);
            } else {
                kernels->add_scaled(arm->y + arm->target[first + i] * arm->ldy + row, product,
                                    arm->scale[first + i], n);
            }
        }
    }
}

/* Which arms have work for, and want the errors of, the weights of arm `which`? Arms before it
 * with the same weights have done it for all. */
static bool is_wanted(const struct job *job, size_t which, bool *measure, bool *tokens)
{
    *measure = *tokens = false;
    for (size_t a = 0; a < job->count; a++) {
        if (!mq_weights_equal(&job->arms[a].weights, &job->arms[which].weights))
            continue;
        if (a < which)
            return false;
        *measure |= job->arms[a].measure && job->arms[a].weights.level;
        *tokens |= job->arms[a].tokens > 0;
    }
    return *measure || *tokens;
}

/* Reads (unless an earlier arm of the task did: `have_rows`), quantizes, packs and multiplies the
 * weights of arm `which`, for all arms that use them. */
static moeq_status run_weights(const struct job *job, size_t which, bool measure, bool tokens,
                               bool have_rows, const struct thread_scratch *scratch, uint64_t row,
                               size_t n, moeq_error *err)
{
    const struct mq_linear *linear = job->linear;
    const struct mq_weights *weights = &job->arms[which].weights;
    const enum mq_isa isa = linear->context->isa;
    for (size_t p = 0; p < n; p += MQ_PANEL) {
        const size_t count = n - p < MQ_PANEL ? n - p : MQ_PANEL;
        float *rows = scratch->rows + p * job->cols;
        const float *used = rows;
        if (!have_rows)
            MQ_TRY(read_rows(weights, isa, row + p, count, scratch->bytes, rows, err));
        if (weights->level) {
            MQ_TRY(quantize_rows(weights, isa, row + p, count, rows, scratch->bytes,
                                 scratch->quantized, err));
            used = scratch->quantized;
        }
        for (size_t r = 0; measure && r < count; r++)
            sum_squares(rows + r * job->cols, used + r * job->cols, job->cols,
                        linear->squares + (which * job->rows + row + p + r) * 2);
        if (tokens)
            linear->kernels->pack(used, job->cols, count, job->cols,
                                  scratch->packed + p * job->cols);
    }
    for (size_t a = which; a < job->count; a++)
        if (job->arms[a].tokens > 0 && mq_weights_equal(&job->arms[a].weights, weights))
            multiply(job, &job->arms[a], scratch, row, n);
    return MOEQ_OK;
}

/* Rows [row, row + n) for all arms, source by source so that each is read once. */
static moeq_status run_task(const struct job *job, const struct thread_scratch *scratch,
                            uint64_t row, size_t n, moeq_error *err)
{
    for (size_t source = 0; source < job->count; source++) {
        bool seen = false, have_rows = false, measure, tokens;
        for (size_t a = 0; a < source; a++)
            seen |= same_source(&job->arms[a].weights, &job->arms[source].weights);
        for (size_t a = source; !seen && a < job->count; a++) {
            if (!same_source(&job->arms[a].weights, &job->arms[source].weights) ||
                !is_wanted(job, a, &measure, &tokens))
                continue;
            MQ_TRY(run_weights(job, a, measure, tokens, have_rows, scratch, row, n, err));
            have_rows = true;
        }
    }
    return MOEQ_OK;
}

/* Adds the rows' sums up, in order, for every arm that asked. */
static void finish_sums(const struct job *job)
{
    for (size_t a = 0; a < job->count; a++) {
        struct mq_linear_arm *arm = &job->arms[a];
        arm->squared_error = arm->squared_weights = 0;
        if (!arm->measure || !arm->weights.level)
            continue;
        size_t which = 0;
        while (!mq_weights_equal(&job->arms[which].weights, &arm->weights))
            which++;
        const double *squares = job->linear->squares + which * job->rows * 2;
        for (uint64_t r = 0; r < job->rows; r++) {
            arm->squared_error += squares[2 * r];
            arm->squared_weights += squares[2 * r + 1];
        }
    }
}

moeq_status mq_linear_apply(struct mq_linear *linear, enum mq_linear_output output,
                            struct mq_linear_arm *arms, size_t count, moeq_error *err)
{
    const struct mq_tensor *tensor = arms[0].weights.tensor;
    struct job job = {.linear = linear,
                      .output = output,
                      .arms = arms,
                      .count = count,
                      .rows = tensor->rows,
                      .cols = tensor->cols};
    const struct mq_context *context = linear->context;
    uint64_t panels = MAX_PANELS;
    while (panels > 1 && (panels * MQ_PANEL * job.cols * sizeof(float) > MAX_PACKED_BYTES ||
                          job.rows < 4 * panels * MQ_PANEL * context->threads))
        panels /= 2;
    job.task_rows = panels * MQ_PANEL;
    const int64_t tasks = (int64_t)((job.rows + job.task_rows - 1) / job.task_rows);

    moeq_status status = MOEQ_OK;
#pragma omp parallel for num_threads((int)context->threads) schedule(dynamic)
    for (int64_t task = 0; task < tasks; task++) {
        moeq_status before;
#pragma omp atomic read
        before = status;
        if (before != MOEQ_OK)
            continue;
        moeq_error mine = {0};
        const uint64_t row = (uint64_t)task * job.task_rows;
        const size_t n = mq_min_u64(job.task_rows, job.rows - row);
        const moeq_status result =
            mq_cancelled(context)
                ? mq_fail(&mine, MOEQ_CANCELLED, "interrupted")
                : run_task(&job, &linear->threads[omp_get_thread_num()], row, n, &mine);
        if (result != MOEQ_OK) {
#pragma omp critical(mq_linear_error)
            if (status == MOEQ_OK) {
                if (err && err->status == MOEQ_OK)
                    *err = mine;
#pragma omp atomic write
                status = result;
            }
        }
    }
    if (status == MOEQ_OK)
        finish_sums(&job);
    return status;
}
