/*
 * sentencepiece.h: a SentencePiece model (tokenizer.model) as the text of a tokenizer.json.
 *
 * The file is a protobuf message, ModelProto of sentencepiece's sentencepiece_model.proto: pieces
 * with scores and types, and how text is normalized before they are applied. What is made of it is
 * a tokenizer.json with a model and a normalizer of the type "SentencePiece", which only moeq knows
 * (FORMAT.md): it keeps scores and types, so that the ids are those of the sentencepiece library,
 * which the components of the `tokenizers` library can give only nearly.
 */
#ifndef MQ_SENTENCEPIECE_H
#define MQ_SENTENCEPIECE_H

#include "moeq.h"
#include "buffer.h"

#include <stdint.h>

/* ModelProto.SentencePiece.Type. GGUF files have the same numbers. */
enum mq_spm_type {
    MQ_SPM_NORMAL = 1,
    MQ_SPM_UNKNOWN = 2,
    MQ_SPM_CONTROL = 3,
    MQ_SPM_USER_DEFINED = 4,
    MQ_SPM_UNUSED = 5,
    MQ_SPM_BYTE = 6,
};

/* TrainerSpec.ModelType. */
enum mq_spm_algorithm { MQ_SPM_UNIGRAM = 1, MQ_SPM_BPE = 2, MQ_SPM_WORD = 3, MQ_SPM_CHAR = 4 };

/* A range of the file's bytes. */
struct mq_spm_bytes {
    const char *data; /* not terminated */
    size_t size;
};

struct mq_spm_piece {
    struct mq_spm_bytes text; /* UTF-8 without U+0000, not empty */
    float score;              /* finite */
    enum mq_spm_type type;
};

struct mq_spm_model {
    struct mq_spm_piece *pieces; /* by id; owned */
    uint32_t count;
    enum mq_spm_algorithm algorithm;
    bool byte_fallback, treat_whitespace_as_suffix;
    int64_t bos_id, eos_id; /* -1: none; may be beyond the pieces */
    bool add_dummy_prefix, remove_extra_whitespaces, escape_whitespaces;
    struct mq_spm_bytes charsmap; /* empty: characters stay as they are */
};

/* Reads and checks a model; its texts stay in `bytes`. `path` is for messages. */
moeq_status mq_spm_read(const char *bytes, size_t n, const char *path, struct mq_spm_model *model,
                        moeq_error *err);
void mq_spm_free(struct mq_spm_model *model);

/* What a model became. */
struct mq_spm_made {
    uint32_t pieces;
    bool assumed_bos; /* BOS is put in front of a text, and nothing says whether it is to be */
};

/* Appends the tokenizer.json made of a model. `config` is the text of the tokenizer_config.json
 * beside it, which says what is put around a text; empty where there is none. `made`
 * may be NULL. */
moeq_status mq_spm_to_json(const char *bytes, size_t n, const char *path,
                           const struct mq_buffer *config, struct mq_buffer *json,
                           struct mq_spm_made *made, moeq_error *err);

/* The name of the SentencePiece model in a folder, of those that Transformers looks for; NULL if
 * there is none. */
const char *mq_spm_find(const char *folder);

/* The same with the file read: the model of that name in a folder. */
moeq_status mq_spm_folder_to_json(const char *folder, const char *name,
                                  const struct mq_buffer *config, struct mq_buffer *json,
                                  struct mq_spm_made *made, moeq_error *err);

/* What a folder without tokenizer.json gets of its SentencePiece model: view->side[MQ_SIDE_TOKENIZER] and
 * tokenizer_source. One that cannot be read is no failure, since most of what is done with a model
 * needs no tokenizer: then view->tokenizer_problem and a note say why. For this view->hparams must
 * be set. */
struct mq_view;
moeq_status mq_spm_read_folder(const char *folder, struct mq_view *view, moeq_error *err);

#endif
