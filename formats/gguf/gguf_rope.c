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
 * published model but Llama 4, where both are 1 and there is none between, and `original` follows from any
 * f_i between, or from the first that is not 1. They are believed only if they give every factor of the
 * file again.
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
#define HIGH 4.0 /* or LOW */
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

static bool reproduces(const float *factors, size_t n, double theta, double factor, double high,
                       double original)
{
    const struct mq_rope rope = {.theta = theta,
                                 .factor = factor,
                                 .low_freq_factor = LOW,
                                 .high_freq_factor = high,
                                 .original_max_positions = original};
    for (size_t i = 0; i < n; i++) {
        const double f = mq_gguf_rope_factor(&rope, (uint32_t)(2 * n), i);
        if (!(fabs(f - (double)factors[i]) <= TOLERANCE * f))
            return false;
    }
    return true;
}

/* The original length that the first factor on the ramp gives, 0 if there is none; without a ramp, one
 * that gives the first factor that is not 1. */
static double original_of(const float *factors, size_t n, double theta, double factor, double high)
{
    for (size_t i = 0; i < n; i++) {
        const double f = (double)factors[i];
        if (high == LOW && f > 1 + TOLERANCE)
            return floor(wavelength(theta, (uint32_t)(2 * n), i));
        if (f <= 1 + TOLERANCE || f >= factor * (1 - TOLERANCE))
            continue;
        const double s = (1 / f - 1 / factor) / (1 - 1 / factor);
        return nearbyint(wavelength(theta, (uint32_t)(2 * n), i) * (s * (HIGH - LOW) + LOW));
    }
    return 0;
}

/* The factors that a tensor has, one for each pair. */
static moeq_status read_factors(const struct mq_gguf *g, const struct mq_gguf_tensor *t, size_t n,
                                float factors[MAX_FACTORS], moeq_error *err)
{
    if (strcmp(t->type->name, "F32") != 0 || t->dims != 1 || t->ne[0] != n || n > MAX_FACTORS)
        return mq_fail_tensor(err, MOEQ_MALFORMED, g->file.path, t->name, t->offset,
                              "expected F32 [%zu], half of a head, found %s [%" PRIu64 "]", n,
                              t->type->name, t->ne[0]);
    return mq_file_read_at(&g->file, t->offset, factors, n * sizeof *factors, err);
}

/* Gemma 4's: pairs behind the first ones, which have one factor, are not turned, which is said by a
 * factor that nothing survives. False if that is not what the factors say. */
static bool put_part(const float *factors, size_t n, struct mq_buffer *json)
{
    const float never = 1e20f;
    size_t turned = 0;
    while (turned < n && factors[turned] == factors[0] && factors[0] > 0 && factors[0] < never)
        turned++;
    for (size_t i = turned; i < n; i++)
        if (!(factors[i] >= never))
            return false;
    if (turned == 0 || (turned == n && factors[0] == 1))
        return false;
    mq_buffer_puts(json, "{\"rope_type\": \"proportional\", \"partial_rotary_factor\": ");
    mq_buffer_put_number(json, (double)turned / (double)n);
    mq_buffer_puts(json, ", \"factor\": ");
    mq_buffer_put_number(json, (double)factors[0]);
    mq_buffer_putc(json, '}');
    return true;
}

static moeq_status put_factors(const struct mq_gguf_saying *s, const struct mq_gguf *g,
                               const struct mq_gguf_tensor *t, double theta, uint32_t head_dim,
                               struct mq_buffer *json, moeq_error *err)
{
    float factors[MAX_FACTORS];
    const size_t n = head_dim / 2;
    MQ_TRY(read_factors(g, t, n, factors, err));
    if (s->family->local_rope && put_part(factors, n, json))
        return MOEQ_OK;
    static const double highs[] = {HIGH, LOW};
    double factor = 1, original = 0, high = 0;
    bool ones = true, found = false;
    for (size_t i = 0; i < n; i++) {
        ones = ones && factors[i] == 1;
        if ((double)factors[i] > factor)
            factor = (double)factors[i];
    }
    for (size_t k = 0; isfinite(factor) && !found && k < sizeof highs / sizeof *highs; k++) {
        high = highs[k];
        original = PUBLISHED_ORIGINAL;
        found = reproduces(factors, n, theta, factor, high, original);
        if (found)
            break;
        original = original_of(factors, n, theta, factor, high);
        found = original >= 1 && reproduces(factors, n, theta, factor, high, original);
    }
    if (!found)
        return mq_fail_tensor(err, MOEQ_UNSUPPORTED, g->file.path, t->name, t->offset,
                              "its factors are not those of Llama 3's scaling of positions (low 1, "
                              "high 4, or both 1): which they are is not known");
    if (factor == 1) { /* of ones exactly there is nothing to say: they are as good as none */
        mq_buffer_puts(json, "null");
        return ones ? MOEQ_OK
                    : mq_view_note(s->view, err,
                                   "%s is left out: its factors differ from 1 by less than %g",
                                   t->name, TOLERANCE);
    }
    mq_buffer_puts(json, "{\"rope_type\": \"llama3\", \"factor\": ");
    mq_buffer_put_number(json, factor);
    mq_buffer_printf(json,
                     ", \"low_freq_factor\": %g, \"high_freq_factor\": %g, "
                     "\"original_max_position_embeddings\": %.0f}",
                     LOW, high, original);
    return MOEQ_OK;
}

static double yarn_magnitude(double factor, double mscale)
{
    return factor <= 1 ? 1 : 0.1 * mscale * mq_log(factor) + 1;
}

double mq_gguf_yarn_log(const struct mq_rope *rope, double score)
{
    return rope->factor > 1 ? (score - 1) / (0.1 * mq_log(rope->factor)) : 0;
}

double mq_gguf_yarn_magnitude(const struct mq_gguf_arch *arch, double factor, double all)
{
    if (all <= 0)
        return yarn_magnitude(factor, 1);
    return arch->yarn_same_scale ? 1 : yarn_magnitude(factor, 1) / yarn_magnitude(factor, all);
}

static moeq_status positive(const struct mq_gguf_saying *s, const char *pattern, double otherwise,
                            double *value, moeq_error *err)
{
    return mq_gguf_positive(s->gguf, mq_gguf_arch_key(s->gguf, pattern, s->arch->name), otherwise,
                            value, err);
}

/* llama.cpp multiplies cosines and sines by get_mscale(factor, mscale) / get_mscale(factor,
 * mscale_all_dim), or get_mscale(factor, 1) without a log multiplier, and by attn_factor
 * (llama-context.cpp). */
static moeq_status put_yarn(const struct mq_gguf_saying *s, double factor, struct mq_buffer *json,
                            moeq_error *err)
{
    double original, fast, slow, all = 0, more;
    MQ_TRY(positive(s, MQ_GGUF_KEY_ROPE_ORIGINAL, 0, &original, err));
    MQ_TRY(positive(s, MQ_GGUF_KEY_YARN_FAST, 32, &fast, err));
    MQ_TRY(positive(s, MQ_GGUF_KEY_YARN_SLOW, 1, &slow, err));
    MQ_TRY(positive(s, MQ_GGUF_KEY_ROPE_MAGNITUDE, 1, &more, err));
    if (s->arch->yarn_log_unit > 0)
        MQ_TRY(positive(s, MQ_GGUF_KEY_YARN_LOG, 0, &all, err));
    mq_buffer_puts(json, "{\"rope_type\": \"yarn\", \"factor\": ");
    mq_buffer_put_number(json, factor);
    if (original > 0)
        mq_buffer_printf(json, ", \"original_max_position_embeddings\": %.0f", original);
    mq_buffer_puts(json, ", \"beta_fast\": ");
    mq_buffer_put_number(json, fast);
    mq_buffer_puts(json, ", \"beta_slow\": ");
    mq_buffer_put_number(json, slow);
    if (all > 0) {
        all = (double)(float)(all / (double)s->arch->yarn_log_unit);
        mq_buffer_puts(json, ", \"mscale\": ");
        mq_buffer_put_number(json, s->arch->yarn_same_scale ? all : 1);
        mq_buffer_puts(json, ", \"mscale_all_dim\": ");
        mq_buffer_put_number(json, all);
    }
    if (more != 1) {
        const double own = mq_gguf_yarn_magnitude(s->arch, factor, all);
        mq_buffer_puts(json, ", \"attention_factor\": ");
        mq_buffer_put_number(json, own * more);
    }
    if (s->arch->untruncated)
        mq_buffer_puts(json, ", \"truncate\": false");
    mq_buffer_putc(json, '}');
    return MOEQ_OK;
}

static moeq_status put_list(struct mq_gguf_set *set, const char *name, const char *key, size_t n,
                            struct mq_buffer *json, moeq_error *err)
{
    float factors[MAX_FACTORS];
    struct mq_gguf_at *at = mq_gguf_set_find(set, name);
    if (!at)
        return mq_fail_file(err, MOEQ_NOT_FOUND, set->files[0].file.path,
                            "tensor '%s' is missing, though rope.scaling.type is longrope", name);
    at->used = true;
    MQ_TRY(read_factors(&set->files[at->file], at->tensor, n, factors, err));
    mq_buffer_printf(json, ", \"%s\": [", key);
    for (size_t i = 0; i < n; i++) {
        mq_buffer_puts(json, i ? ", " : "");
        mq_buffer_put_number(json, (double)factors[i]);
    }
    mq_buffer_putc(json, ']');
    return MOEQ_OK;
}

static moeq_status put_longrope(const struct mq_gguf_saying *s, struct mq_gguf_set *set,
                                uint32_t dim, struct mq_buffer *json, moeq_error *err)
{
    double original, magnitude;
    MQ_TRY(positive(s, MQ_GGUF_KEY_ROPE_ORIGINAL, 0, &original, err));
    MQ_TRY(positive(s, MQ_GGUF_KEY_ROPE_MAGNITUDE, 1, &magnitude, err));
    mq_buffer_puts(json, "{\"rope_type\": \"longrope\"");
    if (original > 0)
        mq_buffer_printf(json, ", \"original_max_position_embeddings\": %.0f", original);
    MQ_TRY(put_list(set, MQ_GGUF_ROPE_SHORT, "short_factor", dim / 2, json, err));
    MQ_TRY(put_list(set, MQ_GGUF_ROPE_LONG, "long_factor", dim / 2, json, err));
    mq_buffer_puts(json, ", \"short_mscale\": ");
    mq_buffer_put_number(json, magnitude);
    mq_buffer_puts(json, ", \"long_mscale\": ");
    mq_buffer_put_number(json, magnitude);
    mq_buffer_putc(json, '}');
    return MOEQ_OK;
}

/* By a factor alone: 1 for none. */
static void put_linear(double factor, struct mq_buffer *json)
{
    if (factor == 1) {
        mq_buffer_puts(json, "null");
        return;
    }
    mq_buffer_puts(json, "{\"rope_type\": \"linear\", \"factor\": ");
    mq_buffer_put_number(json, factor);
    mq_buffer_putc(json, '}');
}

/* rope.scaling.*; llama.cpp takes a factor without a type for linear. `factor` is 1 where none is
 * said. */
static moeq_status put_scaling(const struct mq_gguf_saying *s, struct mq_gguf_set *set, uint32_t dim,
                               double *factor, struct mq_buffer *json, moeq_error *err)
{
    const struct mq_gguf *g = s->gguf;
    const struct mq_gguf_key *type = mq_gguf_arch_key(g, MQ_GGUF_KEY_ROPE_SCALING, s->arch->name);
    const struct mq_gguf_key *key = mq_gguf_arch_key(g, MQ_GGUF_KEY_ROPE_FACTOR, s->arch->name);
    *factor = 1;
    if (type && mq_gguf_text_is(g, type, "none")) {
        mq_buffer_puts(json, "null");
        return MOEQ_OK;
    }
    if (!key) /* its name before October 2023 */
        key = mq_gguf_arch_key(g, "%s.rope.scale_linear", s->arch->name);
    MQ_TRY(mq_gguf_positive(g, key, 1, factor, err));
    if (type && mq_gguf_text_is(g, type, "yarn"))
        return put_yarn(s, *factor, json, err);
    const bool lists = set && mq_gguf_set_find(set, MQ_GGUF_ROPE_LONG);
    if (lists || (type && set && mq_gguf_text_is(g, type, "longrope")))
        return put_longrope(s, set, dim, json, err);
    if (type && !mq_gguf_text_is(g, type, "linear") && !mq_gguf_text_is(g, type, "longrope")) {
        struct mq_gguf_strings words = mq_gguf_strings(g, type);
        const bool text = mq_gguf_next(&words);
        return mq_gguf_fail_key(g, type, MOEQ_UNSUPPORTED, err,
                                "rope scaling \"%.*s\" is not implemented (none, linear, yarn, "
                                "longrope, and Llama 3's)",
                                text ? (int)(words.size < 40 ? words.size : 40) : 0,
                                text ? words.text : "");
    }
    if (type && mq_gguf_text_is(g, type, "longrope")) { /* without tensors there is no more to read */
        mq_buffer_puts(json, "null");
        return MOEQ_OK;
    }
    const struct mq_gguf_key *more =
        mq_gguf_arch_key(g, MQ_GGUF_KEY_ROPE_MAGNITUDE, s->arch->name);
    double magnitude;
    MQ_TRY(mq_gguf_positive(g, more, 1, &magnitude, err));
    if (magnitude != 1 && !mq_view_ignores_key(s->view, more->name))
        return mq_gguf_fail_key(g, more, MOEQ_UNSUPPORTED, err,
                                "%g is not implemented (only 1). --ignore-config %.80s goes on "
                                "without it, at the risk of wrong results",
                                magnitude, more->name);
    if (magnitude != 1)
        MQ_TRY(mq_view_note(s->view, err, "the metadata's \"%.80s\" is ignored, as was asked for",
                            more->name));
    put_linear(*factor, json);
    return MOEQ_OK;
}

moeq_status mq_gguf_rope_scaling(const struct mq_gguf_saying *s, struct mq_gguf_set *set,
                                 double theta, uint32_t dim, struct mq_buffer *json,
                                 moeq_error *err)
{
    double factor;
    struct mq_gguf_at *at = set ? mq_gguf_set_find(set, MQ_GGUF_ROPE_FREQS) : NULL;
    if (!at)
        return put_scaling(s, set, dim, &factor, json, err);
    struct mq_buffer scaling = {0};
    const moeq_status status = put_scaling(s, set, dim, &factor, &scaling, err);
    mq_buffer_free(&scaling);
    if (status != MOEQ_OK)
        return status;
    const struct mq_gguf *g = &set->files[at->file];
    at->used = true;
    if (factor != 1)
        return mq_fail_tensor(err, MOEQ_UNSUPPORTED, g->file.path, at->tensor->name,
                              at->tensor->offset,
                              "beside a scaling of positions by %g: both together are not "
                              "implemented",
                              factor);
    return put_factors(s, g, at->tensor, theta, dim, json, err);
}
