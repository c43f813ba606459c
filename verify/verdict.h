/*
 * verdict.h: what the figures of a model amount to, in a word: a class, how sure it is, and what speaks
 * against believing any of it.
 *
 * A class has a bound for each of three figures (mq_quality_bands, with sources), and a model is of the
 * worst class that any of them puts it in: a mean divergence that averages over a changed top token or
 * over changed routes is no comfort. The figures are of two models on one text, so a class says nothing of
 * how many bits a weight has.
 */
#ifndef MQ_VERDICT_H
#define MQ_VERDICT_H

#include "buffer.h"
#include "statistics.h"

#include <stdbool.h>

enum mq_quality {
    MQ_QUALITY_UNKNOWN, /* no KL divergence */
    MQ_QUALITY_IDENTICAL,
    MQ_QUALITY_NEAR_LOSSLESS,
    MQ_QUALITY_EXCELLENT,
    MQ_QUALITY_GOOD,
    MQ_QUALITY_FAIR,
    MQ_QUALITY_POOR,
    MQ_QUALITY_COUNT
};

struct mq_quality_band {
    const char *name;          /* "excellent" */
    const char *words;         /* what became of the output: "output almost unchanged" */
    double below;              /* the mean KL divergence's upper bound, nats */
    double same_top_from;      /* least share of tokens with the same most likely token */
    double routing_from;       /* least overlap of the experts' weights; of dense models not asked for */
    const char *measured_like; /* published figures within these bounds and outside the next better ones */
};
extern const struct mq_quality_band mq_quality_bands[MQ_QUALITY_COUNT];

/* The figures that a class hangs on; NaN where one was not measured, which then does not count. */
struct mq_verdict_figures {
    struct mq_estimate kld, same_top;
    struct mq_estimate routing; /* weighted_agreement */
};

struct mq_verdict {
    enum mq_quality quality;
    enum mq_quality best, worst; /* with all figures two standard errors better, worse */
    const char *because;         /* which figure makes it no better: "KLD", "same top token", "routing" */
};

/* By the KL divergence alone. */
enum mq_quality mq_quality_of(double kld_nats);
struct mq_verdict mq_verdict_of(const struct mq_verdict_figures *figures);
/* Of what was measured of a model beside the original. */
struct mq_arm_result;
struct mq_verdict mq_verdict_of_result(const struct mq_arm_result *result);
/* Whether two standard errors reach over a whole class: the tokens do not say which it is. */
bool mq_verdict_is_open(const struct mq_verdict *verdict);

/* Fewer scored tokens than these make means of such heavy tails, and their errors with them, a matter of luck:
 * a hundredth of them, which the 99th percentile is about, are ten tokens. */
enum { MQ_VERDICT_TOKENS = 1000 };

/* What is known of the original's own run; 0 or NaN where unknown. */
struct mq_baseline_figures {
    double perplexity, nll_nats, vocabulary;
    double text_tokens, text_bytes;
    double byte_entropy_bits; /* per byte of the text, of a model that knows how frequent each byte is and nothing else */
};

/* Appends a sentence where the original predicts the text worse than knowing nothing would: then it is broken, or
 * read wrongly, or the text is not what it was made for, and no comparison with it means much. False if nothing
 * is wrong. */
bool mq_baseline_doubt(const struct mq_baseline_figures *figures, struct mq_buffer *out);

/* Bits per byte by the bytes' own frequencies: mq_baseline_figures.byte_entropy_bits. */
double mq_byte_entropy(const char *text, size_t n);

#endif
