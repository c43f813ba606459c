/* cmd_inspect.c: moeq inspect: what is in a model. */
#include "family.h"
#include "family_list.h"
#include "model_options.h"
#include "moeq_profile.h"
#include "quantization_config.h"
#include "text_table.h"
#include "view_json.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Layers, heads, widths: what the family's view knows. */
static void print_shape(const struct mq_hparams *h)
{
    char text[320], layers[64], heads[64];
    size_t used = (size_t)snprintf(text, sizeof text, "  %s, hidden %u, %s",
                                   mq_counted(h->layers, "layer", layers), h->hidden,
                                   mq_counted(h->heads, "head", heads));
    if (h->kv_heads && h->head_dim) /* latent attention has neither */
        used += (size_t)snprintf(text + used, sizeof text - used, " (%u kv) of %u", h->kv_heads,
                                 h->head_dim);
    if (h->ffn)
        used += (size_t)snprintf(text + used, sizeof text - used, ", ffn %u", h->ffn);
    if (h->experts)
        used += (size_t)snprintf(text + used, sizeof text - used, ", %u experts top-%u", h->experts,
                                 h->top_k);
    if (h->expert_ffn)
        snprintf(text + used, sizeof text - used, " of ffn %u", h->expert_ffn);
    mq_print_line(4, "%s", text);
}

static void print_model(const struct mq_view *v)
{
    const struct mq_hparams *h = &v->hparams;
    char window[48] = "";
    mq_print_line(2, "%s: %s, %s", v->path, mq_view_kind_title(v->kind), v->family->name);
    print_shape(h);
    if (h->sliding_window)
        snprintf(window, sizeof window, ", sliding window %u", h->sliding_window);
    mq_print_line(4, "  vocabulary %u%s, positions %u%s, tokenizer %s%s%s", h->vocab,
                  h->tied_head ? " (head tied)" : "", h->max_positions, window,
                  v->side[MQ_SIDE_TOKENIZER].size ? "included"
                  : v->tokenizer_problem          ? "not readable"
                                                  : "not included",
                  v->tokenizer_source ? ", of " : "",
                  v->tokenizer_source ? v->tokenizer_source : "");
    char stored[800];
    mq_claim_describe(&v->claim, stored, sizeof stored);
    if (stored[0] && v->kind != MQ_VIEW_MOEQ)
        mq_print_line(4, "  weights: %s", stored);
    if (v->files_count > 1 && v->kind != MQ_VIEW_FOLDER)
        printf("  in %zu files\n", v->files_count);
}

/* A value of several lines, which are not to be wrapped. */
static void print_lines(const char *key, const char *lines)
{
    printf("  %s\n", key);
    for (size_t n; *lines; lines += n + (lines[n] == '\n')) {
        n = strcspn(lines, "\n");
        printf("    %.*s\n", (int)n, lines);
    }
}

static void print_metadata(const struct mq_view *v)
{
    for (const char *const *m = (const char *const *)v->metadata; m && m[0]; m += 2) {
        if (strncmp(m[0], "moeq.tensor.", 12) == 0)
            continue;
        if (strcmp(m[0], MQ_META_SOURCE_SUMS) == 0) {
            print_lines(m[0], m[1]);
            continue;
        }
        mq_print_line_rest(m[1], printf("  %-*s ", v->kind == MQ_VIEW_GGUF ? 28 : 14, m[0]));
    }
}

enum tensor_column { TENSOR_LEVEL, TENSOR_SHAPE, TENSOR_BYTES };

static void tensor_cell(const void *user, size_t i, int column, char text[MQ_TABLE_CELL])
{
    const struct mq_tensor *t = &((const struct mq_view *)user)->tensors[i];
    if (column < 0)
        snprintf(text, MQ_TABLE_CELL, "%s", mq_tensor_shown(t));
    else if (column == TENSOR_LEVEL)
        snprintf(text, MQ_TABLE_CELL, "%s", t->storage);
    else if (column == TENSOR_BYTES)
        snprintf(text, MQ_TABLE_CELL, "%" PRIu64, mq_tensor_stored_bytes(t));
    else if (t->dims == 1)
        snprintf(text, MQ_TABLE_CELL, "%" PRIu64, t->cols);
    else
        snprintf(text, MQ_TABLE_CELL, "%" PRIu64 " x %" PRIu64, t->rows, t->cols);
}

/* A tensor a line, as programs expect it that read the list from a pipe; on a terminal that is too narrow a name has a
 * line of its own. */
static void print_tensors(const struct mq_view *v)
{
    static const struct mq_text_column columns[] = {[TENSOR_LEVEL] = {"level", -7, 2},
                                                    [TENSOR_SHAPE] = {"shape", 16, 0},
                                                    [TENSOR_BYTES] = {"bytes", 12, 0}};
    enum { NAMES = 58, FIGURES = 38 };
    const int left = mq_output_columns() - MQ_TABLE_INDENT - FIGURES;
    const bool piped = !isatty(STDOUT_FILENO) && !getenv("COLUMNS");
    mq_print_text_table_here(
        &(struct mq_text_table){.name = "  tensor",
                                .name_width = piped || left > NAMES ? NAMES
                                              : left > 0            ? left
                                                                    : 0,
                                .whole_names = !piped,
                                .uncut_names = piped,
                                .columns = columns,
                                .columns_count = sizeof columns / sizeof *columns,
                                .rows_count = v->tensors_count,
                                .cell = tensor_cell,
                                .user = v});
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
    char stored[800];
    mq_claim_describe(&v->claim, stored, sizeof stored);
    mq_model_put_json(&b, o, v);
    if (stored[0] && v->kind != MQ_VIEW_MOEQ)
        mq_json_put_text(&b, o, "weights_stored_as", stored);
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
