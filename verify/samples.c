/* samples.c: prompts of a file through every arm of a sweep. */
#include "samples.h"

#include "checked.h"
#include "error.h"
#include "generation_json.h"
#include "json.h"
#include "text_input.h"

#include <stdlib.h>
#include <string.h>

enum { FILE_CAP_BYTES = 4 << 20, KEPT_LOGITS_BYTES = 64 << 20 };

static const struct mq_json_limits limits = {.depth = 8, .values = 1000};

/* ---- reading ---- */

static char *copy_member(const cJSON *line, const char *key)
{
    const char *text = cJSON_GetStringValue(mq_json_get(line, key));
    return text ? strdup(text) : NULL;
}

static moeq_status read_json(const char *path, size_t number, const char *line, size_t n,
                             struct mq_sample *sample, moeq_error *err)
{
    cJSON *tree = NULL;
    struct mq_buffer where = {0};
    mq_buffer_printf(&where, "%s: line %zu", path, number);
    moeq_status status = mq_buffer_ok(&where) ? MOEQ_OK : mq_fail_memory(err, "reading prompts");
    if (status == MOEQ_OK)
        status = mq_json_parse(line, n, &limits, where.data, 0, &tree, err);
    mq_buffer_free(&where);
    MQ_TRY(status);
    sample->chat = mq_json_get(tree, "chat") != NULL;
    sample->prompt = copy_member(tree, sample->chat ? "chat" : "prompt");
    sample->system = sample->chat ? copy_member(tree, "system") : NULL;
    cJSON_Delete(tree);
    return sample->prompt ? MOEQ_OK
                          : mq_fail_file(err, MOEQ_MALFORMED, path,
                                         "line %zu: expected {\"prompt\": TEXT} or {\"chat\": "
                                         "TEXT, \"system\": TEXT}",
                                         number);
}

static moeq_status read_line(const char *path, size_t number, const char *line, size_t n,
                             struct mq_samples *s, moeq_error *err)
{
    n -= n && line[n - 1] == '\r';
    if (!n)
        return MOEQ_OK;
    if (s->count == MQ_SAMPLES_MAX)
        return mq_fail_file(err, MOEQ_LIMIT, path, "line %zu: expected at most %d prompts", number,
                            MQ_SAMPLES_MAX);
    if (memchr(line, '\0', n))
        return mq_fail_file(err, MOEQ_MALFORMED, path, "line %zu holds U+0000", number);
    struct mq_sample *sample = &s->samples[s->count++];
    sample->line = number;
    if (line[0] == '{')
        return read_json(path, number, line, n, sample, err);
    sample->prompt = strndup(line, n);
    return sample->prompt ? MOEQ_OK : mq_fail_memory(err, "reading prompts");
}

static moeq_status check_utf8(const char *path, const struct mq_buffer *bytes, moeq_error *err)
{
    size_t bad, line = 1;
    if (mq_utf8_valid(bytes->data, bytes->size, &bad))
        return MOEQ_OK;
    for (size_t i = 0; i < bad; i++)
        line += bytes->data[i] == '\n';
    return mq_fail_file(err, MOEQ_MALFORMED, path, "line %zu is not UTF-8, at byte %zu of the file",
                        line, bad);
}

moeq_status mq_samples_read(const char *path, struct mq_samples *s, moeq_error *err)
{
    struct mq_buffer bytes = {0};
    size_t number = 1;
    moeq_status status;
    s->path = path;
    MQ_TRY(mq_input_read(path, FILE_CAP_BYTES, &bytes, err));
    status = check_utf8(path, &bytes, err);
    for (size_t at = 0; status == MOEQ_OK && at < bytes.size; number++) {
        const char *line = bytes.data + at, *end = memchr(line, '\n', bytes.size - at);
        const size_t n = end ? (size_t)(end - line) : bytes.size - at;
        status = read_line(path, number, line, n, s, err);
        at += n + 1;
    }
    if (status == MOEQ_OK && !s->count)
        status = mq_fail_file(err, MOEQ_INVALID_ARGUMENT, path, "holds no prompt");
    mq_buffer_free(&bytes);
    return status;
}

void mq_samples_free(struct mq_samples *s)
{
    for (size_t i = 0; i < s->count; i++) {
        struct mq_sample *sample = &s->samples[i];
        for (size_t a = 0; a < s->arms; a++) {
            if (sample->said)
                mq_generation_free(&sample->said[a]);
            if (sample->texts)
                free(sample->texts[a]);
        }
        free(sample->said);
        free(sample->texts);
        free(sample->prompt);
        free(sample->system);
        mq_ids_free(&sample->ids);
        mq_ids_free(&sample->ends);
    }
    s->count = 0;
}

/* ---- running ---- */

static const struct mq_generation_options how = {.most = MQ_SAMPLE_TOKENS};

/* The ids of a prompt, room for the answer, and its ends. */
static moeq_status prepare(const struct mq_view *view, const struct mq_tokenizer *tokenizer,
                           const char *date, struct mq_sample *sample, moeq_error *err)
{
    const struct mq_prompt prompt = {
        .chat = sample->chat,
        .text = sample->prompt,
        .size = strlen(sample->prompt),
        .system = sample->system,
        .system_size = sample->system ? strlen(sample->system) : 0,
        .date = date,
    };
    const char *end_token;
    size_t tokens;
    MQ_TRY(mq_prompt_ids(view, tokenizer, &prompt, &sample->ids, &end_token, err));
    MQ_TRY(mq_generation_room(view, sample->ids.size, &how, &tokens, err));
    return mq_end_tokens(view, tokenizer, end_token, &sample->ends, err);
}

moeq_status mq_samples_prepare(const struct mq_view *view, const char *date, struct mq_samples *s,
                               moeq_error *err)
{
    struct mq_tokenizer *tokenizer;
    moeq_status status = mq_prompt_tokenizer(view, &tokenizer, err);
    for (size_t i = 0; status == MOEQ_OK && i < s->count; i++) {
        struct mq_sample *sample = &s->samples[i];
        moeq_error inner = {0};
        status = prepare(view, tokenizer, date, sample, &inner);
        if (status != MOEQ_OK)
            mq_fail_file(err, status, s->path, "line %zu: %s", sample->line, inner.message);
    }
    mq_tokenizer_free(tokenizer);
    return status;
}

/* What an arm said, as text. */
static moeq_status write_text(const struct mq_tokenizer *tokenizer, const struct mq_sample *sample,
                              const struct mq_generation *g, char **text, moeq_error *err)
{
    struct mq_text_stream stream;
    struct mq_buffer out = {0};
    moeq_status status =
        mq_text_stream_begin(tokenizer, sample->ids.data, sample->ids.size, &stream, err);
    for (size_t i = 0; status == MOEQ_OK && i < g->count; i++)
        status = mq_text_stream_push(&stream, g->ids[i], &out, err);
    if (status == MOEQ_OK)
        status = mq_text_stream_flush(&stream, &out, err);
    mq_text_stream_end(&stream);
    mq_buffer_putc(&out, '\0');
    if (status == MOEQ_OK && out.failed)
        status = mq_fail_memory(err, "keeping text");
    *text = out.data;
    return status;
}

/* All prompts through arm number a. */
static moeq_status run_arm(const struct mq_context *context, const struct mq_arm *arm, size_t a,
                           const struct mq_tokenizer *tokenizer, struct mq_samples *s,
                           moeq_error *err)
{
    struct mq_generator *generator = NULL;
    struct mq_generation_options options = how;
    size_t most = 0;
    moeq_status status;
    options.keep_bytes = KEPT_LOGITS_BYTES / s->count;
    for (size_t i = 0; i < s->count; i++) {
        size_t tokens;
        MQ_TRY(mq_generation_room(arm->view, s->samples[i].ids.size, &options, &tokens, err));
        most = mq_max_u64(most, tokens);
    }
    MQ_TRY_OUT(mq_generator_create(context, arm, most, &generator, err));
    for (size_t i = 0; i < s->count; i++) {
        struct mq_sample *sample = &s->samples[i];
        options.ends = &sample->ends;
        MQ_TRY_OUT(mq_generator_run(generator, &sample->ids, &options, &sample->said[a], err));
        if (sample->said[a].end == MQ_GENERATION_INTERRUPTED) {
            status = mq_fail(err, MOEQ_CANCELLED, "interrupted");
            goto out;
        }
        MQ_TRY_OUT(write_text(tokenizer, sample, &sample->said[a], &sample->texts[a], err));
    }
out:
    mq_generator_destroy(generator);
    return status;
}

/* The arm of a candidate; `levels` has room for one of every tensor. */
static moeq_status make_arm(const struct mq_view *baseline, const struct mq_candidate *c,
                            const struct mq_level **levels, struct mq_arm *arm, moeq_error *err)
{
    *arm = (struct mq_arm){.name = c->name, .view = baseline, .routes_from = -1};
    if (c->file || c->made) {
        arm->view = c->file ? c->file : c->made;
        return MOEQ_OK;
    }
    MQ_TRY(mq_comparison_levels(baseline, &c->policy, levels, err));
    arm->levels = levels;
    arm->effort = c->policy.effort;
    arm->importance = c->policy.importance;
    return MOEQ_OK;
}

static moeq_status make_room(struct mq_samples *s, size_t arms, moeq_error *err)
{
    s->arms = arms;
    for (size_t i = 0; i < s->count; i++) {
        s->samples[i].said = calloc(arms, sizeof *s->samples[i].said);
        s->samples[i].texts = calloc(arms, sizeof *s->samples[i].texts);
        if (!s->samples[i].said || !s->samples[i].texts)
            return mq_fail_memory(err, "keeping what is said");
    }
    return MOEQ_OK;
}

moeq_status mq_samples_run(const struct mq_context *context, const struct mq_view *baseline,
                           const struct mq_candidate *candidates, size_t count,
                           struct mq_samples *s, moeq_error *err)
{
    const struct mq_level **levels = calloc(baseline->tensors_count + 1, sizeof *levels);
    struct mq_arm arm = {.name = "baseline", .view = baseline, .routes_from = -1};
    struct mq_tokenizer *tokenizer = NULL;
    moeq_status status = levels ? MOEQ_OK : mq_fail_memory(err, "keeping what is said");
    if (status != MOEQ_OK)
        goto out;
    MQ_TRY_OUT(make_room(s, 1 + count, err));
    MQ_TRY_OUT(mq_prompt_tokenizer(baseline, &tokenizer, err));
    for (size_t a = 0; a <= count; a++) {
        if (a)
            MQ_TRY_OUT(make_arm(baseline, &candidates[a - 1], levels, &arm, err));
        MQ_TRY_OUT(run_arm(context, &arm, a, tokenizer, s, err));
    }
out:
    mq_tokenizer_free(tokenizer);
    free(levels);
    return status;
}

/* ---- JSON ---- */

static cJSON *sample_json(struct mq_json_tree *b, const struct mq_tokenizer *tokenizer,
                          const struct mq_candidate *candidates, const struct mq_samples *s,
                          const struct mq_sample *sample)
{
    cJSON *o = mq_json_object(b), *rows = mq_json_array(b);
    mq_json_put_text(b, o, sample->chat ? "chat" : "prompt", sample->prompt);
    if (sample->system)
        mq_json_put_text(b, o, "system", sample->system);
    mq_json_put_count(b, o, "prompt_tokens", sample->ids.size);
    mq_json_put(b, o, "baseline", mq_generation_json(b, &sample->said[0], sample->texts[0]));
    for (size_t a = 1; a < s->arms; a++) {
        const struct mq_parting parting =
            mq_generation_compare(MQ_ISA_GENERIC, &sample->said[0], &sample->said[a]);
        cJSON *row = mq_generation_json(b, &sample->said[a], sample->texts[a]);
        mq_json_put_text(b, row, "name", candidates[a - 1].name);
        mq_json_put(b, row, "parting", mq_parting_json(b, tokenizer, &parting));
        mq_json_append(b, rows, row);
    }
    mq_json_put(b, o, "rows", rows);
    return o;
}

cJSON *mq_samples_json(struct mq_json_tree *b, const struct mq_view *view,
                       const struct mq_candidate *candidates, const struct mq_samples *s)
{
    cJSON *o = mq_json_object(b), *prompts = mq_json_array(b);
    struct mq_tokenizer *tokenizer = NULL;
    moeq_error ignored = {0};
    if (mq_prompt_tokenizer(view, &tokenizer, &ignored) != MOEQ_OK)
        b->failed = true;
    mq_json_put_text(b, o, "path", s->path);
    mq_json_put_count(b, o, "tokens", MQ_SAMPLE_TOKENS);
    for (size_t i = 0; tokenizer && i < s->count; i++)
        mq_json_append(b, prompts, sample_json(b, tokenizer, candidates, s, &s->samples[i]));
    mq_json_put(b, o, "prompts", prompts);
    mq_tokenizer_free(tokenizer);
    return o;
}
