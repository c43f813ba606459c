/* report_words.h: the verdict in words: plain UTF-8, to be escaped by the caller. */
#ifndef MQ_REPORT_WORDS_H
#define MQ_REPORT_WORDS_H

#include "report_doc.h"

/* "What quantization costs: PATH" */
void mq_report_title(const struct mq_page *report, struct mq_buffer *out);

/* "Take q4_k: a third of the memory, output almost unchanged." */
void mq_report_headline(const struct mq_page *report, struct mq_buffer *out);
/* "35.0 % of the size (4.2 MiB), output almost unchanged (KLD ...), ..." */
void mq_report_sentence(const struct mq_report_arm *arm, struct mq_buffer *out);
/* "Arithmetic: f32.", and what it was elsewhere: of "int8" rows, of a recording. Empty if the
 * document does not say. */
void mq_report_arithmetic(const struct mq_page *report, struct mq_buffer *out);
/* "mixtral, 32 layers, 8 experts, 2 for each token; 18,944 tokens of wiki.txt; in f32" */
void mq_report_subtitle(const struct mq_page *report, struct mq_buffer *out);

/* Calls put for every fact of the run that the document has: "Protocol", "half: 37 windows ...". */
void mq_report_facts(const struct mq_page *report, struct mq_buffer *out,
                     void (*put)(struct mq_buffer *out, const char *name, const char *text));

/* Of the document's "attribution": a part's figures; of NULL those of their sum. */
struct mq_report_part {
    struct mq_words bits, kld, share, routes;
};
struct mq_report_part mq_report_part(const struct mq_page *report, const cJSON *part);

#endif
