/* gguf_vocab_export.h: a tokenizer.json as the metadata of a GGUF file. */
#ifndef MQ_GGUF_VOCAB_EXPORT_H
#define MQ_GGUF_VOCAB_EXPORT_H

#include "gguf_writer.h"

/*
 * Puts the keys tokenizer.ggml.* and tokenizer.chat_template of a view's side files
 * (tokenizer.json, tokenizer_config.json, generation_config.json, chat template) into the writer:
 * tokens with types and scores or merges, special ids, whether BOS and EOS are added, the split
 * pattern's name. Exactly hparams.vocab tokens: ids that the tokenizer does not have become unused
 * "[PADn]".
 *
 * A tokenizer that GGUF cannot express, or whose split pattern llama.cpp has no name for, is
 * MOEQ_UNSUPPORTED with a message that names what. A view without tokenizer: an error too, since
 * llama.cpp loads no such file. *warning: a sentence on what would be tokenized differently (NULL
 * if nothing is known to); the arena's.
 */
moeq_status mq_gguf_put_vocab(struct mq_gguf_writer *w, const struct mq_view *view,
                              struct mq_arena *arena, const char **warning, moeq_error *err);

#endif
