/*
 * gguf_rope.c: how positions are stretched, from metadata or from the factors of rope_freqs.weight.
 *
 * Llama 3's scaling is not in the metadata: a file has the result, by what each frequency is
 * divided (Transformers' _compute_llama3_parameters). With wavelengths w_i = 2 pi theta^(2i/dim)
 *
 *     f_i = 1                                w_i < original / high
 *           factor                           w_i > original / low
 *           1 / ((1 - s) / factor + s)       between, s = (original / w_i - low) / (high - low)
 *
 * The parameters are recovered: factor is the largest f_i, low and high are 1 and 4 in every
 * published model, and `original` follows from any f_i between. They are believed only if they give
 * every factor of the file again.
 */
#include "gguf_int.h"
#include "gguf_model.h"
#include "gguf_saying.h"

#include "error.h"
#include "open_options.h"
#include "portable_math.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#define PI 0x1.921fb54442d18p+1
#define LOW 1.0
#define HIGH 4.0
#define PUBLISHED_ORIGINAL 8192.0
#define TOLERANCE 1e-5 /* relative; converters work in f32 */

enum { MAX_FACTORS = 512 }; /* config.c: heads of up to 1024 */

static double wavelength(double theta, uint32_t head_dim, size_t i)
{
    return 2 * PI * mq_exp(mq_log(theta) * (double)(2 * i) / (double)head_dim);
}

/* The value of MQ_GGUF_KEY_ROPE_SCALING, said with the factor; NULL: no key. */
#define ROPE_unscaled NULL
#define ROPE_linear "linear"
#define ROPE_llama3 NULL /* by MQ_GGUF_ROPE_FREQS */
#define ROPE_yarn "yarn"
#define ROPE_longrope "longrope"
#define ROPE_partly NULL /* by MQ_GGUF_ROPE_FREQS */

const char *mq_gguf_rope_word(enum mq_rope_type type)
{
    static const char *const words[] = {
#define ROW(id, name) [MQ_ROPE_##id] = ROPE_##name,
        MQ_ROPE_TYPE_LIST(ROW)
#undef ROW
    };
    return words[type];
}

double mq_gguf_rope_factor(const struct mq_rope *rope, uint32_t head_dim, size_t i)
{
    const double w = wavelength(rope->theta, head_dim, i), original = rope->original_max_positions;
    const double low = rope->low_freq_factor, high = rope->high_freq_factor;
    if (w < original / high)
        return 1;
    if (w > original / low)
        return rope->factor;
    const double s = (original / w - low) / (high - low);
    return 1 / ((1 - s) / rope->factor + s);
}

static bool reproduces(const float *factors, size_t n, double theta, double factor, double original)
{
    const struct mq_rope rope = {.theta = theta,
                                 .factor = factor,
                                 .low_freq_factor = LOW,
                                 .high_freq_factor = HIGH,
                                 .original_max_positions = original};
    for (size_t i = 0; i < n; i++) {
        const double f = mq_gguf_rope_factor(&rope, (uint32_t)(2 * n), i);
        if (!(fabs(f - (double)factors[i]) <= TOLERANCE * f))
            return false;
    }
    return true;
}

/* The original length that the first factor on the ramp gives, 0 if there is none. */
static double original_of(const float *factors, size_t n, double theta, double factor)
{
    for (size_t i = 0; i < n; i++) {
        const double f = (double)factors[i];
        if (f <= 1 + TOLERANCE || f >= factor * (1 - TOLERANCE))
            continue;
        const double s = (1 / f - 1 / factor) / (1 - 1 / factor);
        return nearbyint(wavelength(theta, (uint32_t)(2 * n), i) * (s * (HIGH - LOW) + LOW));
    }
    return 0;
}

static moeq_status put_factors(const struct mq_gguf *g, const struct mq_gguf_tensor *t,
                               double theta, uint32_t head_dim, struct mq_view *view,
                               struct mq_buffer *json, moeq_error *err)
{
    float factors[MAX_FACTORS];
    const size_t n = head_dim / 2;
    if (strcmp(t->type->name, "F32") != 0 || t->dims != 1 || t->ne[0] != n || n > MAX_FACTORS)
        return mq_fail_tensor(err, MOEQ_MALFORMED, g->file.path, t->name, t->offset,
                              "expected F32 [%zu], half of a head, found %s [%" PRIu64 "]", n,
                              t->type->name, t->ne[0]);
    MQ_TRY(mq_file_read_at(&g->file, t->offset, factors, n * sizeof *factors, err));
    double factor = 1, original = PUBLISHED_ORIGINAL;
    bool ones = true;
    for (size_t i = 0; i < n; i++) {
        ones = ones && factors[i] == 1;
        if ((double)factors[i] > factor)
            factor = (double)factors[i];
    }
    bool found = isfinite(factor) && reproduces(factors, n, theta, factor, original);
    if (!found && isfinite(factor)) {
        original = original_of(factors, n, theta, factor);
        found = original >= 1 && reproduces(factors, n, theta, factor, original);
    }
    if (!found)
        return mq_fail_tensor(err, MOEQ_UNSUPPORTED, g->file.path, t->name, t->offset,
                              "its factors are not those of Llama 3's scaling of positions (low 1, "
                              "high 4): which they are is not known");
    if (factor == 1) { /* of ones exactly there is nothing to say: they are as good as none */
        mq_buffer_puts(json, "null");
        return ones ? MOEQ_OK
                    : mq_view_note(view, err,
                                   "%s is left out: its factors differ from 1 by less than %g",
                                   t->name, TOLERANCE);
    }
    mq_buffer_puts(json, "{\"rope_type\": \"llama3\", \"factor\": ");
    mq_buffer_put_number(json, factor);
    mq_buffer_printf(json,
                     ", \"low_freq_factor\": %g, \"high_freq_factor\": %g, "
                     "\"original_max_position_embeddings\": %.0f}",
                     LOW, HIGH, original);
    return MOEQ_OK;
}

/* The factor of rope.scaling.*: 1 for none. llama.cpp takes a factor without a type for linear. */
static moeq_status linear_factor(const struct mq_gguf *g, const char *architecture, double *factor,
                                 moeq_error *err)
{
    const struct mq_gguf_key *type = mq_gguf_arch_key(g, MQ_GGUF_KEY_ROPE_SCALING, architecture);
    const struct mq_gguf_key *key = mq_gguf_arch_key(g, MQ_GGUF_KEY_ROPE_FACTOR, architecture);
    *factor = 1;
    if (type && mq_gguf_text_is(g, type, "none"))
        return MOEQ_OK;
    if (type && !mq_gguf_text_is(g, type, "linear")) {
        struct mq_gguf_strings s = mq_gguf_strings(g, type);
        const bool text = mq_gguf_next(&s);
        return mq_gguf_fail_key(g, type, MOEQ_UNSUPPORTED, err,
                                "rope scaling \"%.*s\" is not implemented (none, linear, and Llama "
                                "3's)",
                                text ? (int)(s.size < 40 ? s.size : 40) : 0, text ? s.text : "");
    }
    if (!key) /* its name before October 2023 */
        key = mq_gguf_arch_key(g, "%s.rope.scale_linear", architecture);
    return mq_gguf_positive(g, key, 1, factor, err);
}

moeq_status mq_gguf_rope_scaling(const struct mq_gguf_saying *s, struct mq_gguf_set *set,
                                 double theta, uint32_t dim, struct mq_buffer *json,
                                 moeq_error *err)
{
    double factor;
    MQ_TRY(linear_factor(s->gguf, s->arch->name, &factor, err));
    struct mq_gguf_at *at = set ? mq_gguf_set_find(set, MQ_GGUF_ROPE_FREQS) : NULL;
    if (at) {
        const struct mq_gguf *g = &set->files[at->file];
        at->used = true;
        if (factor != 1)
            return mq_fail_tensor(err, MOEQ_UNSUPPORTED, g->file.path, at->tensor->name,
                                  at->tensor->offset,
                                  "beside a linear scaling of positions by %g: both together are "
                                  "not implemented",
                                  factor);
        return put_factors(g, at->tensor, theta, dim, s->view, json, err);
    }
    if (factor == 1) {
        mq_buffer_puts(json, "null");
        return MOEQ_OK;
    }
    mq_buffer_puts(json, "{\"rope_type\": \"linear\", \"factor\": ");
    mq_buffer_put_number(json, factor);
    mq_buffer_putc(json, '}');
    return MOEQ_OK;
}
