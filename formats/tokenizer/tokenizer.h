/*
 * tokenizer.h: text <-> token ids, as a Hugging Face tokenizer.json says.
 *
 * Supported: the models BPE (byte fallback, byte-level, ignore_merges, fuse_unk) and Unigram, with
 * the normalizers, pre-tokenizers, post-processors and decoders that published models use with
 * them. (Of pre-tokenizers all but BertPreTokenizer, UnicodeScripts and FixedLength, see
 * pretokenize.c.) Anything else in the file is an error that names it, except `truncation` and
 * `padding`, which are settings of its last user and not looked at. A loaded tokenizer is
 * immutable: threads may share it.
 *
 * The reference is the `tokenizers` library 0.23: the same ids for the same file and text, up to
 * characters newer than the Unicode tables of PCRE2 (classes) and utf8proc (normal forms). Of the
 * model "SentencePiece", which moeq makes of a tokenizer.model, it is the sentencepiece library
 * 0.2.3.
 */
#ifndef MQ_TOKENIZER_H
#define MQ_TOKENIZER_H

#include "moeq.h"
#include "buffer.h"

/* Of a tokenizer.json that is read. The largest published one is Gemma 3's: 33 MB indented, two
 * million values. */
enum {
    MQ_TOKENIZER_MAX_BYTES = 256 * 1024 * 1024,
    MQ_TOKENIZER_MAX_DEPTH = 64,
    MQ_TOKENIZER_MAX_VALUES = 8 * 1000 * 1000,
};

struct mq_tokenizer;

struct mq_ids {
    int32_t *data; /* owned; free with mq_ids_free */
    size_t size, capacity;
};
void mq_ids_free(struct mq_ids *ids);
bool mq_ids_push(struct mq_ids *ids, int32_t id); /* false when out of memory */

/* Loads the JSON text of a tokenizer.json; `path` is for messages. */
moeq_status mq_tokenizer_load(const char *json, size_t n, const char *path,
                              struct mq_tokenizer **tokenizer, moeq_error *err);
void mq_tokenizer_free(struct mq_tokenizer *tokenizer); /* NULL is fine */

/* Whether the text can be a tokenizer.json at all, at less than half the time that loading takes:
 * it is JSON, and a model of a kind that is read here has its vocabulary and merges.
 * MOEQ_UNSUPPORTED or MOEQ_LIMIT: it may be sound, but is nothing that mq_tokenizer_load takes. */
moeq_status mq_tokenizer_check(const char *json, size_t n, const char *path, moeq_error *err);

/* Appends the ids of n bytes of text to `ids`. Text that is not UTF-8 is an error with its offset;
 * so is text above 512 MiB. On an error `ids` is as before.
 *   add_special_tokens  apply the post-processor's template (the BOS of most models) */
moeq_status mq_tokenizer_encode(const struct mq_tokenizer *tokenizer, const char *text, size_t n,
                                bool add_special_tokens, struct mq_ids *ids, moeq_error *err);

/* The same for the text of a file, whose name the message of a failure begins with. */
moeq_status mq_tokenizer_encode_file(const struct mq_tokenizer *tokenizer, const char *path,
                                     const char *text, size_t n, bool add_special_tokens,
                                     struct mq_ids *ids, moeq_error *err);

/* Encodes `count` texts, each on its own and without special tokens: text i ends at offset ends[i]
 * of `text`, where the next begins, and its ids at id_ends[i] of `ids`, which are emptied first. */
moeq_status mq_tokenizer_encode_each(const struct mq_tokenizer *tokenizer, const char *text,
                                     const size_t *ends, size_t count, struct mq_ids *ids,
                                     size_t *id_ends, moeq_error *err);

/* Appends the text of the ids. Ids outside the vocabulary are dropped, as `tokenizers` does. */
moeq_status mq_tokenizer_decode(const struct mq_tokenizer *tokenizer, const int32_t *ids, size_t n,
                                bool skip_special_tokens, struct mq_buffer *text, moeq_error *err);

/* One more than the largest id. */
uint32_t mq_tokenizer_vocab_size(const struct mq_tokenizer *tokenizer);

/* Takes another pre-tokenizer, the JSON text of a tokenizer.json's, and says whether words that are
 * a piece are built by merges: to compare a tokenizer with what another program makes of it. For a
 * tokenizer that nobody shares yet; after a failure it can only be freed. */
moeq_status mq_tokenizer_replace_pre(struct mq_tokenizer *tokenizer, const char *json, size_t n,
                                     bool ignore_merges, const char *path, moeq_error *err);

/* What a user should know of how the file was read, a sentence without its full stop; NULL:
 * nothing. The tokenizer's. */
const char *mq_tokenizer_note(const struct mq_tokenizer *tokenizer);

/* The id of a piece or added token by its exact content; -1 if there is none. */
int32_t mq_tokenizer_token_id(const struct mq_tokenizer *tokenizer, const char *content);

#endif
