/*
 * tokenizer_int.h: what the files of this folder share: the loaded tables, and the steps that each
 * component of a tokenizer.json becomes.
 *
 * Every component file has a _load that reads its part of the JSON and a function that applies it.
 * Nested Sequences are flattened: their members run one after another all the same.
 */
#ifndef MQ_TOKENIZER_INT_H
#define MQ_TOKENIZER_INT_H

#include "longest_starts.h"
#include "tokenizer.h"

#include "arena.h"
#include "json.h"
#include "pair_map.h"
#include "pieces.h"
#include "split_pattern.h"
#include "strmap.h"

enum {
    MQ_MAX_STEPS = 64,     /* of one component, Sequences flattened */
    MQ_MAX_CONTENT = 1024, /* bytes of an added token, of a Replace's or Prepend's text */
    MQ_CHAR_IDS = 0x800,   /* characters whose pieces are found without hashing */
    MQ_NO_ID = -1,
};

/* What all steps of a component together may make of n bytes, against a Replace of a Replace of...
 * Published tokenizers stay below 4n: one byte, a space, becomes the three of U+2581. NFKD's worst
 * character grows by 11, to 13 where its spaces become U+2581. And all that the steps write on the
 * way may be MQ_GROWTH_STEPS times that, since each reads it again. */
enum { MQ_GROWTH_STEPS = 8 };
static inline size_t mq_growth_limit(size_t n)
{
    return n * 16 + (1 << 14);
}

/* Text that steps insert or substitute. */
struct mq_text {
    const char *data; /* terminated; in the arena */
    size_t size;
};

/* normalize.c */
enum mq_normalizer_kind {
    MQ_NORM_PREPEND,
    MQ_NORM_REPLACE,
    MQ_NORM_REPLACE_REGEX,
    MQ_NORM_UNICODE,
    MQ_NORM_STRIP,
    MQ_NORM_PRECOMPILED,
    MQ_NORM_SENTENCEPIECE,
};

struct mq_charsmap; /* charsmap.h */

/* The normalizer_spec of a SentencePiece model. */
struct mq_sp_normalizer {
    bool prefix, prefix_first; /* a space in front; only at the start of the input */
    bool suffix;               /* behind, not in front */
    bool remove_extra, escape;
};

struct mq_normalizer_step {
    enum mq_normalizer_kind kind;
    struct mq_text from, to;            /* Replace; Prepend has `to` */
    struct mq_pattern *pattern;         /* Replace by a regular expression; owned */
    int unicode_options;                /* of utf8proc_map */
    bool left, right;                   /* Strip */
    const struct mq_charsmap *charsmap; /* Precompiled, SentencePiece; may be NULL */
    struct mq_sp_normalizer sp;
};

/* pretokenize.c */
enum mq_split_behavior {
    MQ_SPLIT_REMOVED,
    MQ_SPLIT_ISOLATED,
    MQ_SPLIT_MERGED_WITH_PREVIOUS,
    MQ_SPLIT_MERGED_WITH_NEXT,
    MQ_SPLIT_CONTIGUOUS,
};
enum mq_prepend_scheme { MQ_PREPEND_ALWAYS, MQ_PREPEND_FIRST, MQ_PREPEND_NEVER };
enum mq_pretokenizer_kind { MQ_PRE_SPLIT, MQ_PRE_METASPACE, MQ_PRE_PREFIX_SPACE, MQ_PRE_BYTES };

struct mq_pretokenizer_step {
    enum mq_pretokenizer_kind kind;
    struct mq_pattern *pattern; /* Split; owned */
    enum mq_split_behavior behavior;
    bool invert;
    struct mq_text replacement; /* Metaspace */
    enum mq_prepend_scheme scheme;
};

/* punctuation.c: in ascending order */
extern const struct mq_char_range mq_punctuation[];
extern const size_t mq_punctuation_count;

/* decode.c */
enum mq_decoder_kind {
    MQ_DEC_BYTE_LEVEL,
    MQ_DEC_REPLACE,
    MQ_DEC_BYTE_FALLBACK,
    MQ_DEC_FUSE,
    MQ_DEC_STRIP,
    MQ_DEC_METASPACE,
};

struct mq_decoder_step {
    enum mq_decoder_kind kind;
    struct mq_text from, to; /* Replace; Strip and Metaspace have `from`: one character */
    uint64_t start, stop;    /* Strip: how many at most */
    bool drop_leading;       /* Metaspace */
};

/* One id. A piece of the model, an added token, or both. */
struct mq_token {
    const char *text; /* what decoding starts from; NULL: no such id */
    uint32_t size;
    bool skip; /* left out when special tokens are skipped */
};

struct mq_added_token {
    struct mq_text content;
    uint32_t id;
    bool single_word, lstrip, rstrip, normalized, special;
    bool was_special, was_normalized; /* said of an earlier token with this text */
};

/* A trie over the bytes of the added tokens. Node 0 is the root. */
struct mq_trie {
    struct mq_pair_map edges; /* (node, byte) -> (node, 1 + index of the token ending there or 0) */
    uint32_t nodes;
    bool first[256]; /* the root has an edge */
    size_t longest;  /* token's bytes */
    struct mq_longest_starts starts; /* where that is long */
};

/* model.c. SPM: of a SentencePiece model, see scored.h. */
enum mq_model_kind { MQ_MODEL_BPE, MQ_MODEL_UNIGRAM, MQ_MODEL_SPM_BPE, MQ_MODEL_SPM_UNIGRAM };

struct mq_tokenizer {
    struct mq_arena *arena; /* every text */

    enum mq_model_kind model_kind;
    struct mq_scored *scored; /* of all kinds but BPE; owned */

    /* The model, see bpe.c. */
    struct mq_strmap vocab;    /* pieces of the model -> id */
    struct mq_pair_map merges; /* (left id, right id) -> (rank, new id) */
    int32_t char_id[MQ_CHAR_IDS];
    int32_t byte_id[256]; /* of <0xNN>, with byte fallback */
    int32_t unk_id;       /* MQ_NO_ID: none */
    bool has_unk;         /* an unknown token is named (unk_id may be missing all the same) */
    bool byte_fallback, fuse_unk, ignore_merges;
    int32_t cut_id; /* words may be cut before this one-character piece; MQ_NO_ID: nowhere */

    struct mq_token *tokens; /* by id */
    uint32_t vocab_size;

    struct mq_added_token *added;
    size_t added_count;
    struct mq_strmap added_ids; /* contents -> index of `added` */
    struct mq_trie raw, normalized;

    struct mq_normalizer_step normalizers[MQ_MAX_STEPS];
    size_t normalizer_count;
    struct mq_pretokenizer_step pretokenizers[MQ_MAX_STEPS];
    size_t pretokenizer_count;
    struct mq_decoder_step decoders[MQ_MAX_STEPS];
    size_t decoder_count;
    bool has_decoder;

    char note[300]; /* see mq_tokenizer_note */
    size_t renumbered;

    bool has_template;
    struct mq_ids prefix, suffix; /* the template's, around the text */
};

/* Where a component's JSON comes from, for messages and allocation. */
struct mq_load {
    struct mq_tokenizer *tokenizer;
    /* Of the model, on their brackets in the file's text: in the tree they are empty. Without a text where the tree says
     * what is wrong: missing, there twice, or of another type. */
    struct mq_json_walk vocab, merges;
    size_t vocab_count;
    const char *path;
    moeq_error *err;
};

/* load_members.c: reading members. `what` names the component in messages. A missing member is an
 * error, except in mq_load_flag with a fallback of 0 or 1 (-1: required). */
moeq_status mq_load_malformed(struct mq_load *load, const char *what, const char *problem);
moeq_status mq_load_unsupported(struct mq_load *load, const char *what, const char *value);
moeq_status mq_load_text(struct mq_load *load, const cJSON *object, const char *key,
                         const char *what, struct mq_text *text);
moeq_status mq_load_flag(struct mq_load *load, const cJSON *object, const char *key,
                         const char *what, int fallback, bool *flag);
/* Calls `step` for the component, or for each member of its Sequences whose list is `list`. */
moeq_status mq_load_sequence(struct mq_load *load, const cJSON *component, const char *list,
                             const char *what,
                             moeq_status (*step)(struct mq_load *load, const cJSON *component,
                                                 const char *type));

/* load_values.c */
extern const struct mq_json_limits mq_tokenizer_limits;
/* Finds `vocab` and `merges`, and appends the whole text without what is in them. The text was checked, and *root is at its
 * beginning. */
moeq_status mq_load_rest(struct mq_load *load, const struct mq_json_walk *root,
                         struct mq_buffer *rest);
/* The string that stands from `from` to `end` with its quotes: in the JSON text itself, or in `decoded`, which is overwritten,
 * if it has escapes. Not terminated. */
moeq_status mq_load_string(struct mq_load *load, const char *json, size_t from, size_t end,
                           struct mq_buffer *decoded, struct mq_text *text);
moeq_status mq_load_number(struct mq_load *load, const char *json, size_t from, size_t end,
                           double *value, bool *is_number);

/* normalize.c */
moeq_status mq_normalizer_load(struct mq_load *load, const cJSON *json);
void mq_normalizer_free(struct mq_tokenizer *tokenizer);
/* Normalizes `text` in place; `scratch` is overwritten. at_start: it starts at offset 0 of the
 * input. *origin: what starts before this byte of it comes of offset 0. */
moeq_status mq_normalize(const struct mq_tokenizer *tokenizer, struct mq_matcher *matcher,
                         bool at_start, struct mq_buffer *text, struct mq_buffer *scratch,
                         size_t *origin, moeq_error *err);
/* Appends `text` with each `from` replaced. */
void mq_replace_text(const char *text, size_t n, const struct mq_text *from,
                     const struct mq_text *to, struct mq_buffer *out);

/* pretokenize.c */
moeq_status mq_pretokenizer_load(struct mq_load *load, const cJSON *json);
void mq_pretokenizer_free(struct mq_tokenizer *tokenizer);
/* Cuts `pieces` further, step by step. origin: as in mq_normalize. */
moeq_status mq_pretokenize(const struct mq_tokenizer *tokenizer, struct mq_matcher *matcher,
                           size_t origin, struct mq_pieces *pieces, struct mq_pieces *scratch,
                           moeq_error *err);

/* postprocess.c */
moeq_status mq_postprocessor_load(struct mq_load *load, const cJSON *json);

/* added_tokens.c */
moeq_status mq_added_tokens_load(struct mq_load *load, const cJSON *json);
moeq_status mq_added_tokens_build(struct mq_load *load); /* the tries; after the normalizer */
void mq_added_tokens_free(struct mq_tokenizer *tokenizer);

struct mq_added_match {
    size_t start, end; /* with the white space that the token takes in */
    uint32_t id;
};
/* The scan's position in one text. Zero-initialize it. */
struct mq_added_scan {
    size_t at;         /* matching goes on here */
    size_t done;       /* the end of the last match */
    size_t spaces_end; /* of the white space behind the last token that takes it in */
    size_t steps;      /* of walks along the trie, all together */
    /* Those took too many: the length of the longest token at each place from `lengths_from` on; to be freed. */
    uint32_t *lengths;
    size_t lengths_from;
};
/* The next added token in a text, false at the end. */
bool mq_added_tokens_next(const struct mq_tokenizer *tokenizer, const struct mq_trie *trie,
                          const char *text, size_t n, struct mq_added_scan *scan,
                          struct mq_added_match *match);

/* decode.c */
moeq_status mq_decoder_load(struct mq_load *load, const cJSON *json);

/* model.c */
moeq_status mq_model_kind(struct mq_load *load, const cJSON *model, enum mq_model_kind *kind);
struct mq_model_scratch; /* one per thread and job */
struct mq_model_scratch *mq_model_scratch_create(const struct mq_tokenizer *tokenizer);
void mq_model_scratch_free(struct mq_model_scratch *scratch); /* NULL is fine */
/* Appends the ids of one word. */
moeq_status mq_model_encode(const struct mq_tokenizer *tokenizer, struct mq_model_scratch *scratch,
                            const char *word, size_t n, struct mq_ids *ids, moeq_error *err);

/* bpe.c */
moeq_status mq_bpe_load(struct mq_load *load, const cJSON *model);
void mq_index_bytes(struct mq_tokenizer *tokenizer); /* fills byte_id */
struct mq_bpe_scratch; /* one per thread and job */
struct mq_bpe_scratch *mq_bpe_scratch_create(void);
void mq_bpe_scratch_free(struct mq_bpe_scratch *scratch); /* NULL is fine */
/* Appends the ids of one word. */
moeq_status mq_bpe_encode(const struct mq_tokenizer *tokenizer, struct mq_bpe_scratch *scratch,
                          const char *word, size_t n, struct mq_ids *ids, moeq_error *err);


#endif
