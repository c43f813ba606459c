/*
 * folder_tokenizer.h: the tokenizer and the chat templates of a Hugging Face folder, each of which
 * may stand in several files.
 *
 * Tokens: tokenizer/side_files.h has the order of precedence.
 *
 * Chat templates, as Transformers 5.24 reads them (tokenization_utils_base.py, _from_pretrained):
 * chat_template.jinja is the default one and additional_chat_templates/NAME.jinja are named ones
 * (default.jinja there is the default one again); if there is any of these, what
 * tokenizer_config.json says under "chat_template" does not count. That is a text, the default
 * template, or a list [{"name", "template"}, ...], or an object of names. chat_template.json, which
 * Transformers reads for processors of images only, counts where nothing else is (as in gguf-py).
 *
 * In a view, side[MQ_SIDE_CHAT_TEMPLATE] and side[MQ_SIDE_CHAT_TEMPLATES] hold what came from files
 * of their own (or from a GGUF file); side[MQ_SIDE_TOKENIZER_CONFIG] keeps its own templates.
 * mq_chat_templates gives all that count, from a folder and from a moeq file made of it alike.
 */
#ifndef MQ_FOLDER_TOKENIZER_H
#define MQ_FOLDER_TOKENIZER_H

#include "json.h"
#include "model_view.h"

/*
 * Merges the side files that have been read into the view's tokenizer, tokenizer's config and chat
 * templates, and notes what was taken from where. Where tokenizer.json is damaged, or a side file
 * cannot be read that the tokens depend on, the view has no tokenizer, and tokenizer_problem says
 * why. A sound tokenizer of a kind that is not read here stays, with a note.
 */
moeq_status mq_folder_tokenizer(const char *folder, struct mq_view *view, moeq_error *err);

/* What a note begins with that says why a folder's tokenizer is not read; the rest is
 * tokenizer_problem. */
#define MQ_NOTE_NO_TOKENIZER "the model is read without its tokenizer: "

/* Takes tokenizer_problem from the notes, for a file that was made of such a folder. */
void mq_recall_tokenizer_problem(struct mq_view *view);

struct mq_chat_template {
    const char *name; /* "default" for the default one */
    const char *text; /* not terminated */
    size_t size;
};

/* The chat templates that count, in the order of the files, "default" wherever it stands. The
 * texts are the view's, the config's or *tree's, which is the caller's to cJSON_Delete. */
moeq_status mq_chat_templates(const struct mq_view *view, const cJSON *tokenizer_config,
                              struct mq_arena *arena, struct mq_chat_template **templates,
                              size_t *count, cJSON **tree, moeq_error *err);

#endif
