/* model_options.c: options that name levels, and tables of a model's sizes. */
#include "model_options.h"

#include "error.h"
#include "family.h"
#include "open_options.h"
#include "spellings.h"
#include "stored.h"
#include "text_table.h"
#include "text_input.h"
#include "text_match.h"
#include "view_json.h"
#include "what_is_it.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct mq_open_options mq_option_open(const struct mq_options *options)
{
    struct mq_open_options open = {.ignored_keys = options->ignore_config.values,
                                   .ignored_keys_count = options->ignore_config.count,
                                   .no_check = options->no_check};
    /* the option table has the same names */
    if (options->sliding_window)
        mq_window_choice_find(options->sliding_window, &open.sliding_window);
    if (options->lm_head)
        mq_head_choice_find(options->lm_head, &open.lm_head);
    return open;
}

moeq_status mq_open_model(const struct mq_options *options, const char *path, struct mq_view **view,
                          moeq_error *err)
{
    const struct mq_open_options open = mq_option_open(options);
    return mq_model_open_with(path, &open, view, err);
}

moeq_status mq_open_model_or_config(const struct mq_options *options, const char *path,
                                    struct mq_view **view, moeq_error *err)
{
    const struct mq_open_options open = mq_option_open(options);
    return mq_model_open_or_config(path, &open, view, err);
}

moeq_status mq_read_text(const struct mq_options *options, struct mq_view *view,
                         struct mq_text *text, moeq_error *err)
{
    char note[MQ_TEXT_NOTE_BYTES];
    MQ_TRY(mq_option_text(options, text, err));
    return mq_text_note(text, note) ? mq_view_note(view, err, "%s", note) : MOEQ_OK;
}

void mq_print_note(const struct mq_options *options, const char *sentence)
{
    if (options->quiet) {
        fprintf(stderr, "%s: note: %s\n", mq_program_name(), sentence);
        return;
    }
    printf("  note: ");
    mq_print_wrapped(sentence, 8, 8);
}

void mq_print_notes(const struct mq_options *options, const struct mq_view *view)
{
    for (size_t i = 0; i < view->notes_count; i++)
        mq_print_note(options, view->notes[i]);
}

/* "--level: unknown level 'q4k'; did you mean q4_k?", or the list where none is near. */
static void refuse_name(const char *command, const char *option, const char *what, const char *name,
                        const char *const *names, size_t n)
{
    char plain[64], list[640] = "";
    const char *near =
        mq_nearest(mq_name_normalize(name, plain, sizeof plain) ? plain : name, names, n);
    if (near) {
        mq_usage(command, "%s: unknown %s '%s'; did you mean %s?", option, what, name, near);
        return;
    }
    for (size_t i = 0; i < n; i++)
        snprintf(list + strlen(list), sizeof list - strlen(list), "%s%s", i ? ", " : "", names[i]);
    mq_usage(command, "%s: unknown %s '%s'; there are %s", option, what, name, list);
}

enum { MAX_NAMES = 128 };

/* Of the levels that can be asked for. */
static size_t level_names(const char **names)
{
    size_t n = 0;
    for (size_t i = 0; i < mq_levels_count; i++)
        if (mq_level_can_encode(&mq_levels[i]))
            names[n++] = mq_levels[i].name;
    return n;
}

static size_t recipe_names(const char **names)
{
    for (size_t i = 0; i < mq_recipes_count; i++)
        names[i] = mq_recipes[i].name;
    return mq_recipes_count;
}

/* Levels, recipes or both: what a message lists. */
static size_t both_names(const char **names)
{
    const size_t n = level_names(names);
    return n + recipe_names(names + n);
}

/* Looks a name up; of one that stands for nothing that can be written, says so. False after a message. */
static bool find_name(const char *command, const char *option, const char *what, const char *name,
                      size_t (*list)(const char **names), struct mq_named *named)
{
    const char *names[MAX_NAMES];
    if (!mq_name_find(name, named)) {
        refuse_name(command, option, what, name, names, list(names));
        return false;
    }
    if (named->level && !mq_level_can_encode(named->level)) {
        mq_usage(command,
                 "%s: level '%s' is read only: files that have it are read, but none is written",
                 option, named->level->name);
        return false;
    }
    if (named->level || named->recipe) {
        if (named->say)
            fprintf(stderr, "%s: note: %s %s: %s\n", mq_program_name(), option, name, named->say);
        return true;
    }
    mq_usage(command, "%s: '%s' %s", option, name, named->say);
    return false;
}

const struct mq_level *mq_option_level(const char *command, const char *option, const char *name)
{
    struct mq_named named;
    if (find_name(command, option, "level", name, level_names, &named) && !named.level)
        mq_usage(command, "%s: '%s' is a recipe, a mix of levels; here one level is expected",
                 option, named.recipe->name);
    return named.level && mq_level_can_encode(named.level) ? named.level : NULL;
}

static bool find_target(const char *command, const char *option, const char *what, const char *name,
                        size_t (*list)(const char **names), struct mq_option_target *target)
{
    struct mq_named named;
    *target = (struct mq_option_target){0};
    if (!find_name(command, option, what, name, list, &named))
        return false;
    *target = (struct mq_option_target){named.level, named.recipe};
    return true;
}

bool mq_option_target(const char *command, const char *option, const char *name,
                      struct mq_option_target *target)
{
    return find_target(command, option, "level", name, both_names, target);
}

bool mq_option_level_or_recipe(const char *command, const struct mq_options *options,
                               struct mq_option_target *target)
{
    *target = (struct mq_option_target){0};
    if (options->level && options->recipe) {
        mq_usage(command, "--level and --recipe exclude each other");
        return false;
    }
    if (options->level)
        return mq_option_target(command, "--level", options->level, target);
    return !options->recipe || find_target(command, "--recipe", "recipe", options->recipe,
                                           recipe_names, target);
}

const char *mq_option_target_name(const struct mq_option_target *target)
{
    return target->level ? target->level->name : target->recipe->name;
}

/* 'PATTERN=LEVEL': the last '=' divides. */
static bool parse_override(const char *command, const char *text, struct mq_policy_override *o)
{
    const char *equals = strrchr(text, '=');
    if (!equals || equals == text || !equals[1]) {
        mq_usage(command, "--tensor '%s': expected 'PATTERN=LEVEL', such as '*.layers.0.*=q8_0'",
                 text);
        return false;
    }
    o->level = mq_option_level(command, "--tensor", equals + 1);
    if (!o->level)
        return false;
    o->pattern = mq_option_memory(strndup(text, (size_t)(equals - text)));
    return o->pattern != NULL;
}

bool mq_option_policy(const char *command, const struct mq_options *options,
                      const struct mq_option_target *target, struct mq_policy *policy,
                      struct mq_policy_override **overrides)
{
    static const struct {
        const char *option;
        enum mq_role_class group;
        size_t field;
    } by_class[] = {
        {"--shared", MQ_CLASS_SHARED, offsetof(struct mq_options, shared)},
        {"--attention", MQ_CLASS_ATTENTION, offsetof(struct mq_options, attention)},
        {"--embeddings", MQ_CLASS_EMBEDDINGS, offsetof(struct mq_options, embeddings)},
    };
    *policy = target->level    ? mq_policy_default(target->level)
              : target->recipe ? mq_policy_of_recipe(target->recipe)
                               : (struct mq_policy){0};
    *overrides = NULL;
    for (size_t i = 0; i < sizeof by_class / sizeof *by_class; i++) {
        const char *name = *(const char *const *)((const char *)options + by_class[i].field);
        if (!name)
            continue;
        if (target->recipe) {
            mq_usage(command, "%s and a recipe (%s) exclude each other; --tensor refines a recipe",
                     by_class[i].option, target->recipe->name);
            return false;
        }
        policy->levels[by_class[i].group] = mq_option_level(command, by_class[i].option, name);
        if (!policy->levels[by_class[i].group])
            return false;
    }
    if (options->effort && strcmp(options->effort, MQ_EFFORT_CALIBRATED) == 0) {
        policy->effort = MQ_EFFORT_DEFAULT; /* of first scales, and of what is not calibrated */
    } else if (options->effort && !mq_effort_find(options->effort, &policy->effort)) {
        mq_usage(command, "--effort '%s': expected default, best or calibrated", options->effort);
        return false;
    }
    policy->allow_nonfinite = options->allow_nonfinite;
    const size_t n = options->tensor.count;
    *overrides = n ? mq_option_memory(calloc(n, sizeof **overrides)) : NULL;
    if (n && !*overrides)
        return false;
    for (size_t i = 0; i < n; i++)
        if (!parse_override(command, options->tensor.values[i], &(*overrides)[i]))
            return false;
    policy->overrides = *overrides;
    policy->overrides_count = n;
    return true;
}

void mq_option_policy_free(const struct mq_options *options, struct mq_policy_override *overrides)
{
    for (size_t i = 0; overrides && i < options->tensor.count; i++)
        free((char *)overrides[i].pattern);
    free(overrides);
}

void mq_breakdown_add(struct mq_breakdown *b, const struct mq_view *view,
                      const struct mq_tensor *tensor, const struct mq_level *level, uint64_t bytes)
{
    const enum mq_role_class group = mq_view_class(view, tensor->role);
    size_t i = 0;
    while (i < b->count && (b->rows[i].group != group || b->rows[i].level != level))
        i++;
    if (i == b->count && i < sizeof b->rows / sizeof *b->rows)
        b->rows[b->count++] = (struct mq_breakdown_row){.group = group, .level = level};
    if (i < b->count)
        mq_plan_total_add(&b->rows[i].total, tensor, bytes);
    mq_plan_total_add(&b->total, tensor, bytes);
}

enum breakdown_column { OF_TENSORS, OF_WEIGHTS, OF_SIZE, OF_BITS };

/* The rows as they are printed, class by class, and their sum. */
struct breakdown_lines {
    struct {
        const char *role, *level;
        const struct mq_plan_total *total;
    } line[MQ_BREAKDOWN_ROWS + 1];
    size_t count;
    int role_width;
};

static void breakdown_cell(const void *user, size_t at, int column, char text[MQ_TABLE_CELL])
{
    const struct breakdown_lines *lines = user;
    const struct mq_plan_total *t = lines->line[at].total;
    char bytes[32];
    switch (column) {
    case OF_TENSORS:
        snprintf(text, MQ_TABLE_CELL, "%" PRIu64, t->tensors);
        break;
    case OF_WEIGHTS:
        snprintf(text, MQ_TABLE_CELL, "%" PRIu64, t->weights);
        break;
    case OF_SIZE:
        snprintf(text, MQ_TABLE_CELL, "%s", mq_format_bytes(t->bytes, bytes));
        break;
    case OF_BITS:
        snprintf(text, MQ_TABLE_CELL, "%.4f", mq_bits_per_weight(t->bytes, t->weights));
        break;
    default:
        snprintf(text, MQ_TABLE_CELL, "%-*.*s %s", lines->role_width, lines->role_width,
                 lines->line[at].role, lines->line[at].level);
    }
}

static void add_line(struct breakdown_lines *lines, const char *role, const char *level,
                     const struct mq_plan_total *total)
{
    lines->line[lines->count].role = role;
    lines->line[lines->count].level = level;
    lines->line[lines->count++].total = total;
}

void mq_breakdown_print(const struct mq_breakdown *b)
{
    static const struct mq_text_column columns[] = {[OF_TENSORS] = {"tensors", 8, 0},
                                                    [OF_WEIGHTS] = {"weights", 16, 0},
                                                    [OF_SIZE] = {"size", 11, 0},
                                                    [OF_BITS] = {"bits/w", 9, 0}};
    enum { ROLES = 20, NARROW = 12, LEVELS = 7, WIDE_ENOUGH = 60 };
    struct breakdown_lines lines = {.role_width =
                                        mq_output_columns() < WIDE_ENOUGH ? NARROW : ROLES};
    char head[MQ_TABLE_CELL];
    for (int group = 0; group < MQ_CLASS_COUNT; group++)
        for (size_t i = 0; i < b->count; i++)
            if ((int)b->rows[i].group == group)
                add_line(&lines, mq_role_class_name((enum mq_role_class)group),
                         b->rows[i].level->name, &b->rows[i].total);
    add_line(&lines, "total", "", &b->total);
    snprintf(head, sizeof head, "  %-*s %s", lines.role_width, "role", "level");
    mq_print_text_table_here(
        &(struct mq_text_table){.name = head,
                                .name_width = lines.role_width + 1 + LEVELS,
                                .columns = columns,
                                .columns_count = sizeof columns / sizeof *columns,
                                .rows_count = lines.count,
                                .cell = breakdown_cell,
                                .user = &lines});
}

static cJSON *total_json(struct mq_json_tree *b, const struct mq_plan_total *t)
{
    cJSON *o = mq_json_object(b);
    mq_json_put_count(b, o, "tensors", t->tensors);
    mq_json_put_count(b, o, "weights", t->weights);
    mq_json_put_count(b, o, "source_bytes", t->source_bytes);
    mq_json_put_count(b, o, "bytes", t->bytes);
    mq_json_put_number(b, o, "bits_per_weight", mq_bits_per_weight(t->bytes, t->weights));
    return o;
}

cJSON *mq_breakdown_json(struct mq_json_tree *b, const struct mq_breakdown *sizes)
{
    cJSON *o = total_json(b, &sizes->total), *rows = mq_json_array(b);
    for (size_t i = 0; i < sizes->count; i++) {
        cJSON *row = total_json(b, &sizes->rows[i].total);
        mq_json_put_text(b, row, "role", mq_role_class_name(sizes->rows[i].group));
        mq_json_put_text(b, row, "level", sizes->rows[i].level->name);
        mq_json_append(b, rows, row);
    }
    mq_json_put(b, o, "by_role", rows);
    return o;
}

void mq_model_put_json(struct mq_json_tree *b, cJSON *o, const struct mq_view *view)
{
    const struct mq_hparams *h = &view->hparams;
    const struct {
        const char *key;
        uint32_t value;
    } numbers[] = {{"hidden", h->hidden},
                   {"heads", h->heads},
                   {"kv_heads", h->kv_heads},
                   {"head_dim", h->head_dim},
                   {"ffn", h->ffn},
                   {"max_positions", h->max_positions},
                   {"sliding_window", h->sliding_window},
                   /* older names of "experts_per_token" and "vocabulary" */
                   {"top_k", h->top_k},
                   {"vocab", h->vocab}};
    mq_view_put_json(b, o, view);
    if (h->expert_ffn) /* where it is not "ffn" */
        mq_json_put_count(b, o, "expert_ffn", h->expert_ffn);
    mq_json_put_text(b, o, "format", mq_view_kind_name(view->kind));
    if (view->tokenizer_source)
        mq_json_put_text(b, o, "tokenizer_source", view->tokenizer_source);
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++)
        mq_json_put_count(b, o, numbers[i].key, numbers[i].value);
    mq_json_put_bool(b, o, "tied_head", h->tied_head);
}
