/* source_card.h: what a result says of the original for people, so that a card can be made of it anywhere. */
#ifndef MQ_SOURCE_CARD_H
#define MQ_SOURCE_CARD_H

#include "command.h"

/* Adds "source_card" to a result: the metadata of the README.md in the original's folder, and base_model of
 * --base-model or where the folder says it. The document again, NULL where it was NULL. */
cJSON *mq_put_source_card(cJSON *document, const struct mq_options *options, const char *folder);

/* False after a message: --base-model is no OWNER/NAME. */
bool mq_source_card_check(const char *command, const struct mq_options *options);

#endif
