/* model.c: which model a tokenizer.json has: its vocabulary, and the one that encodes words. */
#include "scored.h"

#include "error.h"

#include <stdlib.h>
#include <string.h>

moeq_status mq_model_kind(struct mq_load *load, const cJSON *model, enum mq_model_kind *kind)
{
    const cJSON *type = mq_json_get(model, "type"), *algorithm = mq_json_get(model, "algorithm");
    if (!cJSON_IsString(type))
        return mq_load_malformed(load, "model", "it is missing, or its 'type' is no text");
    if (strcmp(type->valuestring, "BPE") == 0) {
        *kind = MQ_MODEL_BPE;
    } else if (strcmp(type->valuestring, "Unigram") == 0) {
        *kind = MQ_MODEL_UNIGRAM;
    } else if (strcmp(type->valuestring, "SentencePiece") == 0) {
        if (!cJSON_IsString(algorithm))
            return mq_load_malformed(load, "model SentencePiece",
                                     "'algorithm' is missing or no text");
        if (strcmp(algorithm->valuestring, "BPE") == 0)
            *kind = MQ_MODEL_SPM_BPE;
        else if (strcmp(algorithm->valuestring, "Unigram") == 0)
            *kind = MQ_MODEL_SPM_UNIGRAM;
        else
            return mq_load_unsupported(load, "model SentencePiece: algorithm",
                                       algorithm->valuestring);
    } else {
        return mq_load_unsupported(load, "model", type->valuestring);
    }
    return MOEQ_OK;
}

struct mq_model_scratch {
    struct mq_bpe_scratch *bpe;
    struct mq_scored_scratch *scored;
};

struct mq_model_scratch *mq_model_scratch_create(const struct mq_tokenizer *tokenizer)
{
    struct mq_model_scratch *s = calloc(1, sizeof *s);
    if (!s)
        return NULL;
    if (tokenizer->scored)
        s->scored = mq_scored_scratch_create();
    else
        s->bpe = mq_bpe_scratch_create();
    if (s->scored || s->bpe)
        return s;
    free(s);
    return NULL;
}

void mq_model_scratch_free(struct mq_model_scratch *scratch)
{
    if (!scratch)
        return;
    mq_bpe_scratch_free(scratch->bpe);
    mq_scored_scratch_free(scratch->scored);
    free(scratch);
}

moeq_status mq_model_encode(const struct mq_tokenizer *tokenizer, struct mq_model_scratch *scratch,
                            const char *word, size_t n, struct mq_ids *ids, moeq_error *err)
{
    return tokenizer->scored ? mq_scored_encode(tokenizer, scratch->scored, word, n, ids, err)
                             : mq_bpe_encode(tokenizer, scratch->bpe, word, n, ids, err);
}
