/* token_check.h: whether a stored model's tokenizer cuts the text as the original's does. */
#ifndef MQ_TOKEN_CHECK_H
#define MQ_TOKEN_CHECK_H

#include "record.h"

/*
 * A verification evaluates the original's tokens. That is fair to a model only if its own tokenizer
 * gives the same: another file format says the same tokenizer otherwise, so where the two differ by
 * a byte, the ids of the text are compared. Fails at the first that differs, naming it with both
 * ids and the place in the text. Where the model or the original has no tokenizer that can be read,
 * there is nothing to compare: *compared is false then.
 *
 * `base`: the original, or NULL and a `recording` of it, whose windows are compared. The
 * recording has the text; for one made before recordings had it, `text` must not be NULL, or the
 * tokenizers be the same.
 */
moeq_status mq_token_check(const struct mq_view *view, const struct mq_view *base,
                           const struct mq_recording *recording, const char *base_path,
                           const struct mq_text *text, size_t max_tokens, bool *compared,
                           moeq_error *err);

/* The same of tasks, against a model: a tokenizer that differs by a byte must give the same sequences. */
moeq_status mq_token_check_tasks(const struct mq_view *view, const struct mq_view *base,
                                 const char *base_path, const struct mq_task_files *tasks,
                                 moeq_error *err);

#endif
