/*
 * folder_groups.c: what config.json says of quantization.
 *
 * compressed-tensors has groups of modules, by regular expressions on their names, and a list of those that stay plain. What
 * its readers do with them (vLLM 0.11 to 0.15, compressed_tensors/utils.py; Transformers 5.24, integrations/
 * compressed_tensors.py) and what is written accordingly:
 *
 * - vLLM asks for a layer's experts by the names experts.0.gate_proj, up_proj and down_proj, also of families that call them
 *   w1, w3 and w2: the expression for experts ends behind the expert's number.
 * - SGLang takes the experts' group by the target "Linear" (0.5, schemes/compressed_tensors_wNa16_moe.py): it stands in the
 *   group that most experts have. vLLM and SGLang compare it with a module's class before they look for the parts of a module that
 *   they have made of several: the names of those (qkv_proj) are listed beside the parts'.
 * - vLLM fails on a linear module that is in no group and not ignored: all plain ones are listed.
 * - Transformers takes the first group whose expressions say "experts" for the experts', and the first that does not for
 *   everything else: shared experts are "shared_expert.", a dot for any letter.
 * - compressed-tensors' own dequantizer goes from group to group, and "Linear" takes all that is left: that group comes last.
 *
 * DeepSeek's fp8 has one form for all, and names of modules that stay plain; the exact ones, as vLLM compares them. MLX has one
 * form for most modules, and others by path, or false.
 */
#include "folder_int.h"

#include "family.h"
#include "text_match.h"

#include <stdio.h>
#include <string.h>

/* Forms that the plan uses; NULL among them: plain. */
struct forms {
    const struct mq_split *splits[64];
    size_t count;
};

/* Layers as an expression has them: all that have a role, or which. */
struct layers {
    bool *which;
    size_t count;
    bool all;
};

/* The modules of a role in a form, of layers. */
struct use {
    enum mq_role role;
    const struct mq_split *split;
};

static bool is_listed(const struct mq_folder_job *job, const struct mq_plan_entry *e)
{
    const enum mq_role role = e->tensor->role;
    if (!mq_folder_is_linear(e->tensor) || role == MQ_ROLE_MIX_CONV)
        return false;
    return role != MQ_ROLE_EMBEDDING || job->options->format == MQ_FOLDER_MLX;
}

static void add_form(struct forms *f, const struct mq_split *split)
{
    for (size_t i = 0; i < f->count; i++)
        if (f->splits[i] == split)
            return;
    if (f->count < sizeof f->splits / sizeof *f->splits)
        f->splits[f->count++] = split;
}

static bool same_params(const struct mq_split *a, const struct mq_split *b)
{
    return a && b && a->parts_count == b->parts_count && mq_split_group(a) == mq_split_group(b) &&
           mq_split_bits(a) == mq_split_bits(b);
}

/* Weights in a form: of experts' matrices, or of all. */
static uint64_t weights_in(const struct mq_folder_job *job, const struct mq_split *split,
                           bool experts)
{
    uint64_t weights = 0;
    for (size_t i = 0; i < job->plan->view->tensors_count; i++) {
        const struct mq_plan_entry *e = &job->plan->entries[i];
        if (same_params(e->split, split) && (e->tensor->expert >= 0 || !experts))
            weights += e->tensor->rows * e->tensor->cols;
    }
    return weights;
}

/* The form that most weights have comes first. */
static struct forms forms_of(const struct mq_folder_job *job, bool of_experts)
{
    struct forms f = {.count = 0};
    size_t most = 0;
    uint64_t most_weights = 0;
    for (size_t i = 0; i < job->plan->view->tensors_count; i++)
        if (job->plan->entries[i].split)
            add_form(&f, job->plan->entries[i].split);
    for (size_t i = 0; i < f.count; i++) {
        const uint64_t weights = weights_in(job, f.splits[i], of_experts);
        if (weights > most_weights) {
            most = i;
            most_weights = weights;
        }
    }
    const struct mq_split *first = f.splits[most];
    f.splits[most] = f.splits[0];
    f.splits[0] = first;
    return f;
}

/* ---- compressed-tensors ---- */

/* A role's layers that have it in this form: of all layers that have it, which. */
static void find_layers(const struct mq_folder_job *job, struct use use, struct layers *layers)
{
    const struct mq_view *view = job->plan->view;
    layers->count = 0;
    layers->all = true;
    for (uint32_t l = 0; l < view->hparams.layers; l++) {
        const struct mq_tensor *t = mq_view_find(view, use.role, (int32_t)l, -1);
        if (!t)
            t = mq_view_find(view, use.role, (int32_t)l, 0);
        layers->which[l] = t && is_listed(job, &job->plan->entries[t - view->tensors]) &&
                           job->plan->entries[t - view->tensors].split == use.split;
        layers->all &= !t || layers->which[l];
        layers->count += layers->which[l];
    }
}

/* "\\d+", or "(0|5|6)". In JSON a backslash is two. */
static void put_layers(struct mq_buffer *text, const bool *layers, size_t n, bool all)
{
    if (all) {
        mq_buffer_puts(text, "\\\\d+");
        return;
    }
    bool first = true;
    mq_buffer_putc(text, '(');
    for (size_t l = 0, left = n; left; l++)
        if (layers[l]) {
            mq_buffer_printf(text, "%s%zu", first ? "" : "|", l);
            first = false;
            left--;
        }
    mq_buffer_putc(text, ')');
}

/* A piece of a name as an expression. */
static void put_literal(struct mq_buffer *text, const char *piece, size_t n)
{
    static const char shared[] = "shared_experts";
    for (size_t i = 0; i < n; i++) {
        const size_t k = sizeof shared - 1;
        if (i + k <= n && memcmp(piece + i, shared, k) == 0) {
            mq_buffer_puts(text, "shared_expert.");
            i += k - 1;
        } else if (piece[i] == '.') {
            mq_buffer_puts(text, "\\\\.");
        } else {
            mq_buffer_putc(text, piece[i]);
        }
    }
}

/* What the runtimes call the modules that they make of several: of the first of these. */
static const struct {
    const char *part, *joint;
} joints[] = {
    {"q_proj", "qkv_proj"},
    {"gate_proj", "gate_up_proj"},
    {"q_a_proj", "fused_qkv_a_proj"},
    {"w1", "w13"},
};

/* "re:.*layers\\.\\d+\\.self_attn\\.q_proj$" of "model.layers.{layer}.self_attn.q_proj.weight"; joint: in place of the last
 * part, NULL: none. */
static void put_expression(struct mq_buffer *text, const char *pattern, const char *joint,
                           const struct layers *layers)
{
    static const char layer[] = "{layer}", expert[] = "{expert}";
    const char *at = strstr(pattern, layer), *begin = at - (at > pattern);
    while (begin > pattern && begin[-1] != '.') /* to "layers." */
        begin--;
    mq_buffer_puts(text, "\"re:.*");
    put_literal(text, begin, (size_t)(at - begin));
    put_layers(text, layers->which, layers->count, layers->all);
    at += sizeof layer - 1;
    const char *end = strstr(at, expert);
    if (end) {
        put_literal(text, at, (size_t)(end - at));
        mq_buffer_puts(text, "\\\\d+\\\\..*\"");
        return;
    }
    end = pattern + strlen(pattern) - strlen(".weight");
    while (joint && end > at && end[-1] != '.')
        end--;
    put_literal(text, at, (size_t)(end - at));
    mq_buffer_printf(text, "%s$\"", joint ? joint : "");
}

/* A role's expression, and that of the module that it is joined into. */
static void put_role(struct mq_buffer *text, const char *pattern, const struct layers *layers)
{
    char end[64];
    put_expression(text, pattern, NULL, layers);
    for (size_t i = 0; i < sizeof joints / sizeof *joints; i++) {
        snprintf(end, sizeof end, ".%s.weight", joints[i].part);
        if (mq_ends_with(pattern, end) && !strstr(pattern, "{expert}")) {
            mq_buffer_puts(text, ", ");
            put_expression(text, pattern, joints[i].joint, layers);
        }
    }
}

/* One expression says all three of an expert's matrices. */
static bool is_said_by_gate(const struct mq_folder_job *job, enum mq_role role)
{
    return (role == MQ_ROLE_EXPERT_UP || role == MQ_ROLE_EXPERT_DOWN) &&
           mq_family_name(job->plan->view->family, MQ_ROLE_EXPERT_GATE);
}

/* The expressions of all modules in a form, between commas; how many roles they are of. */
static size_t put_modules(const struct mq_folder_job *job, const struct mq_split *split, bool *room,
                          struct mq_buffer *text)
{
    const struct mq_view *view = job->plan->view;
    struct layers layers = {.which = room};
    size_t n = 0;
    for (int experts = 1; experts >= 0; experts--)
        for (int r = 0; r < MQ_ROLE_COUNT; r++) {
            const struct use use = {(enum mq_role)r, split};
            const char *pattern = mq_family_name(view->family, use.role);
            if (!pattern || !strstr(pattern, "{layer}") || is_said_by_gate(job, use.role) ||
                (strstr(pattern, "{expert}") != NULL) != experts)
                continue;
            find_layers(job, use, &layers);
            if (!layers.count)
                continue;
            mq_buffer_puts(text, n++ ? ", " : "");
            put_role(text, pattern, &layers);
        }
    return n;
}

/* Those of a group, and "Linear" of the one that most experts have, which is the first of the forms and written last. */
static void put_targets(const struct mq_folder_job *job, const struct forms *forms, size_t i,
                        bool *room, struct mq_buffer *text)
{
    const bool alone = forms->count == 1;
    const bool joined = !alone && i == 0 && mq_view_has_experts(job->plan->view);
    if (!alone)
        put_modules(job, forms->splits[i], room, text);
    mq_buffer_puts(text, alone ? "\"Linear\"" : joined ? ", \"Linear\"" : "");
}

static void put_weights(const struct mq_split *split, struct mq_buffer *text)
{
    const uint32_t group = mq_split_group(split);
    mq_buffer_printf(text,
                     "\"weights\": {\"num_bits\": %u, \"type\": \"int\", \"symmetric\": true, ",
                     mq_split_bits(split));
    if (group)
        mq_buffer_printf(text, "\"strategy\": \"group\", \"group_size\": %u, ", group);
    else
        mq_buffer_puts(text, "\"strategy\": \"channel\", ");
    mq_buffer_puts(text, "\"dynamic\": false}, \"input_activations\": ");
    /* of integers times integers: what vLLM and SGLang load of int8 */
    mq_buffer_puts(
        text,
        split->format == MQ_FOLDER_INT8
            ? "{\"num_bits\": 8, \"type\": \"int\", \"symmetric\": true, \"strategy\": \"token\", "
              "\"dynamic\": true}"
            : "null");
    mq_buffer_puts(text, ", \"output_activations\": null");
}

static void put_compressed(const struct mq_folder_job *job, bool *layers, struct mq_buffer *text)
{
    const struct forms forms = forms_of(job, true);
    const char *format =
        job->options->format == MQ_FOLDER_INT8 ? "int-quantized" : "pack-quantized";
    mq_buffer_printf(
        text,
        "\"quantization_config\": {\n    \"quant_method\": \"compressed-tensors\",\n    "
        "\"format\": "
        "\"%s\",\n    \"quantization_status\": \"compressed\",\n    \"config_groups\": {",
        format);
    for (size_t k = 0; k < forms.count; k++) {
        const size_t i = (k + 1) % forms.count;
        mq_buffer_printf(text, "%s\n      \"group_%zu\": {\"format\": \"%s\", \"targets\": [",
                         k ? "," : "", k, format);
        put_targets(job, &forms, i, layers, text);
        mq_buffer_puts(text, "], ");
        put_weights(forms.splits[i], text);
        mq_buffer_putc(text, '}');
    }
    mq_buffer_puts(text, "\n    },\n    \"ignore\": [");
    mq_buffer_puts(text, put_modules(job, NULL, layers, text) ? ", \"lm_head\"" : "\"lm_head\"");
    mq_buffer_puts(text, "],\n    \"kv_cache_scheme\": null,\n    \"version\": \"0.20.0\"\n  }");
}

/* ---- fp8 ---- */

static void put_name(struct mq_buffer *text, bool *first, const char *name, size_t n)
{
    mq_buffer_puts(text, *first ? "" : ", ");
    mq_buffer_put_json(text, name, n);
    *first = false;
}

/* Plain modules by name; of experts the module that holds them, by the first. */
static void put_fp8(const struct mq_folder_job *job, struct mq_buffer *text)
{
    static const char experts[] = ".experts.";
    bool first = true;
    mq_buffer_puts(
        text,
        "\"quantization_config\": {\n    \"quant_method\": \"fp8\",\n    \"fmt\": \"e4m3\",\n    "
        "\"activation_scheme\": \"dynamic\",\n    \"weight_block_size\": [128, 128],\n    "
        "\"modules_to_not_convert\": [");
    for (size_t i = 0; i < job->plan->view->tensors_count; i++) {
        const struct mq_plan_entry *e = &job->plan->entries[i];
        const char *name = e->tensor->name, *at = strstr(name, experts);
        if (e->split || !is_listed(job, e) || e->tensor->role == MQ_ROLE_HEAD ||
            e->tensor->expert > 0 ||
            (e->tensor->expert == 0 && e->tensor->role != MQ_ROLE_EXPERT_UP))
            continue;
        put_name(text, &first, name,
                 e->tensor->expert == 0 && at ? (size_t)(at - name) + sizeof experts - 2
                                              : strlen(name) - strlen(".weight"));
    }
    put_name(text, &first, "lm_head", strlen("lm_head"));
    mq_buffer_puts(text, "]\n  }");
}

/* ---- MLX ---- */

static void put_params(const struct mq_split *split, struct mq_buffer *text)
{
    const bool affine = split->parts_count == 3;
    mq_buffer_printf(text, "\"group_size\": %u, \"bits\": %u, \"mode\": \"%s\"",
                     mq_split_group(split), mq_split_bits(split), affine ? "affine" : "mxfp4");
}

static void put_mlx(const struct mq_folder_job *job, struct mq_buffer *text)
{
    const struct forms forms = forms_of(job, false);
    const struct mq_split *most = forms.count ? forms.splits[0] : NULL;
    struct mq_buffer object = {0};
    mq_buffer_putc(&object, '{');
    if (most)
        put_params(most, &object);
    for (size_t i = 0; most && i < job->plan->view->tensors_count; i++) {
        const struct mq_plan_entry *e = &job->plan->entries[i];
        if (!is_listed(job, e) || e->tensor->expert > 0 || same_params(e->split, most))
            continue;
        const char *module = mq_folder_module(job, e->tensor);
        object.failed |= !module;
        mq_buffer_puts(&object, ",\n    ");
        mq_buffer_put_json(&object, module ? module : "", module ? strlen(module) : 0);
        mq_buffer_puts(&object, e->split ? ": {" : ": false");
        if (e->split) {
            put_params(e->split, &object);
            mq_buffer_putc(&object, '}');
        }
    }
    mq_buffer_putc(&object, '}');
    text->failed |= !mq_buffer_ok(&object);
    /* mlx-lm reads the first, the Hub shows the second: mlx-lm writes both. */
    mq_buffer_puts(text, "\"quantization\": ");
    mq_buffer_append(text, object.data, object.size);
    mq_buffer_puts(text, ",\n  \"quantization_config\": ");
    mq_buffer_append(text, object.data, object.size);
    mq_buffer_free(&object);
}

void mq_folder_put_quantization(const struct mq_folder_job *job, struct mq_buffer *text)
{
    bool *layers = mq_arena_alloc(job->plan->arena, (size_t)job->plan->view->hparams.layers + 1,
                                  sizeof *layers);
    bool any = false;
    for (size_t i = 0; i < job->plan->view->tensors_count; i++)
        any |= job->plan->entries[i].split != NULL;
    text->failed |= !layers;
    if (!any || !layers)
        return;
    if (job->options->format == MQ_FOLDER_MLX)
        put_mlx(job, text);
    else if (job->options->format == MQ_FOLDER_FP8)
        put_fp8(job, text);
    else
        put_compressed(job, layers, text);
}
