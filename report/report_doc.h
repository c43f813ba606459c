/*
 * report_doc.h: a result document as read for a page, whatever its format:
 *
 *   struct mq_page      the document's arms, and of a sweep which one to take
 *   mq_report_...       fields of the document
 *   mq_words_...        numbers as text
 *
 * A page is a view of the document alone, so one saved earlier gives the page that a fresh one
 * gives. A field that is absent or null is "not defined"; a section without its fields is left out.
 */
#ifndef MQ_REPORT_DOC_H
#define MQ_REPORT_DOC_H

#include "buffer.h"
#include "figures.h"
#include "row_label.h"
#include "statistics.h"
#include "verdict.h"

#include "moeq.h"

#include <cjson/cJSON.h>

/* One row of the document. */
struct mq_report_arm {
    const cJSON *json;    /* the row itself */
    const cJSON *routing; /* NULL: a dense model, or the baseline */
    const char *id;       /* what the document calls it: a level, a file's letter */
    const char *name;     /* what tables and charts call it: of a file `label` */
    const char *file;     /* of a stored model: its file, without its folder; else "" */
    char label[MQ_ROW_LABEL];
    bool is_baseline;
    double file_bytes, bits_per_weight;
    double size_share;                                      /* of the baseline's bytes */
    struct mq_estimate kld, same_top, ppl_ratio, exact_set; /* what verdict and charts are about */
    struct mq_estimate routing_kept;                        /* overlap of the experts' weights */
    enum mq_quality quality;                                /* verdict.quality */
    struct mq_verdict verdict;
    bool fails_gate;  /* a limit that is about it is broken */
    bool below_noise; /* its KLD is less than that of the source with bf16 activations */
    const struct mq_report_arm *int8; /* a level computed with as integers besides; or NULL */
};

enum {
    MQ_REPORT_ARMS = 65, /* a baseline and MQ_CANDIDATES_MAX candidates */
    /* Entries of a row's lists: more than any model has layers, or a layer experts. Columns of arms side
     * by side look entries up by number, which takes quadratic time in a list. */
    MQ_REPORT_ENTRIES = 4096
};

struct mq_page {
    const cJSON *document;
    bool is_verification; /* files against the original; else a sweep: levels, files or both */
    const char *judged;   /* "level", "file" or "level or file" */
    size_t candidates_count;                   /* arms but the baseline */
    size_t files_count;                        /* of them those that have a file */
    struct mq_report_arm arms[MQ_REPORT_ARMS]; /* in the document's order */
    size_t arms_count;
    /* What arms[].int8 point to: in tables below their level; charts and verdict are about the
     * document's arithmetic alone. */
    struct mq_report_arm int8[MQ_REPORT_ARMS];
    const struct mq_report_arm *baseline; /* NULL if the document marks none */
    /* The source with bf16 activations: below it nothing means anything. */
    struct mq_report_arm noise;
    bool has_noise;
    /* The verdict of a sweep; each may be NULL. */
    const struct mq_report_arm *recommended;
    bool recommended_is_usable;          /* false: even the best level changes the output much */
    const struct mq_report_arm *lighter; /* the smallest usable one, where that is another */
    const struct mq_report_arm *closer;  /* one of a better class, where there is one */
    const cJSON *card;                   /* of sweep --gpu: what it must fit; NULL */
    double memory_unit;                  /* in which sizes are charted: 2^20 or 2^30 bytes */
    const char *memory_unit_name;
};

/* "excellent"; of what breaks its gate that alone, whatever its figures are. */
const char *mq_report_class(const struct mq_report_arm *arm);
/* "output almost unchanged"; the same. */
const char *mq_report_class_words(const struct mq_report_arm *arm);

/* What a sentence calls it: "q4_k", "new.moeq", of several "B (new.moeq)"; `joint` between the two: "B: new.moeq". */
void mq_report_call(const struct mq_page *report, const struct mq_report_arm *arm,
                    const char *joint, struct mq_buffer *out);

/* By what rule a sweep's headline chose. */
extern const char mq_report_rule[], mq_report_card_rule[];

/* Fails (MOEQ_MALFORMED) if the document is that of neither. `report` borrows from it. */
moeq_status mq_report_read(const cJSON *document, struct mq_page *report, moeq_error *err);

/* ---- fields of the document; NaN, NULL or "" where absent ---- */

/* Where the table says that a figure of a row stands; NULL if it does not. */
const cJSON *mq_report_figure_item(const cJSON *row, const struct mq_figure *figure);

double mq_report_number(const cJSON *object, const char *key);
struct mq_estimate mq_report_estimate(const cJSON *object, const char *key);
/* Of a row: a figure of MQ_OF_MODEL, where the table says that it stands. */
struct mq_estimate mq_report_figure(const cJSON *row, const struct mq_figure *figure);
/* Of what holds it under its key: an entry of "layers", of "kld_by_changed_layers",
 * "routing_chance". */
struct mq_estimate mq_report_figure_in(const cJSON *object, const struct mq_figure *figure);
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
struct mq_words mq_words_counted(double n, const char *what); /* "1 token", "18,944 tokens" */
/* A figure's value in its unit and with its digits: "97.78 ± 0.06 %", "0.0030925 ± 0.00014" */
struct mq_words mq_words_figure(const struct mq_figure *figure, struct mq_estimate e);
struct mq_words mq_words_heading(const struct mq_figure *figure); /* its title: "Same experts" */

/* ---- columns of tables, the same on every page ---- */

/* The i-th figure of the summary, of the spread of the divergence, of a section's own table; NULL
 * behind the last. Figures that no arm has, as in a document of an older program, are left out. */
const struct mq_figure *mq_summary_figure(const struct mq_page *page, size_t i);
const struct mq_figure *mq_spread_figure(const struct mq_page *page, size_t i);
const struct mq_figure *mq_table_figure(const struct mq_page *page, enum mq_section section,
                                        size_t i);
/* What the summary says of an arm: of the baseline what it is against itself, "—" where a dense
 * model has no such figure. */
struct mq_words mq_summary_words(const struct mq_report_arm *arm, const struct mq_figure *figure);

/* Appends a text of ours in which {level} and {Level} stand for what is judged: mq_page.judged. */
void mq_report_say(const struct mq_page *report, const char *text, struct mq_buffer *out);
/* The same by value, for texts below its size. */
struct mq_phrase {
    char s[512];
};
struct mq_phrase mq_report_phrase(const struct mq_page *report, const char *text);

/* ---- whose weights, whose routes ---- */

/* The result of a cell of the 2x2 table; NULL if it was not measured:
 *
 *   own_weights  own_routes
 *   false        false       the baseline itself
 *   true         false       the arm's weights with the baseline's routes
 *   false        true        the baseline's weights with the arm's routes
 *   true         true        the arm itself
 */
const cJSON *mq_report_swap(const struct mq_page *report, const struct mq_report_arm *arm,
                            bool own_weights, bool own_routes);
/* How much of the arm's loss is there with a part of what makes it; NaN where the loss is too small
 * to be shared out.
 *
 *   loss  "ln_ppl_ratio", "kld_mean"
 *   part  "weights", "routes", "interaction"
 */
struct mq_estimate mq_report_share(const struct mq_report_arm *arm, const char *loss,
                                   const char *part);

#endif
