/*
 * spm_json.c: the tokenizer.json made of a SentencePiece model.
 *
 * What is put around a text sentencepiece leaves to its user: tokenizer_config.json says it, and
 * where it is silent LlamaTokenizer as of Transformers 4, and llama.cpp: BOS in front and nothing
 * behind (T5's class is the other way round). Transformers 5 puts nothing in front, so there is a
 * note.
 *
 * Its `legacy` is true unless it says otherwise: then every segment between special tokens gets the
 * space that goes in front of a text, else only the first. `add_prefix_space` overrules the model's
 * own add_dummy_prefix.
 *
 * Control pieces and the unknown piece are found in a text before the model sees it, as special
 * tokens. sentencepiece itself would take their names as any text; Transformers, like here, not.
 */
#include "sentencepiece.h"

#include "base64.h"
#include "error.h"
#include "file.h"
#include "json.h"
#include "template_json.h"
#include "utf8.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum { MAX_FILE_BYTES = 64 << 20 };

/* What stands around a text, and where the space in front goes. */
struct surroundings {
    int64_t bos, eos; /* ids; -1: nothing */
    bool prefix, prefix_first;
};

/* ---- tokenizer_config.json ---- */

static bool flag_of(const cJSON *config, const char *key, bool otherwise)
{
    const cJSON *item = mq_json_get(config, key);
    return cJSON_IsBool(item) ? cJSON_IsTrue(item) : otherwise;
}

/* The id of a special token, which is given as text or as {"content": text}. */
static int64_t id_of(const struct mq_spm_model *m, const cJSON *config, const char *key,
                     int64_t otherwise)
{
    const cJSON *item = mq_json_get(config, key);
    if (cJSON_IsObject(item))
        item = mq_json_get(item, "content");
    if (!cJSON_IsString(item))
        return otherwise >= 0 && otherwise < m->count ? otherwise : -1;
    const size_t n = strlen(item->valuestring);
    for (uint32_t id = 0; id < m->count; id++)
        if (m->pieces[id].text.size == n &&
            memcmp(m->pieces[id].text.data, item->valuestring, n) == 0)
            return id;
    return -1;
}

static struct surroundings read_surroundings(const struct mq_spm_model *m, const cJSON *config)
{
    const cJSON *name = mq_json_get(config, "tokenizer_class");
    const bool t5 = cJSON_IsString(name) && strncmp(name->valuestring, "T5Tokenizer", 11) == 0;
    struct surroundings s = {
        .bos = id_of(m, config, "bos_token", m->bos_id),
        .eos = id_of(m, config, "eos_token", m->eos_id),
        .prefix = flag_of(config, "add_prefix_space", m->add_dummy_prefix),
        .prefix_first = !flag_of(config, "legacy", true),
    };
    if (!flag_of(config, "add_bos_token", !t5))
        s.bos = -1;
    if (!flag_of(config, "add_eos_token", t5))
        s.eos = -1;
    return s;
}

/* ---- writing ---- */

static void put_text(struct mq_buffer *json, const struct mq_spm_piece *piece)
{
    mq_buffer_put_json(json, piece->text.data, piece->text.size);
}

static void put_added_tokens(struct mq_buffer *json, const struct mq_spm_model *m)
{
    const char *separator = "";
    mq_buffer_puts(json, "\"added_tokens\": [");
    for (uint32_t id = 0; id < m->count; id++) {
        if (m->pieces[id].type != MQ_SPM_CONTROL && m->pieces[id].type != MQ_SPM_UNKNOWN)
            continue;
        mq_buffer_printf(json, "%s\n{\"id\": %u, \"content\": ", separator, id);
        put_text(json, &m->pieces[id]);
        mq_buffer_puts(json, ", \"single_word\": false, \"lstrip\": false, \"rstrip\": false, "
                             "\"normalized\": false, \"special\": true}");
        separator = ",";
    }
    mq_buffer_puts(json, "],\n");
}

static const char *truth(bool flag)
{
    return flag ? "true" : "false";
}

static void put_normalizer(struct mq_buffer *json, const struct mq_spm_model *m,
                           const struct surroundings *s)
{
    mq_buffer_printf(json,
                     "\"normalizer\": {\"type\": \"SentencePiece\", \"add_dummy_prefix\": %s, "
                     "\"prefix_first\": %s, \"treat_whitespace_as_suffix\": %s, "
                     "\"remove_extra_whitespaces\": %s, \"escape_whitespaces\": %s, "
                     "\"precompiled_charsmap\": \"",
                     truth(s->prefix), truth(s->prefix_first), truth(m->treat_whitespace_as_suffix),
                     truth(m->remove_extra_whitespaces), truth(m->escape_whitespaces));
    mq_base64_encode(m->charsmap.data, m->charsmap.size, json);
    mq_buffer_puts(json, "\"},\n\"pre_tokenizer\": null,\n");
}

static struct mq_end_token end_token(const struct mq_spm_model *m, int64_t id)
{
    struct mq_end_token token = {.id = id};
    if (id >= 0) {
        token.text = m->pieces[id].text.data;
        token.size = m->pieces[id].text.size;
    }
    return token;
}

static void put_template(struct mq_buffer *json, const struct mq_spm_model *m,
                         const struct surroundings *s)
{
    const struct mq_end_token bos = end_token(m, s->bos), eos = end_token(m, s->eos);
    mq_put_template(json, &bos, &eos);
}

static void put_decoder(struct mq_buffer *json, const struct mq_spm_model *m,
                        const struct surroundings *s)
{
    mq_buffer_puts(json,
                   "\"decoder\": {\"type\": \"Sequence\", \"decoders\": [{\"type\": "
                   "\"Replace\", \"pattern\": {\"String\": \"" MQ_VISIBLE_SPACE "\"}, \"content\": "
                   "\" \"}, {\"type\": \"ByteFallback\"}, {\"type\": \"Fuse\"}");
    if (s->prefix)
        mq_buffer_printf(json,
                         ", {\"type\": \"Strip\", \"content\": \" \", \"start\": %d, \"stop\": %d}",
                         !m->treat_whitespace_as_suffix, m->treat_whitespace_as_suffix);
    mq_buffer_puts(json, "]},\n");
}

/* Scores have the nine digits that give every float back. */
static void put_model(struct mq_buffer *json, const struct mq_spm_model *m)
{
    uint32_t unknown = 0; /* there is one */
    while (m->pieces[unknown].type != MQ_SPM_UNKNOWN)
        unknown++;
    mq_buffer_printf(json,
                     "\"model\": {\"type\": \"SentencePiece\", \"algorithm\": \"%s\", "
                     "\"byte_fallback\": %s, \"unk_token\": ",
                     m->algorithm == MQ_SPM_BPE ? "BPE" : "Unigram", truth(m->byte_fallback));
    put_text(json, &m->pieces[unknown]);
    mq_buffer_puts(json, ", \"vocab\": [");
    for (uint32_t id = 0; id < m->count; id++) {
        mq_buffer_puts(json, id ? ",\n[" : "\n[");
        put_text(json, &m->pieces[id]);
        mq_buffer_printf(json, ", %.9g, %d]", (double)m->pieces[id].score, m->pieces[id].type);
    }
    mq_buffer_puts(json, "]}\n}\n");
}

moeq_status mq_spm_to_json(const char *bytes, size_t n, const char *path,
                           const struct mq_buffer *config, struct mq_buffer *json,
                           struct mq_spm_made *made, moeq_error *err)
{
    const struct mq_json_limits limits = {.depth = 64, .values = 8 * 1000 * 1000};
    struct mq_spm_model m;
    cJSON *tree = NULL;
    MQ_TRY(mq_spm_read(bytes, n, path, &m, err));
    moeq_status status = MOEQ_OK;
    if (config->size)
        status = mq_json_parse(config->data, config->size, &limits, "tokenizer_config.json", 0,
                               &tree, err);
    if (status == MOEQ_OK) {
        const struct surroundings s = read_surroundings(&m, tree);
        if (made)
            *made = (struct mq_spm_made){
                .pieces = m.count,
                .assumed_bos = s.bos >= 0 && !cJSON_IsBool(mq_json_get(tree, "add_bos_token"))};
        mq_buffer_puts(json, "{\n\"version\": \"1.0\",\n\"truncation\": null,\n\"padding\": "
                             "null,\n");
        put_added_tokens(json, &m);
        put_normalizer(json, &m, &s);
        put_template(json, &m, &s);
        put_decoder(json, &m, &s);
        put_model(json, &m);
        if (!mq_buffer_ok(json))
            status = mq_fail_memory(err, "reading a SentencePiece model");
    }
    cJSON_Delete(tree);
    mq_spm_free(&m);
    return status;
}

/* ---- folders ---- */

/* Of LlamaTokenizer and most others, of T5's and its like, of DeBERTa's; Mistral's own name comes
 * last, since only a copy without the other names would be read by it. */
static const char *const names[] = {"tokenizer.model",    "spiece.model",
                                    "spm.model",          "tokenizer.model.v3",
                                    "tokenizer.model.v2", "tokenizer.model.v1"};

const char *mq_spm_find(const char *folder)
{
    char path[4096];
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        const int n = snprintf(path, sizeof path, "%s/%s", folder, names[i]);
        if (n > 0 && (size_t)n < sizeof path && mq_path_exists(path))
            return names[i];
    }
    return NULL;
}

moeq_status mq_spm_folder_to_json(const char *folder, const char *name,
                                  const struct mq_buffer *config, struct mq_buffer *json,
                                  struct mq_spm_made *made, moeq_error *err)
{
    char path[4096];
    struct mq_buffer bytes;
    snprintf(path, sizeof path, "%s/%s", folder, name);
    MQ_TRY(mq_file_read_all(path, MAX_FILE_BYTES, &bytes, err));
    const moeq_status status =
        mq_spm_to_json(bytes.data ? bytes.data : "", bytes.size, path, config, json, made, err);
    mq_buffer_free(&bytes);
    return status;
}
