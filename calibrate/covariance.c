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

/* Work: for sums, the rows transposed and in panels, of one or of two matrices; for the factor, panels of a block
 * of columns; and a tile for each thread. */
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
    return ((uint64_t)n * n + 2 * n + work_floats(context, n)) * sizeof(float);
}

moeq_status mq_covariance_create(const struct mq_context *context, size_t n,
                                 struct mq_covariance *covariance, moeq_error *err)
{
    *covariance = (struct mq_covariance){.context = context, .n = n};
    covariance->a = mq_pages_alloc((uint64_t)n * n * sizeof(float));
    covariance->diagonal = calloc(n, sizeof(float));
    covariance->D = calloc(n, sizeof(float));
    covariance->work = mq_pages_alloc(work_floats(context, n) * sizeof(float));
    if (covariance->a && covariance->diagonal && covariance->D && covariance->work) {
        mq_covariance_clear(covariance);
        return MOEQ_OK;
    }
    mq_covariance_destroy(covariance);
    return mq_fail_memory(err, "a covariance");
}

void mq_covariance_destroy(struct mq_covariance *covariance)
{
    free(covariance->a);
    free(covariance->diagonal);
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

static void mirror(struct mq_covariance *c)
{
    const size_t n = c->n;
#pragma omp parallel for num_threads(mq_team(c->context, n * n)) schedule(dynamic)
    for (size_t i0 = 0; i0 < n; i0 += BLOCK)
        for (size_t j0 = 0; j0 <= i0; j0 += BLOCK)
            for (size_t i = i0; i < n && i < i0 + BLOCK; i++)
                for (size_t j = j0; j < i && j < j0 + BLOCK; j++)
                    c->a[j * n + i] = c->a[i * n + j];
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
            cross->a[i * n + j] = cross->a[i * n + j] * of->scale + (i == j ? of->damp : 0.0f);
}

/* ---- the factor ---- */

/* The block [k0, k1) of the diagonal: R in its upper triangle, R_kk on the diagonal. */
static bool factor_block(float *a, size_t n, size_t k0, size_t k1)
{
    for (size_t k = k1; k-- > k0;) {
        const float square = a[k * n + k];
        if (!(square > 0.0f) || !isfinite(square))
            return false;
        const float r = sqrtf(square);
        a[k * n + k] = r;
        for (size_t i = k0; i < k; i++)
            a[i * n + k] /= r;
        for (size_t i = k0; i < k; i++)
            for (size_t j = i; j < k; j++)
                a[i * n + j] = fmaf(-a[i * n + k], a[j * n + k], a[i * n + j]);
    }
    return true;
}

/* The rows above the block: R_ik. */
static void solve_above(const struct mq_covariance *c, size_t k0, size_t k1)
{
    const struct mq_feedback_kernels *kernels = mq_feedback_kernels_get(c->context->isa);
    const size_t n = c->n;
#pragma omp parallel for num_threads(mq_team(c->context, k0 * BLOCK * BLOCK)) schedule(static)
    for (size_t i = 0; i < k0; i += 16)
        kernels->solve(c->a + i * n + k0, n, mq_min_u64(16, k0 - i), c->a + k0 * n + k0, n, k1 - k0);
}

/* a_ij -= sum over the block's k of R_ik R_jk for i <= j < k0. */
static void update_rest(const struct mq_covariance *c, size_t k0, size_t k1)
{
    const struct mq_kernels *kernels = mq_kernels_get(c->context->isa);
    const size_t n = c->n, k = k1 - k0, tiles = (k0 + TILE - 1) / TILE;
    float *panels = c->work;
#pragma omp parallel for num_threads(mq_team(c->context, k0 * k)) schedule(static)
    for (size_t j = 0; j < k0; j += MQ_PANEL)
        kernels->pack(c->a + j * n + k0, n, mq_min_u64(MQ_PANEL, k0 - j), k, panels + j * k);
#pragma omp parallel for num_threads(mq_team(c->context, k0 * k0 * k)) schedule(dynamic) collapse(2)
    for (size_t ti = 0; ti < tiles; ti++)
        for (size_t tj = 0; tj < tiles; tj++) {
            if (tj < ti)
                continue;
            float *tile = tile_of_thread(c, (unsigned)omp_get_thread_num());
            const size_t i0 = ti * TILE, j0 = tj * TILE;
            const size_t in = mq_min_u64(TILE, k0 - i0), jn = mq_min_u64(TILE, k0 - j0);
            kernels->multiply(c->a + i0 * n + k0, n, in, panels + j0 * k, MQ_PANEL * k, k, jn, tile,
                              TILE);
            for (size_t i = 0; i < in; i++)
                for (size_t j = ti == tj ? i : 0; j < jn; j++)
                    c->a[(i0 + i) * n + j0 + j] -= tile[i * TILE + j];
        }
}

/* F_ik = R_ik / R_kk; the diagonal is H's again. */
static void scale_columns(struct mq_covariance *c)
{
    const size_t n = c->n;
    for (size_t k = 0; k < n; k++)
        c->D[k] = 1.0f / c->a[k * n + k];
#pragma omp parallel for num_threads(mq_team(c->context, n * n)) schedule(static)
    for (size_t i = 0; i < n; i++)
        for (size_t k = i + 1; k < n; k++)
            c->a[i * n + k] *= c->D[k];
    for (size_t k = 0; k < n; k++) {
        c->D[k] = c->a[k * n + k] * c->a[k * n + k];
        c->a[k * n + k] = c->diagonal[k];
    }
}

bool mq_covariance_factor(struct mq_covariance *covariance)
{
    const size_t n = covariance->n;
    mirror(covariance);
    for (size_t i = 0; i < n; i++)
        covariance->diagonal[i] = covariance->a[i * n + i];
    for (size_t k1 = n; k1 > 0;) {
        const size_t k0 = (k1 - 1) / BLOCK * BLOCK;
        if (!factor_block(covariance->a, n, k0, k1)) {
            for (size_t i = 0; i < n; i++)
                covariance->a[i * n + i] = covariance->diagonal[i];
            return false;
        }
        solve_above(covariance, k0, k1);
        update_rest(covariance, k0, k1);
        k1 = k0;
    }
    scale_columns(covariance);
    return true;
}
