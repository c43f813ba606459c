/*
 * verdict.c: the table of classes, and their rule.
 *
 * KLD and same top token: llama-perplexity --kl-divergence of GGUF levels on wikitext-2. In the order KLD in nats
 * / same top token in %:
 *
 *   Llama-2-7B    q8_0 0.00037 / 98.8, q6_K 0.0021 / 97.5, q4_K_M 0.0127 / 94.7, q2_K 0.109 / 85.6
 *                 (llama.cpp pull request 6936)
 *   Llama-3-8B    q8_0 0.0014, q6_K 0.0055, q5_K_M 0.011, q4_K_M 0.031, q3_K_M 0.10, q3_K_S 0.23
 *                 (llama.cpp, tools/perplexity/README.md)
 *   Mistral-7B    same top token: Q2_K_S 82.7, Q2_K 85.1, IQ3_XXS 88.6 (llama.cpp pull request 5676);
 *                 a level of 4 bits 0.0106 / 95.3 (pull request 5081)
 *   Qwen3-30B-A3B Q8_0 0.0023, Q4_K_M 0.0101, Q4_K_S 0.0129
 *
 * The same level is two classes apart on two models: why no class is called after bits.
 *
 * Routing: no such figures of GGUF levels are published. EAC-MoE (arXiv 2508.01625) finds that about half of what
 * Mixtral 8x7B loses at 3 bits is wrong routes. The bounds are those at which levels of moeq's own demo model
 * and of a Mixtral of 4 layers stand beside the bounds of KLD and same top token (docs/metrics.md says which). The
 * figure is the overlap of the experts' weights, since it means the same for 2 of 8 experts as for 8 of 128, where a
 * near-tie at the last place changes the set of a third of the tokens and hardly any of what is added up.
 */
#include "verdict.h"

#include "referee.h"

#include <math.h>
#include <stdint.h>

const struct mq_quality_band mq_quality_bands[MQ_QUALITY_COUNT] = {
    [MQ_QUALITY_UNKNOWN] = {"not measured", "quality not measured", NAN, NAN, NAN, ""},
    [MQ_QUALITY_IDENTICAL] = {"identical", "output identical", 0, 1, 1, "the same weights"},
    [MQ_QUALITY_NEAR_LOSSLESS] = {"near-lossless", "output practically unchanged", 0.002, 0.975, 0.99,
                                  "q8_0 of Llama-2-7B and Llama-3-8B"},
    [MQ_QUALITY_EXCELLENT] = {"excellent", "output almost unchanged", 0.01, 0.95, 0.97,
                              "q6_K of Llama-2-7B and Llama-3-8B"},
    [MQ_QUALITY_GOOD] = {"good", "small change of the output", 0.05, 0.9, 0.95,
                         "q4_K_M of Llama-2-7B, Llama-3-8B, Qwen3-30B-A3B"},
    [MQ_QUALITY_FAIR] = {"fair", "clear change of the output", 0.3, 0.8, 0.85,
                         "q2_K of Llama-2-7B, q3_K_M and q3_K_S of Llama-3-8B"},
    [MQ_QUALITY_POOR] = {"poor", "output damaged", INFINITY, 0, 0, "q2_K of Llama-3-8B"},
};

/* ---- classes ---- */

enum mq_quality mq_quality_of(double kld_nats)
{
    if (!isfinite(kld_nats))
        return MQ_QUALITY_UNKNOWN;
    if (kld_nats <= 0)
        return MQ_QUALITY_IDENTICAL;
    for (int q = MQ_QUALITY_NEAR_LOSSLESS; q < MQ_QUALITY_POOR; q++)
        if (kld_nats < mq_quality_bands[q].below)
            return (enum mq_quality)q;
    return MQ_QUALITY_POOR;
}

/* The best class whose bound a share reaches; what was not measured stands in no one's way. A share of exactly 1
 * is no better than near-lossless: only the divergence can say that two outputs are the same. */
static enum mq_quality quality_of_share(double share, bool routing)
{
    if (!isfinite(share))
        return MQ_QUALITY_IDENTICAL;
    for (int q = MQ_QUALITY_IDENTICAL; q < MQ_QUALITY_POOR; q++)
        if (share >= (routing ? mq_quality_bands[q].routing_from : mq_quality_bands[q].same_top_from))
            return (enum mq_quality)q;
    return MQ_QUALITY_POOR;
}

static double moved(struct mq_estimate e, double errors)
{
    return e.value + (isfinite(e.se) ? errors * e.se : 0);
}

/* The class with every figure so many standard errors worse (below 0: better). */
static enum mq_quality quality_at(const struct mq_verdict_figures *f, double errors, const char **because)
{
    static const char *const names[] = {"KLD", "same top token", "routing"};
    const double kld = moved(f->kld, errors);
    const enum mq_quality by[] = {
        /* an error reaches below 0, a divergence does not */
        mq_quality_of(f->kld.value > 0 ? fmax(kld, 1e-9) : kld),
        quality_of_share(moved(f->same_top, -errors), false),
        quality_of_share(moved(f->routing, -errors), true),
    };
    enum mq_quality worst = by[0];
    *because = names[0];
    for (int i = 1; by[0] != MQ_QUALITY_UNKNOWN && i < 3; i++)
        if (by[i] > worst) {
            worst = by[i];
            *because = names[i];
        }
    return worst;
}

struct mq_verdict mq_verdict_of(const struct mq_verdict_figures *figures)
{
    struct mq_verdict v = {0};
    const char *unused;
    v.best = quality_at(figures, -2, &unused);
    v.worst = quality_at(figures, 2, &unused);
    v.quality = quality_at(figures, 0, &v.because);
    return v;
}

struct mq_verdict mq_verdict_of_result(const struct mq_arm_result *r)
{
    const struct mq_estimate none = {NAN, NAN};
    return mq_verdict_of(&(struct mq_verdict_figures){
        r->kld.mean, r->same_top,
        r->has_routing ? r->routing.overall.metric[MQ_ROUTING_WEIGHTED] : none});
}

bool mq_verdict_is_open(const struct mq_verdict *v)
{
    /* "identical" is no class that errors lead to */
    const int best = v->best > MQ_QUALITY_NEAR_LOSSLESS ? (int)v->best : (int)MQ_QUALITY_NEAR_LOSSLESS;
    return v->quality > MQ_QUALITY_IDENTICAL && (int)v->worst - best >= 2;
}

/* ---- the original ---- */

bool mq_baseline_doubt(const struct mq_baseline_figures *f, struct mq_buffer *out)
{
    if (f->vocabulary > 0 && f->perplexity > f->vocabulary) {
        mq_buffer_printf(out,
                         "The original itself looks broken: its perplexity, %.6g, is above its vocabulary of %.0f "
                         "tokens, so guessing blindly would do better.",
                         f->perplexity, f->vocabulary);
        return true;
    }
    const double bits = f->nll_nats / log(2) * f->text_tokens / f->text_bytes;
    if (f->text_bytes > 0 && f->byte_entropy_bits > 0 && bits > f->byte_entropy_bits) {
        mq_buffer_printf(out,
                         "The original itself looks broken, or this is no text for it: it needs %.2f bits for a "
                         "byte of the text, and the frequencies of the bytes alone %.2f.",
                         bits, f->byte_entropy_bits);
        return true;
    }
    return false;
}

double mq_byte_entropy(const char *text, size_t n)
{
    uint64_t counts[256] = {0};
    double bits = 0;
    for (size_t i = 0; i < n; i++)
        counts[(unsigned char)text[i]]++;
    for (int c = 0; c < 256; c++)
        if (counts[c])
            bits -= (double)counts[c] / (double)n * log2((double)counts[c] / (double)n);
    return bits;
}
