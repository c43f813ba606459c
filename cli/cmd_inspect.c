/* cmd_inspect.c: moeq inspect: what is in a model. */
#include "family.h"
#include "family_list.h"
#include "model_options.h"
#include "view_json.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static void print_model(const struct mq_view *v)
{
    const struct mq_hparams *h = &v->hparams;
    printf("%s: %s, %s\n", v->path, mq_view_kind_title(v->kind), v->family->name);
    printf("  %u layers, hidden %u, %u heads", h->layers, h->hidden, h->heads);
    if (h->kv_heads && h->head_dim) /* latent attention has neither */
        printf(" (%u kv) of %u", h->kv_heads, h->head_dim);
    if (h->ffn)
        printf(", ffn %u", h->ffn);
    if (h->experts)
        printf(", %u experts top-%u", h->experts, h->top_k);
    if (h->expert_ffn)
        printf(" of ffn %u", h->expert_ffn);
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
               mq_tensor_stored_bytes(t));
    }
}

static cJSON *tensor_json(struct mq_json_tree *b, const struct mq_view *v,
                          const struct mq_tensor *t)
{
    cJSON *o = mq_json_object(b);
    mq_json_put_text(b, o, "name", t->name);
    if (t->stored_name)
        mq_json_put_text(b, o, "stored_name", t->stored_name);
    mq_json_put_text(b, o, "role", mq_role_name(t->role));
    mq_json_put_number(b, o, "layer", t->layer);
    mq_json_put_number(b, o, "expert", t->expert);
    mq_json_put_text(b, o, "level", t->storage);
    mq_json_put_count(b, o, "rows", t->rows);
    mq_json_put_count(b, o, "cols", t->cols);
    mq_json_put_count(b, o, "bytes", mq_tensor_stored_bytes(t));
    mq_json_put_text(b, o, "file", mq_view_tensor_file(v, t));
    mq_json_put_count(b, o, "offset", t->offset);
    return o;
}

static cJSON *inspect_json(const struct mq_view *v, const struct mq_breakdown *sizes, bool tensors)
{
    struct mq_json_tree b = {0};
    cJSON *o = mq_json_document(&b, "inspect"), *metadata = mq_json_object(&b);
    mq_model_put_json(&b, o, v);
    mq_json_put(&b, o, "sizes", mq_breakdown_json(&b, sizes));
    mq_json_put(&b, o, "files", mq_view_files_json(v));
    for (const char *const *m = (const char *const *)v->metadata; m && m[0]; m += 2)
        if (strncmp(m[0], "moeq.tensor.", 12) != 0)
            mq_json_put_text(&b, metadata, m[0], m[1]);
    mq_json_put(&b, o, "metadata", metadata);
    if (!tensors)
        return mq_json_finish(&b, o);
    cJSON *list = mq_json_array(&b);
    for (size_t i = 0; i < v->tensors_count; i++)
        mq_json_append(&b, list, tensor_json(&b, v, &v->tensors[i]));
    mq_json_put(&b, o, "tensors", list);
    return mq_json_finish(&b, o);
}

enum mq_exit mq_cmd_inspect(const struct mq_options *options)
{
    moeq_error err = {0};
    struct mq_view *view;
    if (options->list_families)
        return mq_list_families(options);
    if (!options->positional_count)
        return mq_usage("inspect", "expected: moeq inspect MODEL [--tensors] | --list-families");
    if (mq_open_model_or_config(options, options->positional[0], &view, &err) != MOEQ_OK)
        return mq_report(&err);
    struct mq_breakdown b = {0};
    for (size_t i = 0; i < view->tensors_count; i++) {
        const struct mq_tensor *t = &view->tensors[i];
        mq_breakdown_add(&b, view, t, mq_level_of_storage(t->storage), mq_tensor_stored_bytes(t));
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
