/*
 * gguf_vocab_special.c: special ids, and whether BOS and EOS are added.
 *
 * As llama.cpp's converter has it (the `gguf` package, vocab.py), tokenizer_config.json says which
 * token is which, then config.json, of whose lists the first id counts; besides,
 * generation_config.json. What is added, the post-processor says first, as in Transformers 5 and in
 * moeq's own tokenizer; tokenizer_config.json is not asked (the `gguf` package lets it overrule).
 * Where two sources differ, a note says which was taken.
 */
#include "gguf_vocab_int.h"

#include "error.h"

#include <string.h>

enum side { BOS, EOS, UNK, SEP, PAD, MASK, SPECIALS };

static const struct {
    const char *token, *id; /* keys of tokenizer_config.json and of the other two */
    const char *key;
} specials[SPECIALS] = {
    [BOS] = {"bos_token", "bos_token_id", MQ_GGUF_KEY_BOS},
    [EOS] = {"eos_token", "eos_token_id", MQ_GGUF_KEY_EOS},
    [UNK] = {"unk_token", "unk_token_id", MQ_GGUF_KEY_UNK},
    [SEP] = {"sep_token", "sep_token_id", MQ_GGUF_KEY_SEP},
    [PAD] = {"pad_token", "pad_token_id", MQ_GGUF_KEY_PAD},
    [MASK] = {"mask_token", "mask_token_id", MQ_GGUF_KEY_MASK},
};

/* The id of a token that is given as text, or as {"content": text}; -1 if it is not. */
static int64_t id_of_text(const struct mq_vocab *v, const cJSON *item)
{
    uint32_t id;
    const cJSON *text = cJSON_IsObject(item) ? mq_json_get(item, "content") : item;
    if (cJSON_IsString(text) &&
        mq_strmap_get(&v->ids, text->valuestring, strlen(text->valuestring), &id))
        return id;
    return -1;
}

/* An id that is given as a number, or as a list of which the first counts. */
static int64_t id_of_number(const struct mq_vocab *v, const cJSON *item)
{
    uint64_t id;
    if (cJSON_IsArray(item))
        item = item->child;
    return mq_json_u64(item, &id) && id < v->count ? (int64_t)id : -1;
}

/* What config.json says besides: another id (in a list, that of none), or one that no row of the
 * model has. */
static void note_other_id(struct mq_vocab *v, enum side s, const cJSON *item, int64_t id)
{
    uint64_t other;
    const cJSON *first = cJSON_IsArray(item) ? item->child : item;
    for (const cJSON *c = first; c; c = cJSON_IsArray(item) ? c->next : NULL)
        if (mq_json_u64(c, &other) && (int64_t)other == id)
            return;
    if (!mq_json_u64(first, &other))
        return;
    if (other >= v->count)
        mq_vocab_note(v, "%s %llu of config.json is beyond the vocabulary and left out.",
                      specials[s].id, (unsigned long long)other);
    else if (id >= 0)
        mq_vocab_note(v,
                      "%s is %lld, '%.60s', as tokenizer_config.json says; config.json says %llu.",
                      specials[s].id, (long long)id, v->tokens[id].text, (unsigned long long)other);
}

/* What a post-processor puts around a text. Index 0: in front, 1: behind. */
struct affixes {
    bool byte_level;    /* a ByteLevel is there: nothing is added unless a template does */
    size_t tokens[2];   /* how many */
    int64_t outmost[2]; /* the first and the last of them */
};

static moeq_status read_post_processor(struct mq_vocab *v, const cJSON *json, const char *type,
                                       void *user)
{
    struct affixes *t = user;
    if (strcmp(type, "ByteLevel") == 0) {
        t->byte_level = true;
        return MOEQ_OK;
    }
    if (strcmp(type, "TemplateProcessing") != 0)
        return mq_vocab_unsupported(v, "post-processor", type);
    const cJSON *single = mq_json_get(json, "single");
    bool behind = false;
    for (const cJSON *item = single ? single->child : NULL; item; item = item->next) {
        const cJSON *name = mq_json_get(mq_json_get(item, "SpecialToken"), "id");
        if (!cJSON_IsString(name)) {
            behind = true;
            continue;
        }
        const cJSON *list =
            mq_json_get(mq_json_get(mq_json_get(json, "special_tokens"), name->valuestring), "ids");
        for (const cJSON *id = list ? list->child : NULL; id; id = id->next) {
            if (behind || !t->tokens[0])
                t->outmost[behind] = id_of_number(v, id);
            t->tokens[behind]++;
        }
    }
    return MOEQ_OK;
}

/*
 * add_bos_token or add_eos_token, as the post-processor has it: moeq and Transformers 5 do not
 * follow tokenizer_config.json beside a tokenizer.json. llama.cpp can add the one token that is BOS
 * (EOS). -1: nobody says; BOS is then not added, which must be said since "llama" adds it.
 */
static int adds(struct mq_vocab *v, const struct affixes *t, enum side side,
                const cJSON *tokenizer_config, int64_t *id)
{
    const char *name = side == BOS ? "BOS" : "EOS";
    const char *key = side == BOS ? "add_bos_token" : "add_eos_token";
    const cJSON *flag = mq_json_get(tokenizer_config, key);
    if (t->tokens[side] ? cJSON_IsFalse(flag) : cJSON_IsTrue(flag))
        mq_vocab_note(v,
                      "%s is as the post-processor of tokenizer.json has it, %s, not as "
                      "tokenizer_config.json.",
                      key, t->tokens[side] ? "true" : "false");
    if (!t->tokens[side])
        return side == BOS || t->byte_level || cJSON_IsBool(flag) ? 0 : -1;
    if (*id < 0)
        *id = t->outmost[side];
    const bool is_it = *id >= 0 && *id == t->outmost[side];
    if (!is_it || t->tokens[side] > 1)
        mq_vocab_warn(v, "the template's tokens %s a text are other than one %s",
                      side == BOS ? "in front of" : "behind", name);
    return is_it;
}

/* The sources in their order: tokenizer_config.json, config.json, generation_config.json. */
static int64_t find_special(struct mq_vocab *v, const struct mq_vocab_files *files, enum side s)
{
    const cJSON *configured = mq_json_get(files->config, specials[s].id);
    int64_t id = id_of_text(v, mq_json_get(files->tokenizer_config, specials[s].token));
    note_other_id(v, s, configured, id);
    if (id < 0)
        id = id_of_number(v, configured);
    return id < 0 ? id_of_number(v, mq_json_get(files->generation_config, specials[s].id)) : id;
}

moeq_status mq_vocab_put_specials(struct mq_gguf_writer *w, struct mq_vocab *v,
                                  const struct mq_vocab_files *files, const struct mq_hparams *h)
{
    int64_t ids[SPECIALS];
    for (size_t s = 0; s < SPECIALS; s++)
        ids[s] = find_special(v, files, (enum side)s);
    if (ids[BOS] < 0 && h->bos >= 0 && (uint32_t)h->bos < v->count)
        ids[BOS] = h->bos;
    if (ids[EOS] < 0 && h->eos >= 0 && (uint32_t)h->eos < v->count)
        ids[EOS] = h->eos;
    if (ids[UNK] < 0)
        ids[UNK] = id_of_text(v, mq_json_get(v->model, "unk_token"));
    struct affixes t = {.outmost = {-1, -1}};
    MQ_TRY(mq_vocab_each(v, mq_json_get(files->tokenizer, "post_processor"), "processors",
                         "post-processor", &t, read_post_processor));
    const int bos = adds(v, &t, BOS, files->tokenizer_config, &ids[BOS]);
    const int eos = adds(v, &t, EOS, files->tokenizer_config, &ids[EOS]);
    for (size_t s = 0; s < SPECIALS; s++)
        if (ids[s] >= 0)
            mq_gguf_put_u32(w, specials[s].key, (uint32_t)ids[s]);
    mq_gguf_put_bool(w, MQ_GGUF_KEY_ADD_BOS, bos > 0);
    if (eos >= 0 || v->says_eos)
        mq_gguf_put_bool(w, MQ_GGUF_KEY_ADD_EOS, eos > 0);
    return MOEQ_OK;
}
