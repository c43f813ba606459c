/* covariance.c: sums of products by tiles, and the reverse Cholesky factor by blocks of columns. */
#include "covariance.h"

#include "checked.h"
#include "feedback_kernels.h"
#include "kernels.h"
#include "pages.h"

#include <omp.h>

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { TILE = 128, BLOCK = 64 };

/* Work: for sums, the rows transposed and in panels, of one or of two matrices, and a tile for each thread;
 * for the factor, panels of a block of rows and its square. */
static size_t work_floats(const struct mq_context *context, size_t n)
{
    return 2 * mq_round_up(n, 16) * MQ_COVARIANCE_ROWS + (size_t)context->threads * TILE * TILE;
}

static float *tile_of_thread(const struct mq_covariance *c, unsigned thread)
{
    return c->work + 2 * mq_round_up(c->n, 16) * MQ_COVARIANCE_ROWS + (size_t)thread * TILE * TILE;
}

uint64_t mq_covariance_bytes(const struct mq_context *context, size_t n)
{
    return ((uint64_t)n * n + n + work_floats(context, n)) * sizeof(float);
}

moeq_status mq_covariance_create(const struct mq_context *context, size_t n,
                                 struct mq_covariance *covariance, moeq_error *err)
{
    *covariance = (struct mq_covariance){.context = context, .n = n};
    covariance->a = mq_pages_alloc((uint64_t)n * n * sizeof(float));
    covariance->D = calloc(n, sizeof(float));
    covariance->work = mq_pages_alloc(work_floats(context, n) * sizeof(float));
    if (covariance->a && covariance->D && covariance->work) {
        mq_covariance_clear(covariance);
        return MOEQ_OK;
    }
    mq_covariance_destroy(covariance);
    return mq_fail_memory(err, "a covariance");
}

void mq_covariance_destroy(struct mq_covariance *covariance)
{
    free(covariance->a);
    free(covariance->D);
    free(covariance->work);
    *covariance = (struct mq_covariance){0};
}

void mq_covariance_clear(struct mq_covariance *covariance)
{
    memset(covariance->a, 0, covariance->n * covariance->n * sizeof(float));
    covariance->inputs = 0;
    covariance->scale = 1.0f;
    covariance->damp = 0.0f;
    covariance->beside = 1.0f;
}

/* ---- sums ---- */

/* columns[c][t] and panels[c / 16][t][c % 16] of rows[t][c]; columns beyond n are 0 in panels. */
static void turn(const struct mq_covariance *c, const float *rows, size_t ld, size_t count,
                 float *columns, float *panels)
{
    const size_t n = c->n;
#pragma omp parallel for num_threads(mq_team(c->context, n * count)) schedule(static)
    for (size_t first = 0; first < n; first += 16) {
        float *panel = panels + first * count;
        const size_t some = n - first < 16 ? n - first : 16;
        for (size_t t = 0; t < count; t++)
            for (size_t i = 0; i < 16; i++)
                panel[16 * t + i] = i < some ? rows[t * ld + first + i] : 0.0f;
        for (size_t i = 0; columns && i < some; i++)
            for (size_t t = 0; t < count; t++)
                columns[(first + i) * count + t] = panel[16 * t + i];
    }
}

/* a += columns' panels, by tiles; of a symmetric sum those on and below the diagonal. */
static void add_products(struct mq_covariance *c, const float *columns, const float *panels,
                         size_t count, bool lower)
{
    const struct mq_kernels *kernels = mq_kernels_get(c->context->isa);
    const size_t n = c->n, tiles = (n + TILE - 1) / TILE;
#pragma omp parallel for num_threads(mq_team(c->context, n * n * count)) schedule(dynamic) collapse(2)
    for (size_t ti = 0; ti < tiles; ti++)
        for (size_t tj = 0; tj < tiles; tj++) {
            if (lower && tj > ti)
                continue;
            float *tile = tile_of_thread(c, (unsigned)omp_get_thread_num());
            const size_t i0 = ti * TILE, j0 = tj * TILE;
            const size_t in = mq_min_u64(TILE, n - i0), jn = mq_min_u64(TILE, n - j0);
            kernels->multiply(columns + i0 * count, count, in, panels + j0 * count, 16 * count,
                              count, jn, tile, TILE);
            for (size_t i = 0; i < in; i++)
                for (size_t j = 0; j < jn; j++)
                    c->a[(i0 + i) * n + j0 + j] += tile[i * TILE + j];
        }
}

void mq_covariance_add(struct mq_covariance *covariance, const float *rows, size_t ld, size_t count)
{
    float *columns = covariance->work;
    float *panels = columns + mq_round_up(covariance->n, 16) * MQ_COVARIANCE_ROWS;
    for (size_t done = 0; done < count; done += MQ_COVARIANCE_ROWS) {
        const size_t some = mq_min_u64(MQ_COVARIANCE_ROWS, count - done);
        turn(covariance, rows + done * ld, ld, some, columns, panels);
        add_products(covariance, columns, panels, some, true);
    }
    covariance->inputs += count;
}

void mq_covariance_add_cross(struct mq_covariance *cross, const float *left, const float *right,
                             size_t ld, size_t count)
{
    float *columns = cross->work;
    float *panels = columns + mq_round_up(cross->n, 16) * MQ_COVARIANCE_ROWS;
    for (size_t done = 0; done < count; done += MQ_COVARIANCE_ROWS) {
        const size_t some = mq_min_u64(MQ_COVARIANCE_ROWS, count - done);
        turn(cross, left + done * ld, ld, some, columns, panels);
        turn(cross, right + done * ld, ld, some, NULL, panels);
        add_products(cross, columns, panels, some, false);
    }
    cross->inputs += count;
}

double mq_covariance_lambda(size_t n, uint64_t inputs)
{
    const double lambda = inputs ? 0.6 * (double)n / (double)inputs : 1.0;
    return lambda < 0.03 ? 0.03 : lambda > 1.0 ? 1.0 : lambda;
}

/* The upper triangle as the lower. */
static void mirror(struct mq_covariance *c, const struct mq_feedback_kernels *kernels)
{
    const size_t n = c->n, whole = n / 16 * 16;
#pragma omp parallel for num_threads(mq_team(c->context, n * n)) schedule(dynamic)
    for (size_t i0 = 0; i0 < n; i0 += 16)
        for (size_t j0 = 0; j0 <= i0; j0 += BLOCK) {
            float lanes[16 * BLOCK];
            const size_t end = mq_min_u64(n, i0 + 16), below = mq_min_u64(j0 + BLOCK, i0);
            if (i0 < whole && j0 < below) {
                kernels->to_lanes(c->a + i0 * n + j0, n, below - j0, lanes);
                for (size_t j = j0; j < below; j++)
                    memcpy(c->a + j * n + i0, lanes + 16 * (j - j0), 16 * sizeof *lanes);
            }
            for (size_t i = i0; i < end; i++)
                for (size_t j = i0 < whole ? i0 : j0; j < i && j < j0 + BLOCK; j++)
                    c->a[j * n + i] = c->a[i * n + j];
        }
}

void mq_covariance_loosen(struct mq_covariance *c, double b)
{
    const float kept = (float)(1.0 - b);
#pragma omp parallel for num_threads(mq_team(c->context, c->n * c->n)) schedule(static)
    for (size_t i = 0; i < c->n; i++)
        for (size_t j = 0; j < i; j++)
            c->a[i * c->n + j] *= kept;
    c->beside *= kept;
}

void mq_covariance_finish(struct mq_covariance *c, double lambda)
{
    const size_t n = c->n;
    const float scale = c->inputs ? (float)(1.0 / (double)c->inputs) : 0.0f;
    double trace = 0.0;
#pragma omp parallel for num_threads(mq_team(c->context, n * n)) schedule(static)
    for (size_t i = 0; i < n; i++)
        for (size_t j = 0; j <= i; j++)
            c->a[i * n + j] *= scale;
    for (size_t i = 0; i < n; i++)
        trace += (double)c->a[i * n + i];
    const float damp = trace > 0.0 ? (float)(lambda * trace / (double)n) : 1.0f;
    for (size_t i = 0; i < n; i++)
        c->a[i * n + i] += damp;
    c->inputs = 1; /* the sums are means now */
    c->scale *= scale;
    c->damp += damp;
}

void mq_covariance_finish_cross(struct mq_covariance *cross, const struct mq_covariance *of)
{
    const size_t n = cross->n;
#pragma omp parallel for num_threads(mq_team(cross->context, n * n)) schedule(static)
    for (size_t i = 0; i < n; i++)
        for (size_t j = 0; j < n; j++)
            cross->a[i * n + j] = i == j ? cross->a[i * n + j] * of->scale + of->damp
                                         : cross->a[i * n + j] * (of->scale * of->beside);
}

/* ---- the factor ---- */

/* H = (I + F) D (I + F)', from the last block of columns on: each block is brought up to date with all
 * blocks after it at once, so a row is read once a block and nothing but the block is written. */
struct step {
    struct mq_covariance *c;
    const struct mq_kernels *kernels;
    const struct mq_feedback_kernels *lanes;
    size_t k0, k1; /* the block's columns */
    float *panels; /* -(D F)' of its rows */
    float *square; /* [BLOCK][BLOCK]: its rows themselves */
};

static void pack_block(const struct step *s)
{
    const size_t n = s->c->n, later = n - s->k1, height = s->k1 - s->k0;
#pragma omp parallel for num_threads(mq_team(s->c->context, height *later)) schedule(static)
    for (size_t l = 0; l < later; l += TILE)
        for (size_t j = 0; j < height; j += MQ_PANEL) {
            const size_t some = mq_min_u64(TILE, later - l);
            float *panel = s->panels + j * later + l * MQ_PANEL;
            s->kernels->pack(s->c->a + (s->k0 + j) * n + s->k1 + l, n,
                             mq_min_u64(MQ_PANEL, height - j), some, panel);
            for (size_t k = 0; k < some; k++)
                for (size_t i = 0; i < MQ_PANEL; i++)
                    panel[k * MQ_PANEL + i] *= -s->c->D[s->k1 + l + k];
        }
}

/* a_ij -= sum over k >= k1 of F_ik D_k F_jk for `count` rows, whose columns begin at y. */
static void update_rows(const struct step *s, size_t first, size_t count, float *y, size_t ldy)
{
    const size_t n = s->c->n, later = n - s->k1;
    s->kernels->accumulate(s->c->a + first * n + s->k1, n, count, s->panels, MQ_PANEL * later,
                           later, s->k1 - s->k0, y, ldy);
}

static void update_block(const struct step *s)
{
    const size_t n = s->c->n, width = s->k1 - s->k0, tiles = (s->k0 + TILE - 1) / TILE;
    for (size_t i = 0; i < width; i++)
        memcpy(s->square + i * BLOCK, s->c->a + (s->k0 + i) * n + s->k0, width * sizeof(float));
#pragma omp parallel for num_threads(mq_team(s->c->context, s->k1 *width *(n - s->k1))) \
    schedule(dynamic)
    for (size_t tile = 0; tile <= tiles; tile++) {
        const size_t first = tile * TILE;
        if (tile < tiles)
            update_rows(s, first, mq_min_u64(TILE, s->k0 - first), s->c->a + first * n + s->k0, n);
        else
            update_rows(s, s->k0, width, s->square, BLOCK);
    }
}

/* The rows above: F_ik from what the block's own F leaves of them. */
static void solve_above(const struct step *s)
{
    const size_t n = s->c->n, width = s->k1 - s->k0;
#pragma omp parallel for num_threads(mq_team(s->c->context, s->k0 *width *width)) schedule(static)
    for (size_t i = 0; i < s->k0; i += 16) {
        float lanes[16 * BLOCK], *rows = s->c->a + i * n + s->k0;
        s->lanes->to_lanes(rows, n, width, lanes);
        s->lanes->solve_back(lanes, s->square, BLOCK, width);
        for (size_t k = 0; k < width; k++)
            for (size_t r = 0; r < 16; r++)
                lanes[16 * k + r] /= s->c->D[s->k0 + k];
        s->lanes->from_lanes(lanes, width, rows, n);
    }
}

static bool factor_block(const struct step *s)
{
    const size_t n = s->c->n, width = s->k1 - s->k0;
    pack_block(s);
    update_block(s);
    if (!s->lanes->factor(s->square, BLOCK, width, s->c->D + s->k0))
        return false;
    for (size_t i = 0; i < width; i++)
        for (size_t k = i + 1; k < width; k++)
            s->c->a[(s->k0 + i) * n + s->k0 + k] = s->square[i * BLOCK + k];
    solve_above(s);
    return true;
}

bool mq_covariance_factor(struct mq_covariance *covariance)
{
    const size_t n = covariance->n;
    struct step step = {.c = covariance,
                        .kernels = mq_kernels_get(covariance->context->isa),
                        .lanes = mq_feedback_kernels_get(covariance->context->isa),
                        .panels = covariance->work,
                        .square = covariance->work + BLOCK * mq_round_up(n, 16)};
    mirror(covariance, step.lanes);
    for (step.k1 = n; step.k1 > 0; step.k1 = step.k0) {
        step.k0 = (step.k1 - 1) / BLOCK * BLOCK;
        if (!factor_block(&step))
            return false;
    }
    return true;
}
