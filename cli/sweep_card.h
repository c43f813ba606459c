/* sweep_card.h: sweep --gpu: which of the compared models fit a card. */
#ifndef MQ_SWEEP_CARD_H
#define MQ_SWEEP_CARD_H

#include "command.h"
#include "comparison.h"
#include "fit.h"

struct mq_sweep_card {
    bool given;
    struct mq_fit_target target;
    const struct mq_kv_kind *kv;
    uint64_t context; /* of the cache; 0 until mq_sweep_card_fit where it was not given */
    struct mq_fit_row rows[MQ_CANDIDATES_MAX + 1]; /* the original, then the candidates */
    size_t rows_count;
};

/* The options --gpu, --vram, --kv, --runtime, --gpu-context; false after a message. */
bool mq_sweep_card_options(const struct mq_options *options, struct mq_sweep_card *card);

/* What each of them needs on the card; does nothing where none was given. */
moeq_status mq_sweep_card_fit(struct mq_sweep_card *card, const struct mq_view *source,
                              const struct mq_candidate *candidates, size_t count, moeq_error *err);

/* Adds "card" to a sweep's document, and to each of its rows; NULL stays NULL, or when out of memory. */
cJSON *mq_sweep_card_put_json(const struct mq_sweep_card *card, cJSON *sweep);

/* A table, and what a page of the document says first. */
void mq_sweep_card_print(const struct mq_sweep_card *card, const cJSON *sweep);

#endif
