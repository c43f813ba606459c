/*
 * feedback.c: panels of rows through the blocks of a level.
 *
 * A panel of PANEL_ROWS rows is one task: rows do not touch each other. Within a block 16 rows go side by side
 * (feedback_kernels.c); from block to block, and for products with H, the panel is multiplied as a whole.
 */
#include "feedback.h"

#include "checked.h"
#include "f16.h"
#include "feedback_book.h"
#include "feedback_kernels.h"
#include "first_error.h"
#include "kernels.h"
#include "pages.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum {
    PANEL_ROWS = 128,
    GROUPS = PANEL_ROWS / 16,
    CHUNK = 256, /* columns of a product at a time */
    DEPTH = 256, /* of H's rows in a packed piece, which stays in the second-level cache */
};

static const struct mq_feedback_kernels *const tables[MQ_ISA_COUNT] = {
    [MQ_ISA_GENERIC] = &mq_feedback_kernels_generic,
#if defined(__x86_64__)
    [MQ_ISA_AVX2] = &mq_feedback_kernels_avx2,
    [MQ_ISA_AVX512] = &mq_feedback_kernels_avx512,
#elif defined(__aarch64__)
    [MQ_ISA_NEON] = &mq_feedback_kernels_neon,
#endif
};

const struct mq_feedback_kernels *mq_feedback_kernels_get(enum mq_isa isa)
{
    return tables[isa] ? tables[isa] : tables[MQ_ISA_GENERIC];
}

bool mq_feedback_can(const struct mq_level *level)
{
    return mq_block_form_of(level) != NULL;
}

/* A run of columns with one block a row; the last of a row, of fewer than 32, as halves. */
struct segment {
    const struct mq_level *level;
    const struct mq_block_form *form; /* NULL: halves */
    size_t begin, width, byte;
};

struct scratch {
    size_t rows; /* of the panel, a multiple of 16 */
    float *x; /* [PANEL_ROWS][n]: weights with errors fed back; then D times what is left of them */
    float *delta;  /* [PANEL_ROWS][n]: w - q; then (w - q) H */
    float *narrow; /* [PANEL_ROWS][256]: a block's columns */
    float *packed; /* [CHUNK / 16][DEPTH][16] */
    float *w, *lanes, *change; /* [256][16] */
    uint8_t *bytes;            /* [PANEL_ROWS][256]: blocks */
    struct mq_feedback_block *blocks; /* [segments][GROUPS] */
};

struct job {
    const struct mq_covariance *factor;
    const struct mq_feedback_kernels *lanes;
    const struct mq_kernels *kernels;
    const struct mq_feedback_options *options;
    enum mq_isa isa;
    const float *weights;
    size_t n, rows, row_bytes;
    uint8_t *bytes;
    struct segment *segments;
    size_t segments_count;
    struct mq_feedback_book book; /* of the level, where it has one */
};

/* ---- scratch ---- */

static size_t scratch_floats(size_t n)
{
    return 2 * PANEL_ROWS * (n + MQ_ROW_PAD) + PANEL_ROWS * MQ_PARTS_WEIGHTS +
           (size_t)CHUNK * DEPTH + 3 * 16 * MQ_PARTS_WEIGHTS;
}

static size_t most_segments(size_t n)
{
    return n / MQ_PARTS_WEIGHTS + MQ_PARTS_WEIGHTS / 32 + n / 32 + 2;
}

static size_t scratch_bytes(size_t n)
{
    return mq_round_up(scratch_floats(n) * sizeof(float) + PANEL_ROWS * MQ_PARTS_WEIGHTS, 64) +
           most_segments(n) * GROUPS * sizeof(struct mq_feedback_block);
}

uint64_t mq_feedback_bytes(const struct mq_context *context, size_t cols)
{
    return (uint64_t)context->threads * scratch_bytes(cols);
}

static size_t stride(const struct job *job)
{
    return job->n + MQ_ROW_PAD;
}

static bool scratch_create(const struct job *job, struct scratch *s)
{
    float *at = mq_pages_alloc(scratch_bytes(job->n));
    if (!at)
        return false;
    memset(at, 0, scratch_floats(job->n) * sizeof *at);
    s->packed = at; /* the one that must be aligned */
    s->x = s->packed + (size_t)CHUNK * DEPTH;
    s->delta = s->x + PANEL_ROWS * stride(job);
    s->narrow = s->delta + PANEL_ROWS * stride(job);
    s->w = s->narrow + PANEL_ROWS * MQ_PARTS_WEIGHTS;
    s->lanes = s->w + 16 * MQ_PARTS_WEIGHTS;
    s->change = s->lanes + 16 * MQ_PARTS_WEIGHTS;
    s->bytes = (uint8_t *)(s->change + 16 * MQ_PARTS_WEIGHTS);
    const size_t head = mq_round_up(scratch_floats(job->n) * sizeof *at +
                                    PANEL_ROWS * MQ_PARTS_WEIGHTS, 64);
    s->blocks = (struct mq_feedback_block *)(void *)((char *)at + head);
    return true;
}

static void scratch_destroy(struct scratch *s)
{
    free(s->packed);
}

/* ---- products of a panel with F and H ---- */

/* What of a covariance's square is multiplied with. */
enum part {
    PLAIN,      /* what stands there: F above the diagonal, a cross covariance */
    TRANSPOSED, /* F' below the diagonal */
    UNIT,       /* (I + F)' */
    SYMMETRIC   /* H, which stands below the diagonal */
};

/* A number of UNIT or SYMMETRIC, where one triangle is the other's mirror image. */
static float element(const float *a, size_t n, enum part part, size_t row, size_t col)
{
    if (part == UNIT && row <= col)
        return row == col ? 1.0f : 0.0f;
    return (row < col) == (part == SYMMETRIC) ? a[col * n + row] : a[row * n + col];
}

/* packed[j / 16][k][j % 16] = the part's rows [k0, k0 + kn) and columns [j0, j0 + jn). */
static void pack(const struct job *job, const float *a, enum part part, size_t k0, size_t kn,
                 size_t j0, size_t jn, float *packed)
{
    const size_t n = job->n;
    for (size_t j = 0; j < jn; j += MQ_PANEL) {
        const size_t some = mq_min_u64(MQ_PANEL, jn - j), col = j0 + j;
        const bool below = k0 >= col + some, above = k0 + kn <= col;
        float *panel = packed + j * kn;
        if (part == TRANSPOSED || (part == UNIT && below) || (part == SYMMETRIC && above)) {
            job->kernels->pack(a + col * n + k0, n, some, kn, panel); /* by rows */
            continue;
        }
        for (size_t row = k0; row < k0 + kn; row++, panel += MQ_PANEL) {
            if (part == PLAIN || (part == SYMMETRIC && col + some <= row + 1))
                memcpy(panel, a + row * n + col, some * sizeof *panel);
            else
                for (size_t i = 0; i < some; i++)
                    panel[i] = element(a, n, part, row, col + i);
            memset(panel + some, 0, (MQ_PANEL - some) * sizeof *panel);
        }
    }
}

/* y[i][j] += sum over k of x[i][k] part[k0 + k][j] for columns [j0, j1) of a panel. */
static void add_product(const struct job *job, const struct scratch *s, const float *x, size_t ldx,
                        const float *a, enum part part, size_t k0, size_t kn, size_t j0, size_t j1,
                        float *y)
{
    for (size_t j = j0; j < j1; j += CHUNK) {
        const size_t jn = mq_min_u64(CHUNK, j1 - j);
        for (size_t k = 0; k < kn; k += DEPTH) {
            const size_t some = mq_min_u64(DEPTH, kn - k);
            if (part == UNIT && k0 + k + some <= j)
                continue; /* zeros */
            pack(job, a, part, k0 + k, some, j, jn, s->packed);
            job->kernels->accumulate(x + k, ldx, s->rows, s->packed, MQ_PANEL * some, some, jn,
                                     y + j, stride(job));
        }
    }
}

/* ---- blocks ---- */

static struct mq_feedback_block *block_of(const struct job *job, const struct scratch *s,
                                          const struct segment *segment, size_t group)
{
    return &s->blocks[(size_t)(segment - job->segments) * GROUPS + group];
}

static const struct mq_feedback_book *book_of(const struct job *job, const struct segment *g)
{
    return g->form && g->form->grid ? &job->book : NULL;
}

/* What a segment's columns would best be, given the errors before it: what leaves no more of them. With x = w plus
 * those errors, w - aim = v solves v (F + I) = w - x. */
static void find_aims(const struct job *job, const struct scratch *s, const struct segment *g,
                      const float *weights)
{
    const float *f = job->factor->a + g->begin * job->n + g->begin;
    for (size_t group = 0; group < s->rows / 16; group++) {
        job->lanes->to_lanes(weights + 16 * group * job->n + g->begin, job->n, g->width, s->w);
        job->lanes->to_lanes(s->x + 16 * group * stride(job) + g->begin, stride(job), g->width,
                             s->lanes);
        for (size_t i = 0; i < 16 * g->width; i++)
            s->lanes[i] = s->w[i] - s->lanes[i];
        job->lanes->solve_on(s->lanes, f, job->n, g->width);
        for (size_t i = 0; i < 16 * g->width; i++)
            s->lanes[i] = s->w[i] - s->lanes[i];
        if (book_of(job, g))
            job->lanes->first_scales(g->form, &job->book, s->lanes, job->factor->D + g->begin,
                                     block_of(job, s, g, group));
        else
            job->lanes->from_lanes(s->lanes, g->width, s->narrow + 16 * group * g->width, g->width);
    }
}

/* First scales: what the level's own search makes of the aims, weighed with what an error of each costs. */
static void first_scales(const struct job *job, const struct scratch *s, const struct segment *g,
                         const float *weights)
{
    find_aims(job, s, g, weights);
    if (book_of(job, g))
        return;
    mq_level_encode_rows(g->level, job->isa, job->options->effort, job->factor->D + g->begin,
                         s->narrow, s->rows, g->width, s->bytes);
    if (!g->form)
        return;
    for (size_t i = 0; i < s->rows; i++) {
        struct mq_feedback_block *block = block_of(job, s, g, i / 16);
        struct mq_block_parts parts;
        g->form->read(s->bytes + i * g->level->block_bytes, &parts);
        block->d[i % 16] = parts.d * g->form->unit;
        block->dmin[i % 16] = parts.dmin;
        for (size_t sub = 0; sub < g->width / g->form->sub_weights; sub++) {
            block->s[sub][i % 16] = (float)parts.s[sub] + g->form->half;
            block->m[sub][i % 16] = parts.m[sub];
        }
    }
}

/* Columns that are kept as halves: nothing to choose. */
static void feed_halves(const struct job *job, const struct scratch *s, const struct segment *g,
                        const float *weights)
{
    const size_t n = job->n;
    mq_level_decode_rows(g->level, job->isa, s->bytes, s->rows, g->width, s->narrow);
    for (size_t i = 0; i < s->rows; i++) {
        const float *w = weights + i * n + g->begin, *q = s->narrow + i * g->width;
        float *x = s->x + i * stride(job) + g->begin,
              *delta = s->delta + i * stride(job) + g->begin;
        for (size_t c = 0; c < g->width; c++) {
            const float *f = job->factor->a + (g->begin + c) * n + g->begin;
            delta[c] = w[c] - q[c];
            x[c] = (x[c] - q[c]) * job->factor->D[g->begin + c];
            for (size_t k = c + 1; k < g->width; k++)
                x[k] = fmaf(delta[c], f[k], x[k]);
        }
    }
}

static void feed_segment(const struct job *job, const struct scratch *s, const struct segment *g,
                         const float *weights)
{
    const size_t n = job->n;
    const float *f = job->factor->a + g->begin * n + g->begin;
    first_scales(job, s, g, weights);
    if (!g->form)
        feed_halves(job, s, g, weights);
    for (size_t group = 0; g->form && group < s->rows / 16; group++) {
        const size_t at = 16 * group * stride(job) + g->begin;
        job->lanes->to_lanes(weights + 16 * group * n + g->begin, n, g->width, s->w);
        job->lanes->to_lanes(s->x + at, stride(job), g->width, s->lanes);
        job->lanes->feed(g->form, book_of(job, g), s->w, s->lanes, f, n, job->factor->D + g->begin,
                         block_of(job, s, g, group), s->change);
        job->lanes->from_lanes(s->change, g->width, s->delta + at, stride(job));
        job->lanes->from_lanes(s->lanes, g->width, s->x + at, stride(job));
    }
    add_product(job, s, s->delta + g->begin, stride(job), job->factor->a, PLAIN, g->begin, g->width,
                g->begin + g->width, n, s->x);
}

static void descend_segment(const struct job *job, const struct scratch *s, const struct segment *g,
                            const float *h)
{
    const size_t n = job->n;
    for (size_t group = 0; group < s->rows / 16; group++) {
        const size_t at = 16 * group * stride(job) + g->begin;
        memset(s->change, 0, 16 * g->width * sizeof(float));
        job->lanes->to_lanes(s->delta + at, stride(job), g->width, s->lanes);
        job->lanes->descend(g->form, book_of(job, g), h, g->width, s->lanes, s->change,
                            block_of(job, s, g, group));
        job->lanes->from_lanes(s->lanes, g->width, s->delta + at, stride(job));
        for (size_t c = 0; c < 16 * g->width; c++)
            s->change[c] = -s->change[c];
        job->lanes->from_lanes(s->change, g->width, s->narrow + 16 * group * g->width, g->width);
    }
    const float *a = job->factor->a;
    add_product(job, s, s->narrow, g->width, a, SYMMETRIC, g->begin, g->width, 0, g->begin,
                s->delta);
    add_product(job, s, s->narrow, g->width, a, SYMMETRIC, g->begin, g->width, g->begin + g->width,
                n, s->delta);
}

/* The block of H that belongs to a segment, in full. */
static void take_h(const struct job *job, const struct segment *g, float *h)
{
    const float *a = job->factor->a;
    for (size_t i = 0; i < g->width; i++)
        for (size_t k = 0; k <= i; k++)
            h[i * g->width + k] = h[k * g->width + i] = a[(g->begin + i) * job->n + g->begin + k];
}

static void write_panel(const struct job *job, const struct scratch *s, const struct segment *g,
                        size_t count, uint8_t *bytes)
{
    for (size_t i = 0; i < count && g->form; i++) {
        uint8_t *out = bytes + i * job->row_bytes + g->byte;
        const struct mq_feedback_block *block = block_of(job, s, g, i / 16);
        struct mq_block_parts parts = {.d = block->d[i % 16] / g->form->unit,
                                       .dmin = block->dmin[i % 16]};
        for (size_t sub = 0; sub < g->width / g->form->sub_weights; sub++) {
            parts.s[sub] = (int16_t)(block->s[sub][i % 16] - g->form->half);
            parts.m[sub] = (int16_t)block->m[sub][i % 16];
        }
        for (size_t c = 0; c < g->width; c++)
            parts.codes[c] = block->codes[c][i % 16];
        g->form->write(&parts, out);
    }
}

static void write_halves(const struct job *job, const struct scratch *s, const struct segment *g,
                         size_t count, uint8_t *bytes)
{
    for (size_t i = 0; i < count; i++)
        memcpy(bytes + i * job->row_bytes + g->byte, s->bytes + i * 2 * g->width, 2 * g->width);
}

/* Rows [first, first + count), count <= PANEL_ROWS; `padded`: room for as many rows of weights. */
static void encode_panel(const struct job *job, struct scratch *s, size_t first, size_t count,
                         float *padded, float *h)
{
    const size_t n = job->n;
    const float *weights = job->weights + first * n;
    uint8_t *bytes = job->bytes + first * job->row_bytes;
    s->rows = mq_round_up(count, 16);
    if (count < s->rows) {
        memset(padded, 0, s->rows * n * sizeof *padded);
        memcpy(padded, weights, count * n * sizeof *padded);
        weights = padded;
    }
    for (size_t i = 0; i < s->rows; i++)
        memcpy(s->x + i * stride(job), weights + i * n, n * sizeof(float));
    for (size_t k = 0; k < job->segments_count; k++) {
        feed_segment(job, s, &job->segments[k], weights);
        if (!job->segments[k].form)
            write_halves(job, s, &job->segments[k], count, bytes);
    }
    const int passes = job->options->passes < 0 ? MQ_FEEDBACK_PASSES : job->options->passes;
    if (passes > 0) {
        memset(s->delta, 0, s->rows * stride(job) * sizeof(float));
        add_product(job, s, s->x, stride(job), job->factor->a, UNIT, 0, n, 0, n, s->delta);
    }
    for (int pass = 0; pass < passes; pass++)
        for (size_t k = 0; k < job->segments_count; k++)
            if (job->segments[k].form) {
                take_h(job, &job->segments[k], h);
                descend_segment(job, s, &job->segments[k], h);
            }
    for (size_t k = 0; k < job->segments_count; k++)
        write_panel(job, s, &job->segments[k], count, bytes);
}

/* ---- a matrix ---- */

/* The segments of a row: blocks, then q8_0's, then halves (levels.h). */
static moeq_status cut_row(struct job *job, const struct mq_level *level, moeq_error *err)
{
    const struct mq_level *q8_0 = mq_level_find("q8_0"), *f16 = mq_level_find("f16");
    job->segments = calloc(most_segments(job->n), sizeof *job->segments);
    if (!job->segments)
        return mq_fail_memory(err, "error feedback");
    size_t at = 0, byte = 0;
    while (at < job->n) {
        const size_t left = job->n - at;
        const struct mq_level *l = left >= level->block_weights ? level : left >= 32 ? q8_0 : f16;
        struct segment *g = &job->segments[job->segments_count++];
        *g = (struct segment){l, l == f16 ? NULL : mq_block_form_of(l), at,
                              l == f16 ? left : l->block_weights, byte};
        at += g->width;
        byte += (size_t)mq_level_row_bytes(l, g->width);
    }
    job->row_bytes = byte;
    return MOEQ_OK;
}

static void work(const struct job *job, struct mq_first_error *failed)
{
    struct scratch s = {0};
    moeq_error error = {0};
    float *padded = malloc(PANEL_ROWS * job->n * sizeof *padded);
    float *h = malloc(MQ_PARTS_WEIGHTS * MQ_PARTS_WEIGHTS * sizeof *h);
    const bool ready = scratch_create(job, &s) && padded && h;
    if (!ready)
        mq_first_error_note(failed, mq_fail_memory(&error, "error feedback"), &error);
#pragma omp for schedule(dynamic)
    for (size_t first = 0; first < job->rows; first += PANEL_ROWS)
        if (ready && !mq_cancelled(job->factor->context))
            encode_panel(job, &s, first, mq_min_u64(PANEL_ROWS, job->rows - first), padded, h);
    scratch_destroy(&s);
    free(padded);
    free(h);
}

moeq_status mq_feedback_encode(const struct mq_covariance *factor, const struct mq_level *level,
                               const struct mq_feedback_options *options, const float *weights,
                               size_t rows, uint8_t *bytes, moeq_error *err)
{
    const struct mq_context *context = factor->context;
    struct job job = {.factor = factor,
                      .lanes = mq_feedback_kernels_get(context->isa),
                      .kernels = mq_kernels_get(context->isa),
                      .options = options,
                      .isa = context->isa,
                      .weights = weights,
                      .n = factor->n,
                      .rows = rows,
                      .bytes = bytes};
    struct mq_first_error failed = {.err = err};
    MQ_TRY(cut_row(&job, level, err));
    if (mq_block_form_of(level)->grid)
        mq_feedback_book_make(mq_block_form_of(level)->grid, &job.book);
#pragma omp parallel num_threads(mq_team(context, rows * job.n * 64))
    work(&job, &failed);
    free(job.segments);
    if (mq_cancelled(context))
        return mq_fail(err, MOEQ_CANCELLED, "interrupted");
    return mq_first_error_status(&failed);
}

/* ---- the cross target ---- */

/* A panel's rows b become z = b H^-1. With H = R R', R = (F + I) r and D = r^2:
 *
 *     v (F + I)' = b from the last columns on, v /= D, z (F + I) = v from the first on
 */
static void solve_panel(const struct job *job, const struct scratch *s)
{
    const struct mq_covariance *f = job->factor;
    const size_t n = job->n, step = MQ_PARTS_WEIGHTS, blocks = (n + step - 1) / step;
    for (size_t turn = 0; turn < 2 * blocks; turn++) {
        const bool back = turn < blocks;
        const size_t k0 = (back ? blocks - 1 - turn : turn - blocks) * step;
        const size_t kn = mq_min_u64(step, n - k0);
        const float *diagonal = f->a + k0 * n + k0;
        for (size_t group = 0; group < s->rows / 16; group++) {
            float *rows = s->x + 16 * group * stride(job) + k0;
            job->lanes->to_lanes(rows, stride(job), kn, s->lanes);
            if (back)
                job->lanes->solve_back(s->lanes, diagonal, n, kn);
            else
                job->lanes->solve_on(s->lanes, diagonal, n, kn);
            job->lanes->from_lanes(s->lanes, kn, rows, stride(job));
            for (size_t c = 0; c < 16 * kn; c++)
                s->lanes[c] = -s->lanes[c];
            job->lanes->from_lanes(s->lanes, kn, s->narrow + 16 * group * kn, kn);
        }
        if (back) {
            add_product(job, s, s->narrow, kn, f->a, TRANSPOSED, k0, kn, 0, k0, s->x);
            for (size_t i = 0; i < s->rows; i++)
                for (size_t k = k0; k < k0 + kn; k++)
                    s->x[i * stride(job) + k] /= f->D[k];
        } else {
            add_product(job, s, s->narrow, kn, f->a, PLAIN, k0, kn, k0 + kn, n, s->x);
        }
    }
}

static void cross_panel(const struct job *job, struct scratch *s, const float *cross,
                        float *weights, size_t count)
{
    const size_t n = job->n;
    s->rows = mq_round_up(count, 16);
    for (size_t i = 0; i < s->rows; i++) {
        float *row = s->delta + i * stride(job);
        memset(s->x + i * stride(job), 0, n * sizeof *row);
        if (i < count)
            memcpy(row, weights + i * n, n * sizeof *row);
        else
            memset(row, 0, n * sizeof *row);
    }
    add_product(job, s, s->delta, stride(job), cross, PLAIN, 0, n, 0, n, s->x);
    solve_panel(job, s);
    for (size_t i = 0; i < count; i++)
        memcpy(weights + i * n, s->x + i * stride(job), n * sizeof *weights);
}

moeq_status mq_feedback_cross_target(const struct mq_covariance *factor,
                                     const struct mq_covariance *cross, float *weights, size_t rows,
                                     moeq_error *err)
{
    const struct mq_context *context = factor->context;
    const struct job job = {.factor = factor,
                            .lanes = mq_feedback_kernels_get(context->isa),
                            .kernels = mq_kernels_get(context->isa),
                            .n = factor->n};
    struct mq_first_error failed = {.err = err};
#pragma omp parallel num_threads(mq_team(context, rows * job.n * 64))
    {
        struct scratch s = {0};
        moeq_error error = {0};
        const bool ready = scratch_create(&job, &s);
        if (!ready)
            mq_first_error_note(&failed, mq_fail_memory(&error, "the cross target"), &error);
#pragma omp for schedule(dynamic)
        for (size_t first = 0; first < rows; first += PANEL_ROWS)
            if (ready)
                cross_panel(&job, &s, cross->a, weights + first * job.n,
                            mq_min_u64(PANEL_ROWS, rows - first));
        scratch_destroy(&s);
    }
    return mq_first_error_status(&failed);
}

double mq_feedback_loss(const struct mq_covariance *factor, const float *a, const float *b,
                        size_t rows)
{
    const size_t n = factor->n;
    double loss = 0.0;
    for (size_t r = 0; r < rows; r++)
        for (size_t i = 0; i < n; i++) {
            const float *h = factor->a + i * n;
            const double e = (double)(a[r * n + i] - b[r * n + i]);
            double sum = 0.5 * (double)h[i] * e;
            for (size_t k = 0; k < i; k++)
                sum += (double)h[k] * (double)(a[r * n + k] - b[r * n + k]);
            loss += 2.0 * e * sum;
        }
    return loss;
}
