/* choice_option.c: the largest level or recipe that a card, or so many bytes, hold. */
#include "choice_option.h"

#include "convert.h"
#include "error.h"
#include "feedback.h"
#include "stored.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct job {
    const char *command;
    const struct mq_options *options;
    const struct mq_view *view;
    const struct mq_gguf_options *gguf;
    struct mq_choice *choice;
    struct mq_choice_row smallest;
    moeq_error unsupported; /* the first reason why one was left out */
};

/* Whether a matrix of experts or MLPs is quantized already: it is as it is. */
static bool is_quantized(const struct mq_view *view)
{
    for (size_t i = 0; i < view->tensors_count; i++) {
        const struct mq_level *level;
        if (mq_view_class(view, view->tensors[i].role) == MQ_CLASS_EXPERTS &&
            mq_tensor_stored(view, &view->tensors[i], &level, NULL) == MOEQ_OK && level->quantized)
            return true;
    }
    return false;
}

/* What the card needs with the policy, or what the file takes. Fit counts tails as moeq files have them; what GGUF
 * takes beyond that is added. */
static moeq_status measure(const struct job *job, const struct mq_policy *policy,
                           const struct mq_plan *plan, struct mq_choice_row *row, moeq_error *err)
{
    struct mq_choice *choice = job->choice;
    row->weight_bytes = plan->total.bytes;
    if (!choice->kv) {
        MQ_TRY(mq_convert_files_bytes(plan, job->options->output, &row->needed_bytes, err));
        row->spare_bytes = (int64_t)job->options->size - (int64_t)row->needed_bytes;
        row->held = row->spare_bytes >= 0;
        return MOEQ_OK;
    }
    struct mq_fit *fit = calloc(1, sizeof *fit);
    moeq_status status = fit ? MOEQ_OK : mq_fail_memory(err, "choosing a level for a card");
    if (status == MOEQ_OK)
        status = mq_fit_begin(job->view, &choice->target, job->options->context, choice->kv, fit,
                              err);
    if (status == MOEQ_OK)
        status = mq_fit_add(fit, row->name, policy, err);
    if (status == MOEQ_OK) {
        const struct mq_fit_row *r = &fit->rows[0];
        const uint64_t more =
            plan->total.bytes > r->weight_bytes ? plan->total.bytes - r->weight_bytes : 0;
        choice->context = fit->context;
        row->needed_bytes = r->needed_bytes + more;
        row->spare_bytes = r->spare_bytes - (int64_t)more;
        row->held = r->verdict == MQ_FIT_FITS && row->spare_bytes >= 0;
    }
    free(fit);
    return status;
}

static void keep(struct job *job, const struct mq_choice_row *row)
{
    struct mq_choice *c = job->choice;
    c->tried++;
    if (row->held && (!c->chosen.name || row->weight_bytes > c->chosen.weight_bytes))
        c->chosen = *row;
    if (!row->held && (!c->larger.name || row->needed_bytes < c->larger.needed_bytes))
        c->larger = *row;
    if (!job->smallest.name || row->needed_bytes < job->smallest.needed_bytes)
        job->smallest = *row;
}

static enum mq_exit try_target(struct job *job, const struct mq_option_target *target)
{
    struct mq_choice_row row = {.target = *target, .name = "as stored"};
    struct mq_policy policy;
    struct mq_policy_override *overrides = NULL;
    struct mq_plan *plan = NULL;
    moeq_error err = {0};
    if (target->level || target->recipe)
        row.name = mq_option_target_name(target);
    enum mq_exit code = MQ_EXIT_USAGE;
    if (mq_option_policy(job->command, job->options, target, &policy, &overrides)) {
        moeq_status status =
            job->gguf ? mq_plan_create_gguf(job->view, &policy, job->gguf, &plan, &err)
                      : mq_plan_create_sharded(job->view, &policy, job->options->shard_bytes, &plan,
                                               &err);
        code = MQ_EXIT_GOOD;
        if (status == MOEQ_OK)
            status = measure(job, &policy, plan, &row, &err);
        if (status == MOEQ_OK) {
            keep(job, &row);
        } else if (status == MOEQ_UNSUPPORTED && job->gguf) {
            if (!job->choice->left_out++)
                job->unsupported = err;
        } else {
            code = mq_report(&err);
        }
    }
    mq_plan_free(plan);
    mq_option_policy_free(job->options, overrides);
    return code;
}

static enum mq_exit try_named(struct job *job)
{
    char *names = mq_option_memory(strdup(job->options->levels)), *rest = names, *name;
    enum mq_exit code = names ? MQ_EXIT_GOOD : MQ_EXIT_FAILURE;
    while (code == MQ_EXIT_GOOD && (name = strsep(&rest, ","))) {
        struct mq_option_target target;
        code = mq_option_target(job->command, "--levels", name, &target) ? try_target(job, &target)
                                                                         : MQ_EXIT_USAGE;
    }
    free(names);
    return code;
}

/* The source's own precision, and what a budget by a text chooses among. */
static enum mq_exit try_all(struct job *job)
{
    const struct mq_options *o = job->options;
    struct mq_option_target target = {NULL, NULL};
    enum mq_exit code = try_target(job, &target);
    if (is_quantized(job->view))
        return code;
    for (size_t i = 0; i < mq_levels_count && code == MQ_EXIT_GOOD; i++) {
        target = (struct mq_option_target){&mq_levels[i], NULL};
        if (mq_feedback_can(target.level) && !target.level->wide_scales) /* asked for by name */
            code = try_target(job, &target);
    }
    const bool classes = o->shared || o->attention || o->embeddings; /* they exclude recipes */
    for (size_t i = 0; !classes && i < mq_recipes_count && code == MQ_EXIT_GOOD; i++) {
        target = (struct mq_option_target){NULL, &mq_recipes[i]};
        if (mq_feedback_can(mq_level_find(mq_recipes[i].experts)))
            code = try_target(job, &target);
    }
    return code;
}

/* "a card of 23.52 GiB with a context of 8192 tokens (f16)", "1.00 GiB" */
static void what_holds(const struct mq_options *options, const struct mq_choice *c, char text[128])
{
    char bytes[32];
    if (!c->kv) {
        snprintf(text, 128, "%s", mq_format_bytes(options->size, bytes));
        return;
    }
    const uint64_t usable = mq_fit_target_usable(&c->target);
    char cards[32] = "the card's";
    if (c->target.cards > 1)
        snprintf(cards, sizeof cards, "%u cards'", c->target.cards);
    snprintf(text, 128, "%s %.2f GiB with a context of %" PRIu64 " tokens in %s", cards,
             (double)usable / 0x1p30, c->context, c->kv->name);
}

static enum mq_exit refuse(const struct job *job)
{
    char holds[128], needed[32], missing[32], what[96], least[64] = "", size[32];
    moeq_error err = {0};
    if (!job->choice->tried) {
        err = job->unsupported;
        return mq_report(&err);
    }
    if (!job->choice->kv)
        snprintf(least, sizeof least, "; it takes --size %s",
                 mq_format_size_up(job->smallest.needed_bytes, size));
    what_holds(job->options, job->choice, holds);
    if (job->choice->tried > 1)
        snprintf(what, sizeof what, "none of %zu levels and recipes fits", job->choice->tried);
    else
        snprintf(what, sizeof what, "what was asked for does not fit");
    mq_fail(
        &err, MOEQ_LIMIT, "%s in %s: %s%s needs %s, %s too many%s%s%s", what, holds,
        job->choice->tried > 1 ? "the smallest, " : "", job->smallest.name,
        mq_format_bytes(job->smallest.needed_bytes, needed),
        mq_format_bytes((uint64_t)(job->smallest.spare_bytes < 0 ? -job->smallest.spare_bytes : 0),
                        missing),
        is_quantized(job->view) ? "; it is quantized already: levels are for the original model"
                                : "",
        least,
        job->choice->kv ? "; a shorter --context or --kv q8_0 takes less, and moeq fit says what "
                          "could stay on the host"
                        : "");
    return mq_report(&err);
}

enum mq_exit mq_choice_make(const char *command, const struct mq_options *options,
                            const struct mq_view *view, const struct mq_gguf_options *gguf,
                            struct mq_choice *choice)
{
    struct job job = {.command = command,
                      .options = options,
                      .view = view,
                      .gguf = gguf,
                      .choice = choice};
    const enum mq_exit code = options->levels ? try_named(&job) : try_all(&job);
    if (code != MQ_EXIT_GOOD)
        return code;
    return choice->chosen.name ? MQ_EXIT_GOOD : refuse(&job);
}

enum mq_exit mq_choice_make_stored(const char *command, const struct mq_options *options,
                                   const struct mq_view *view, const struct mq_gguf_options *gguf,
                                   struct mq_choice *choice, bool *held)
{
    const struct mq_option_target source = {NULL, NULL};
    struct job job = {
        .command = command, .options = options, .view = view, .gguf = gguf, .choice = choice};
    const enum mq_exit code = try_target(&job, &source);
    *held = choice->no_text = code == MQ_EXIT_GOOD && choice->chosen.name;
    return code;
}

void mq_choice_print(const struct mq_options *options, const struct mq_choice *c)
{
    char holds[128], needed[32], spare[32], of[64] = "", text[512];
    if (!c->given)
        return;
    what_holds(options, c, holds);
    if (c->tried > 1)
        snprintf(of, sizeof of, ", the largest of %zu levels and recipes that", c->tried);
    snprintf(text, sizeof text, "%s%s fits in %s: it needs %s, %s to spare", c->chosen.name, of,
             holds, mq_format_bytes(c->chosen.needed_bytes, needed),
             mq_format_bytes((uint64_t)c->chosen.spare_bytes, spare));
    if (c->larger.name)
        snprintf(text + strlen(text), sizeof text - strlen(text), "; %s would need %s",
                 c->larger.name, mq_format_bytes(c->larger.needed_bytes, needed));
    if (c->no_text)
        snprintf(text + strlen(text), sizeof text - strlen(text),
                 "; so there is nothing to choose by the text, which is not read");
    if (c->left_out)
        snprintf(text + strlen(text), sizeof text - strlen(text),
                 "; %zu that GGUF cannot store without --unify up were left out", c->left_out);
    printf("  chosen: ");
    mq_print_wrapped(text, 10, 10);
}

static cJSON *row_json(struct mq_json_tree *b, const struct mq_choice_row *row)
{
    cJSON *o = mq_json_object(b);
    mq_json_put_text(b, o, "name", row->name);
    mq_json_put_count(b, o, "weight_bytes", row->weight_bytes);
    mq_json_put_count(b, o, "needed_bytes", row->needed_bytes);
    mq_json_put_number(b, o, "spare_bytes", (double)row->spare_bytes);
    return o;
}

void mq_choice_put_json(struct mq_json_tree *b, cJSON *document, const struct mq_choice *c)
{
    if (!c->given)
        return;
    cJSON *o = row_json(b, &c->chosen);
    mq_json_put_text(b, o, "kind",
                     c->chosen.target.recipe  ? "recipe"
                     : c->chosen.target.level ? "level"
                                              : "source");
    mq_json_put_text(b, o, "by", c->kv ? "card" : "size");
    if (c->kv) {
        mq_json_put_count(b, o, "usable_bytes", mq_fit_target_usable(&c->target));
        mq_json_put_count(b, o, "context", c->context);
        mq_json_put_text(b, o, "kv", c->kv->name);
    }
    mq_json_put_count(b, o, "tried", c->tried);
    mq_json_put_count(b, o, "left_out", c->left_out);
    if (c->larger.name)
        mq_json_put(b, o, "next", row_json(b, &c->larger));
    mq_json_put(b, document, "choice", o);
}
