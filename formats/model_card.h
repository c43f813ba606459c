/*
 * model_card.h: what a model's folder says of itself for people: the metadata at the top of its README.md, as
 * the Hub has it, and where it comes from.
 *
 * Nobody's work depends on it: what is not there, or not understood, is empty, and nothing is an error.
 */
#ifndef MQ_MODEL_CARD_H
#define MQ_MODEL_CARD_H

#include "error.h"

#include <stddef.h>

enum { MQ_CARD_TEXT = 512, MQ_CARD_LANGUAGES = 64, MQ_CARD_LANGUAGE = 24 };

struct mq_model_card {
    char repository[MQ_CARD_TEXT]; /* owner/name */
    const char *repository_from;   /* "the Hugging Face cache", "_name_or_path"; NULL: unknown */
    char license[MQ_CARD_TEXT], license_name[MQ_CARD_TEXT], license_link[MQ_CARD_TEXT];
    char pipeline_tag[MQ_CARD_TEXT];
    char languages[MQ_CARD_LANGUAGES][MQ_CARD_LANGUAGE];
    size_t languages_count;
};

/* Of a folder; of what is none, nothing. Texts are UTF-8 of one line. Files that are not there, or say nothing of use, are no
 * failure; those that cannot be read are. */
moeq_status mq_model_card_read(const char *folder, struct mq_model_card *card, moeq_error *err);

/* The metadata of a README.md's n bytes alone. */
void mq_model_card_parse(const char *text, size_t n, struct mq_model_card *card);

#endif
