/*
 * report_doc.h: what the HTML and the Markdown report of a sweep or a verification have in common:
 * the numbers, read from the JSON document, the verdict, and numbers as text.
 *
 * A report is a view of the document alone, so one saved earlier reports as well as a fresh one.
 * A field that is absent or null is "not defined"; a section without its fields is left out.
 */
#ifndef MQ_REPORT_DOC_H
#define MQ_REPORT_DOC_H

#include "buffer.h"
#include "statistics.h"

#include "moeq.h"

#include <cjson/cJSON.h>

/*
 * How far the output moved, by its mean KL divergence. The bounds follow what the GGUF levels of
 * published models measure: q8_0 of Qwen3-30B-A3B .0023, its 4-bit levels .01 to .013, 3 bits about
 * .1, and above .3 text visibly suffers.
 */
enum mq_quality {
    MQ_QUALITY_UNKNOWN, /* no KL divergence in the document */
    MQ_QUALITY_IDENTICAL,
    MQ_QUALITY_NEAR_LOSSLESS,
    MQ_QUALITY_EXCELLENT,
    MQ_QUALITY_FOUR_BIT,
    MQ_QUALITY_THREE_BIT,
    MQ_QUALITY_POOR,
    MQ_QUALITY_COUNT
};

struct mq_quality_band {
    const char *name;  /* "excellent" */
    const char *words; /* what became of the output: "output almost unchanged" */
    double below;      /* the mean KL divergence's upper bound, nats */
};
extern const struct mq_quality_band mq_quality_bands[MQ_QUALITY_COUNT];
enum mq_quality mq_quality_of(double kld_nats);

/* One row of the document. */
struct mq_report_arm {
    const cJSON *json;    /* the row itself */
    const cJSON *routing; /* NULL: a dense model, or the baseline */
    const char *name;
    const char *file; /* of a verification: the model's file, without its folder; else "" */
    bool is_baseline;
    double file_bytes, bits_per_weight, expert_rmse;
    double size_share; /* of the baseline's bytes */
    struct mq_estimate ppl, ppl_ratio, log_ppl_ratio, kld, same_top;
    struct mq_estimate exact_set; /* overall */
    enum mq_quality quality;
    bool below_noise; /* its KLD is less than that of the source with bf16 activations */
    const struct mq_report_arm *int8; /* a level computed with as integers besides; or NULL */
};

enum {
    MQ_REPORT_ARMS = 64, /* more rows than any sweep has */
    /* Entries of a row's lists: more than any model has layers. Columns of arms side by side look
     * entries up by number, which takes quadratic time in a list. */
    MQ_REPORT_ENTRIES = 4096
};

struct mq_report {
    const cJSON *document;
    bool is_verification; /* files against the original; else levels of a sweep */
    struct mq_report_arm arms[MQ_REPORT_ARMS]; /* in the document's order */
    size_t arms_count;
    /* What arms[].int8 point to: in tables below their level; charts and verdict are about the
     * document's arithmetic alone. */
    struct mq_report_arm int8[MQ_REPORT_ARMS];
    const struct mq_report_arm *baseline; /* NULL if the document marks none */
    struct mq_report_arm
        noise; /* the source with bf16 activations: below it nothing means anything */
    bool has_noise;
    /* The verdict of a sweep; each may be NULL. `lighter` and `closer` are named only if they
     * differ from it.
     */
    const struct mq_report_arm *recommended;
    bool recommended_is_usable; /* false: even the best level changes the output much */
    const struct mq_report_arm *lighter, *closer;
    double memory_unit; /* in which sizes are charted: 2^20 or 2^30 bytes */
    const char *memory_unit_name;
};

/* Fails (MOEQ_MALFORMED) if the document is that of neither. `report` borrows from it. */
moeq_status mq_report_read(const cJSON *document, struct mq_report *report, moeq_error *err);

/* ---- fields of the document; NaN, NULL or "" where absent ---- */

double mq_report_number(const cJSON *object, const char *key);
struct mq_estimate mq_report_estimate(const cJSON *object, const char *key);
const char *mq_report_string(const cJSON *object, const char *key);
const cJSON *mq_report_array(const cJSON *object, const char *key); /* NULL if empty too */

/* ---- numbers as text: by value, so that they can stand in an argument list ---- */

struct mq_words {
    char s[64];
};
struct mq_words mq_words_sig(double x, int digits);                  /* "0.0030925" */
struct mq_words mq_words_estimate(struct mq_estimate e, int digits); /* "0.0030925 ± 0.00014" */
struct mq_words mq_words_percent(double fraction);                   /* "97.8 %", "99.997 %" */
struct mq_words mq_words_percent_estimate(struct mq_estimate e);     /* "97.78 ± 0.06 %" */
struct mq_words mq_words_bytes(double bytes);                        /* "24.6 GiB" */
struct mq_words mq_words_count(double n);                            /* "18,944" */

/* Appends a text of ours in which {level} and {Level} stand for what is judged: a sweep's "level",
 * a verification's "file". */
void mq_report_say(const struct mq_report *report, const char *text, struct mq_buffer *out);
/* The same by value, for texts below its size. */
struct mq_phrase {
    char s[512];
};
struct mq_phrase mq_report_phrase(const struct mq_report *report, const char *text);

/* ---- the verdict in words: plain UTF-8, to be escaped by the caller ---- */

/* "What quantization costs: PATH" */
void mq_report_title(const struct mq_report *report, struct mq_buffer *out);

/* "Take q4_k: a third of the memory, output almost unchanged." */
void mq_report_headline(const struct mq_report *report, struct mq_buffer *out);
/* "35.0 % of the size (4.2 MiB), output almost unchanged (KLD ...), ..." */
void mq_report_sentence(const struct mq_report_arm *arm, struct mq_buffer *out);
/* "Arithmetic: f32.", and what it was elsewhere: of "int8" rows, of a recording. Empty if the
 * document does not say. */
void mq_report_arithmetic(const struct mq_report *report, struct mq_buffer *out);
/* By what rule a sweep's headline chose. */
extern const char mq_report_rule[];
/* "mixtral, 32 layers, 8 experts, 2 for each token; 18,944 tokens of wiki.txt; in f32" */
void mq_report_subtitle(const struct mq_report *report, struct mq_buffer *out);

/* Calls put for every fact of the run that the document has: "Protocol", "half: 37 windows ...". */
void mq_report_facts(const struct mq_report *report, struct mq_buffer *out,
                     void (*put)(struct mq_buffer *out, const char *name, const char *text));

/* ---- whose weights, whose routes ---- */

/* The result of the arm's weights or the baseline's with the arm's routes or the baseline's; NULL
 * if it was not measured. (Neither is its own: the baseline itself.) */
const cJSON *mq_report_swap(const struct mq_report *report, const struct mq_report_arm *arm,
                            bool own_weights, bool own_routes);
/* How much of the arm's loss is there with a part of what makes it. loss: "ln_ppl_ratio" or
 * "kld_mean"; part: "weights", "routes" or "interaction". NaN where the loss is too small to be
 * shared out. */
struct mq_estimate mq_report_share(const struct mq_report_arm *arm, const char *loss,
                                   const char *part);

#endif
