/* cmd_inspect.c: moeq inspect: what is in a model. */
#include "family.h"
#include "model_options.h"
#include "view_json.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static void print_model(const struct mq_view *v)
{
    const struct mq_hparams *h = &v->hparams;
    printf("%s: %s, %s\n", v->path, mq_view_kind_title(v->kind), v->family->name);
    printf("  %u layers, hidden %u, %u heads (%u kv) of %u, ffn %u", h->layers, h->hidden, h->heads,
           h->kv_heads, h->head_dim, h->ffn);
    if (h->experts)
        printf(", %u experts top-%u", h->experts, h->top_k);
    printf("\n  vocabulary %u%s, positions %u", h->vocab, h->tied_head ? " (head tied)" : "",
           h->max_positions);
    if (h->sliding_window)
        printf(", sliding window %u", h->sliding_window);
    printf(", tokenizer %s%s%s\n",
           v->side[MQ_SIDE_TOKENIZER].size ? "included"
           : v->tokenizer_problem          ? "not readable"
                                           : "not included",
           v->tokenizer_source ? ", of " : "", v->tokenizer_source ? v->tokenizer_source : "");
    if (v->files_count > 1 && v->kind != MQ_VIEW_FOLDER)
        printf("  in %zu files\n", v->files_count);
}

static void print_metadata(const struct mq_view *v)
{
    for (const char *const *m = (const char *const *)v->metadata; m && m[0]; m += 2)
        if (strncmp(m[0], "moeq.tensor.", 12) != 0)
            printf("  %-*s %s\n", v->kind == MQ_VIEW_GGUF ? 28 : 14, m[0], m[1]);
}

static void print_tensors(const struct mq_view *v)
{
    printf("  %-58s %-7s %16s %12s\n", "tensor", "level", "shape", "bytes");
    for (size_t i = 0; i < v->tensors_count; i++) {
        const struct mq_tensor *t = &v->tensors[i];
        char shape[48];
        if (t->dims == 1)
            snprintf(shape, sizeof shape, "%" PRIu64, t->cols);
        else
            snprintf(shape, sizeof shape, "%" PRIu64 " x %" PRIu64, t->rows, t->cols);
        printf("  %-58s %-7s %16s %12" PRIu64 "\n", mq_tensor_shown(t), t->storage, shape,
               t->rows * t->row_bytes);
    }
}

static cJSON *inspect_json(const struct mq_view *v, const struct mq_breakdown *b, bool tensors)
{
    cJSON *o = mq_model_json(v);
    cJSON_AddItemToObject(o, "sizes", mq_breakdown_json(b));
    cJSON_AddItemToObject(o, "files", mq_view_files_json(v));
    cJSON *metadata = cJSON_AddObjectToObject(o, "metadata");
    for (const char *const *m = (const char *const *)v->metadata; m && m[0]; m += 2)
        if (strncmp(m[0], "moeq.tensor.", 12) != 0)
            cJSON_AddStringToObject(metadata, m[0], m[1]);
    if (!tensors)
        return o;
    cJSON *list = cJSON_AddArrayToObject(o, "tensors");
    for (size_t i = 0; i < v->tensors_count; i++) {
        const struct mq_tensor *t = &v->tensors[i];
        cJSON *item = cJSON_CreateObject();
        cJSON_AddStringToObject(item, "name", t->name);
        if (t->stored_name)
            cJSON_AddStringToObject(item, "stored_name", t->stored_name);
        cJSON_AddStringToObject(item, "role", mq_role_name(t->role));
        cJSON_AddNumberToObject(item, "layer", t->layer);
        cJSON_AddNumberToObject(item, "expert", t->expert);
        cJSON_AddStringToObject(item, "level", t->storage);
        cJSON_AddNumberToObject(item, "rows", (double)t->rows);
        cJSON_AddNumberToObject(item, "cols", (double)t->cols);
        cJSON_AddNumberToObject(item, "bytes", (double)(t->rows * t->row_bytes));
        cJSON_AddStringToObject(item, "file", mq_view_tensor_file(v, t));
        cJSON_AddNumberToObject(item, "offset", (double)t->offset);
        cJSON_AddItemToArray(list, item);
    }
    return o;
}

enum mq_exit mq_cmd_inspect(const struct mq_options *options)
{
    moeq_error err = {0};
    struct mq_view *view;
    if (mq_open_model(options, options->positional[0], &view, &err) != MOEQ_OK)
        return mq_report(&err);
    struct mq_breakdown b = {0};
    for (size_t i = 0; i < view->tensors_count; i++) {
        const struct mq_tensor *t = &view->tensors[i];
        mq_breakdown_add(&b, t, mq_level_of_storage(t->storage), t->rows * t->row_bytes);
    }
    enum mq_exit code;
    if (options->json) {
        code = mq_print_json(inspect_json(view, &b, options->tensors));
    } else {
        print_model(view);
        print_metadata(view);
        mq_print_notes(options, view);
        mq_breakdown_print(&b);
        if (options->tensors)
            print_tensors(view);
        code = mq_finish_output();
    }
    mq_view_close(view);
    return code;
}
