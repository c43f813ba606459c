/*
 * side_files_int.h: what side_tokens.c, which reads what the side files name, shares with
 * side_merge.c, which brings it into a tokenizer.json.
 */
#ifndef MQ_TOKENIZER_SIDE_FILES_INT_H
#define MQ_TOKENIZER_SIDE_FILES_INT_H

#include "side_files.h"

#include "arena.h"
#include "json.h"
#include "strmap.h"

#define MQ_CONFIG_NAME "tokenizer_config.json"
#define MQ_ADDED_NAME "added_tokens.json"
#define MQ_MAP_NAME "special_tokens_map.json"

enum {
    MQ_SIDE_DEPTH = 64,
    MQ_SIDE_VALUES = 4 * 1000 * 1000, /* Gemma 3's tokenizer_config.json has 51,000 */
};

/* Of a token, in the order that a tokenizer.json writes them. */
enum mq_flag { MQ_SINGLE_WORD, MQ_LSTRIP, MQ_RSTRIP, MQ_NORMALIZED, MQ_SPECIAL, MQ_FLAGS };
extern const char *const mq_flag_names[MQ_FLAGS];

/* A token as a file declares it. Texts are the JSON trees'. */
struct mq_side_token {
    const char *content;
    bool flags[MQ_FLAGS];
    bool is_text; /* a mere text, not an object */
    bool plain;   /* what Transformers compares with added_tokens.json: a text, or an object of
                     special_tokens_map.json */
};

struct mq_side_numbered {
    struct mq_side_token token;
    uint64_t id;
    bool is_own; /* of tokenizer.json */
};

struct mq_side_named {
    const char *key;
    struct mq_side_token token;
    bool set;
};

/* Everything that the side files say of tokens. */
struct mq_side_tokens {
    moeq_error *err;
    struct mq_arena *arena; /* tables */
    cJSON *config, *added, *map;
    bool has_decoder; /* tokenizer_config.json has added_tokens_decoder */
    bool names_pad;   /* it has a key pad_token */
    bool splits_special;
    struct mq_side_numbered *numbered; /* of added_tokens_decoder or added_tokens.json, by id */
    size_t numbered_count;
    struct mq_side_named *named; /* bos to mask, then other keys */
    size_t named_count, named_room;
    struct mq_strmap named_keys; /* key -> index */
    struct mq_side_token *extra;
    size_t extra_count;
};

enum { MQ_SIDE_ATTRIBUTES = 7 }; /* the first of `named`, bos_token first */

/* Parses and reads; `tokens` is zeroed but for err and arena. Free it after a failure, too. */
moeq_status mq_side_tokens_read(struct mq_side_tokens *tokens,
                                const struct mq_tokenizer_side *side);
/* Sorts the numbered tokens by id. */
void mq_side_sort(struct mq_side_tokens *tokens);
void mq_side_tokens_free(struct mq_side_tokens *tokens);

/* An object as a token; `where` names its file, `what` its key. */
moeq_status mq_side_token_object(const cJSON *item, const char *where, const char *what,
                                 struct mq_side_token *token, moeq_error *err);
/* Names a token under a key; the last one of a key counts. */
moeq_status mq_side_name(struct mq_side_tokens *tokens, const char *key,
                         const struct mq_side_token *token);

#endif
