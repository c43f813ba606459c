/*
 * side_files.h: the files beside a tokenizer.json that name tokens, and the tokenizer that all of
 * them make together.
 *
 * The reference is AutoTokenizer of Transformers 5.24 for a class without rules of its own
 * (tokenization_utils_base.py, _from_pretrained; tokenization_utils_tokenizers.py, __init__); the
 * 4.x releases since 4.34 agree but for where that is said. Its order of precedence:
 *
 *  1. The model and its vocabulary are tokenizer.json's alone. The id of a token is
 *       - that of the piece, of one that is a piece there
 *       - that which it has there, of another that tokenizer.json adds
 *       - the next behind the last, of any other: ids in the side files say only in which order
 *  2. tokenizer_config.json, "added_tokens_decoder": tokens by id. Where that key is (even empty),
 *     added_tokens.json and special_tokens_map.json are not read.
 *  3. Otherwise special_tokens_map.json overrules tokenizer_config.json, and added_tokens.json
 *     names tokens by content, unless tokenizer.json has another under the same id.
 *  4. Special tokens, in this order:
 *       - bos, eos, unk, sep, pad, cls, mask: texts, or objects with "content"; without a key
 *         pad_token, the padding of tokenizer.json names it
 *       - other keys that end with _token
 *       - a dict extra_special_tokens, or model_specific_special_tokens
 *       - the list extra_special_tokens or, where that is empty or a dict,
 *         additional_special_tokens
 *  5. How a token is found (lstrip, rstrip, single_word, normalized, special) is what 2 or 3 say,
 *     which replaces what tokenizer.json says; a list or key of 4 counts for tokens that are
 *     nowhere else. A token of 2 or 3 that is one of bos to mask, or of the other keys, is special.
 *  6. What is put around a text is the post-processor of tokenizer.json: add_bos_token and
 *     add_eos_token are not read (4.x: some classes do).
 *
 * More is accepted than Transformers 5 does where 4.x or llama.cpp's converter accept it: objects
 * without "__type" as special tokens, objects in additional_special_tokens of
 * special_tokens_map.json. Rules of one class (LlamaTokenizer: other defaults, its own normalizer)
 * are not applied.
 */
#ifndef MQ_TOKENIZER_SIDE_FILES_H
#define MQ_TOKENIZER_SIDE_FILES_H

#include "moeq.h"
#include "buffer.h"

/* A file's text; size 0: there is none. */
struct mq_side_text {
    const char *data;
    size_t size;
};

struct mq_tokenizer_side {
    struct mq_side_text config;             /* tokenizer_config.json */
    struct mq_side_text added_tokens;       /* added_tokens.json */
    struct mq_side_text special_tokens_map; /* special_tokens_map.json */
};

/* Zero-initialize it; free with mq_tokenizer_merged_free. */
struct mq_tokenizer_merged {
    /* Texts to use instead of tokenizer.json and tokenizer_config.json; size 0: theirs stay, byte
     * for byte, since they say all. */
    struct mq_buffer tokenizer, config;
    struct mq_buffer notes; /* sentences on what was taken from where, each ended by a newline */
};

/*
 * The effective tokenizer of a tokenizer.json of n bytes and the files beside it. What is wrong in
 * tokenizer.json itself is left to its loader; a side file that cannot be read, or that names a
 * token in a way that has no meaning, is an error that names it.
 */
moeq_status mq_tokenizer_merge(const char *json, size_t n, const struct mq_tokenizer_side *side,
                               struct mq_tokenizer_merged *merged, moeq_error *err);
void mq_tokenizer_merged_free(struct mq_tokenizer_merged *merged);

#endif
