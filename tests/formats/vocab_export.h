/*
 * vocab_export.h: a tokenizer.json as the metadata of a GGUF file, for tests.
 *
 * What is written is parsed again, by a parser of its own, into lines: key, type, value; those of
 * make_gguf_vocab_goldens.py have the same form, and are made without moeq.
 */
#ifndef MQ_TEST_VOCAB_EXPORT_H
#define MQ_TEST_VOCAB_EXPORT_H

#include "test_support.h"

/* Side files as texts; NULL: not there. */
struct vocab_side {
    const char *tokenizer, *tokenizer_config, *config, *generation_config, *chat_template;
    const char *chat_templates;
    uint32_t vocab;
};

struct vocab_outcome {
    moeq_status status;
    moeq_error err;
    char *lines;   /* NULL on failure */
    char *warning; /* NULL if none */
};

struct vocab_outcome vocab_export(const struct vocab_side *side);
void vocab_release(struct vocab_outcome *o);

/* A file of the source tree as a text, to be freed. */
char *vocab_slurp(const char *path);

/* Asserts that a line is there; "key type" alone asserts that the key is. */
void vocab_expect_line(const struct vocab_outcome *o, const char *line);
void vocab_expect_no_key(const struct vocab_outcome *o, const char *key);

#endif
