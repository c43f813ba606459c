/*
 * folder_config.c: config.json of a folder for another runtime: the source's, text for text, but for what it says of
 * quantization and of the head.
 */
#include "folder_int.h"

#include "error.h"
#include "family.h"
#include "json.h"

#include <string.h>

/* What is said anew. */
static const char *const replaced[] = {"quantization_config", "quantization", "compression_config",
                                       "tie_word_embeddings"};

static bool is_key(const struct mq_json_walk *w, const char *key)
{
    const size_t n = strlen(key);
    return w->key_end - w->key == n + 2 && memcmp(w->text + w->key + 1, key, n) == 0;
}

static bool is_replaced(const struct mq_json_walk *w)
{
    for (size_t i = 0; i < sizeof replaced / sizeof *replaced; i++)
        if (is_key(w, replaced[i]))
            return true;
    return false;
}

struct said {
    bool architectures, model_type, dtype;
};

static void next_member(struct mq_buffer *text)
{
    mq_buffer_puts(text, text->size > 2 ? ",\n  " : "  ");
}

/* The members as they stand in the source. */
static void put_members(const struct mq_buffer *source, struct said *said, struct mq_buffer *text)
{
    struct mq_json_walk w = {.text = source->data, .n = source->size};
    while (w.at < w.n && w.text[w.at] != '{') /* a byte order mark, white space */
        w.at++;
    while (mq_json_walk_next(&w)) {
        said->architectures |= is_key(&w, "architectures");
        said->model_type |= is_key(&w, "model_type");
        said->dtype |= is_key(&w, "torch_dtype") || is_key(&w, "dtype");
        if (is_replaced(&w))
            continue;
        next_member(text);
        mq_buffer_append(text, w.text + w.key, w.key_end - w.key);
        mq_buffer_puts(text, ": ");
        mq_buffer_append(text, w.text + w.value, w.value_end - w.value);
    }
}

/* Of a source that is no folder, what the runtimes look for. */
static void put_missing(const struct mq_view *view, const struct said *said, struct mq_buffer *text)
{
    if (!said->architectures && view->family->architecture) {
        next_member(text);
        mq_buffer_printf(text, "\"architectures\": [\"%s\"]", view->family->architecture);
    }
    if (!said->model_type) {
        next_member(text);
        mq_buffer_printf(text, "\"model_type\": \"%s\"", view->family->name);
    }
    if (!said->dtype) {
        next_member(text);
        mq_buffer_puts(text, "\"torch_dtype\": \"bfloat16\"");
    }
}

moeq_status mq_folder_config(struct mq_folder_job *job, struct mq_plan_file *file)
{
    const struct mq_view *view = job->plan->view;
    struct mq_buffer text = {0}, quantization = {0};
    struct said said = {0};
    mq_buffer_puts(&text, "{\n");
    put_members(&view->side[MQ_SIDE_CONFIG], &said, &text);
    put_missing(view, &said, &text);
    next_member(&text);
    mq_buffer_printf(&text, "\"tie_word_embeddings\": %s",
                     mq_view_find(view, MQ_ROLE_HEAD, -1, -1) ? "false" : "true");
    mq_folder_put_quantization(job, &quantization);
    if (quantization.size) {
        next_member(&text);
        mq_buffer_append(&text, quantization.data, quantization.size);
    }
    text.failed |= !mq_buffer_ok(&quantization);
    mq_buffer_free(&quantization);
    mq_buffer_puts(&text, "\n}\n");
    return mq_folder_text_file(job, "config.json", &text, file);
}
