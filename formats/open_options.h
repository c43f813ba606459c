/*
 * open_options.h: what a user may decide about how a model is read, and what a user should know of
 * how it was read.
 *
 * Choices come from the command line and, of a moeq file or a recording, from its metadata: a file
 * that was made with a choice is read with it later. Notes are sentences for people; they are shown
 * wherever the model is, and go into the metadata of what is made of it.
 */
#ifndef MQ_OPEN_OPTIONS_H
#define MQ_OPEN_OPTIONS_H

#include "model_view.h"

#define MQ_META_OPTIONS "moeq.options" /* a JSON object, see mq_view_options_json */
#define MQ_META_NOTES "moeq.notes"     /* a JSON array of sentences */

/* Adds a sentence, unless the view has it already. Beyond MQ_NOTES_MAX they are only counted. */
enum { MQ_NOTES_MAX = 64 };
moeq_status mq_view_note(struct mq_view *view, moeq_error *err, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

bool mq_view_has_note(const struct mq_view *view, const char *sentence);

/* Takes over the options that a user gave (NULL: none), with copies of their strings. */
moeq_status mq_view_set_options(struct mq_view *view, const struct mq_open_options *options,
                                moeq_error *err);

bool mq_view_ignores_key(const struct mq_view *view, const char *key);

/* The choices that differ from the defaults as a JSON object, such as
 *
 *     {"ignore_config":["clip_qkv"],"sliding_window":"apply","lm_head":"tied"}
 *
 * and the notes as a JSON array, with one more sentence unless it is NULL; both in the arena; NULL
 * where there is nothing to say (*failed false) or no memory (*failed true). */
const char *mq_view_options_json(const struct mq_view *view, struct mq_arena *arena, bool *failed);
const char *mq_view_notes_text(const struct mq_view *view, const char *more, struct mq_arena *arena,
                               bool *failed);

/* Reads both back from a file's metadata (key, value, ..., NULL). Choices that the user gave win.
 */
moeq_status mq_view_read_choices(struct mq_view *view, const char *const *metadata,
                                 const char *path, moeq_error *err);

/* Names of the choices, as the command line and the metadata have them; false: no such name. */
bool mq_window_choice_find(const char *name, enum mq_window_choice *choice);
bool mq_head_choice_find(const char *name, enum mq_head_choice *choice);

#endif
