/* calibrated_option.c: --effort calibrated, of convert and export. */
#include "calibrated_option.h"

#include "ids_file.h"
#include "output_path.h"
#include "token_profile.h"

#include <stdlib.h>
#include <string.h>
#include <zlib.h>

static bool is_given(const struct mq_options *options)
{
    return options->effort && strcmp(options->effort, MQ_EFFORT_CALIBRATED) == 0;
}

bool mq_calibrated_option_text(const struct mq_options *options)
{
    return options->text.count || options->ids;
}

/* What is written is none of what is read for it. */
static bool check_inputs(const char *command, const struct mq_options *o)
{
    const char *input = NULL;
    for (size_t i = 0; o->output && i < o->text.count; i++)
        if (mq_same_file(o->text.values[i], o->output))
            input = o->text.values[i];
    if (o->output && o->ids && mq_same_file(o->ids, o->output))
        input = o->ids;
    if (o->output && o->calibration && mq_same_file(o->calibration, o->output))
        input = o->calibration;
    if (o->output && o->sha256 && mq_same_file(o->sha256, o->output))
        input = o->sha256;
    if (input)
        mq_usage(command, "-o '%s' is an input of this run", input);
    return !input;
}

bool mq_calibrated_option_check(const char *command, const struct mq_options *options)
{
    if (options->text.count && options->ids) {
        mq_usage(command, "--text and --ids exclude each other");
        return false;
    }
    if (is_given(options) && !mq_calibrated_option_text(options)) {
        mq_usage(command, "--effort calibrated needs --text FILE: text like that which the model is for");
        return false;
    }
    const bool budget = options->bpw || options->size || options->gpu || options->vram;
    if (is_given(options) && !budget && !options->level && !options->levels && !options->recipe &&
        !options->tensor.count) {
        mq_usage(
            command,
            "--effort calibrated is about quantizing: it goes with a level, a recipe or a budget");
        return false;
    }
    if (!check_inputs(command, options))
        return false;
    if (!is_given(options) && !budget &&
        (mq_calibrated_option_text(options) || options->tokens || options->context)) {
        mq_usage(command,
                 "--text, --ids, --tokens and --context go with --effort calibrated or a budget "
                 "(--bpw, --size, --gpu)");
        return false;
    }
    return mq_importance_option_check(command, options);
}

moeq_status mq_calibrated_option_ids(const struct mq_options *options, const struct mq_view *view,
                                     struct mq_text_windows *text, struct mq_file *identity,
                                     moeq_error *err)
{
    struct mq_arena *arena = mq_arena_create();
    if (!arena)
        return mq_fail_memory(err, "reading token ids");
    const moeq_status status = mq_ids_file_read(options->ids, view->hparams.vocab, arena,
                                                &text->windows, &text->ids, identity, err);
    mq_arena_destroy(arena);
    MQ_TRY(status);
    const size_t most = options->tokens / text->windows.length;
    if (options->tokens && most == 0)
        return mq_fail_file(err, MOEQ_INVALID_ARGUMENT, options->ids,
                            "--tokens %zu: its windows have %zu tokens each",
                            (size_t)options->tokens, text->windows.length);
    if (most && text->windows.count > most)
        text->windows.count = most;
    text->ids_crc32 =
        (uint32_t)crc32_z(0, (const Bytef *)text->ids,
                          text->windows.count * text->windows.length * sizeof *text->ids);
    return MOEQ_OK;
}

/* What calibrates is no text twice, and not what judges: that would be of no use to anybody. */
static moeq_status check_text(const struct mq_text *text, const struct mq_text *judging,
                              const struct mq_text_windows *windows, uint32_t *crcs, size_t before,
                              moeq_error *err)
{
    for (size_t i = 0; judging && i < judging->count; i++)
        if (mq_text_same_source(text, 0, judging, i))
            return mq_fail(err, MOEQ_INVALID_ARGUMENT,
                           "'%s' calibrates and '%s' judges, and they are the same text: a file is "
                           "judged on what it was not made for",
                           text->name, judging->sources[i].name);
    for (size_t i = 0; i < before; i++)
        if (crcs[i] == windows->ids_crc32)
            return mq_fail(err, MOEQ_INVALID_ARGUMENT,
                           "'%s' has the same tokens as a text before it: they would count twice",
                           text->name);
    crcs[before] = windows->ids_crc32;
    return MOEQ_OK;
}

/* Each text is cut for itself, as in calibrate: --tokens is of each, so that none is left out. */
static moeq_status read_texts(const struct mq_options *options, struct mq_view *view,
                              const struct mq_protocol_options *protocol,
                              const struct mq_text *judging, struct mq_text_windows *all,
                              struct mq_buffer *profiles, moeq_error *err)
{
    uint32_t *crcs = calloc(options->text.count, sizeof *crcs);
    moeq_status status = crcs ? MOEQ_OK : mq_fail_memory(err, "reading texts");
    for (size_t i = 0; i < options->text.count && status == MOEQ_OK; i++) {
        struct mq_options one = *options;
        struct mq_text text = {0};
        struct mq_text_windows windows = {0};
        one.text.values += i;
        one.text.count = 1;
        status = mq_read_text(&one, view, &text, err);
        if (status == MOEQ_OK)
            status = mq_protocol_text(protocol, view, &text, &windows, err);
        if (status == MOEQ_OK)
            status = check_text(&text, judging, &windows, crcs, i, err);
        if (status == MOEQ_OK)
            status = mq_text_windows_append(all, &windows, err);
        if (status == MOEQ_OK)
            status = mq_profile_add(profiles, options->text.values[i], windows.windows.ids,
                                    windows.windows.count * windows.windows.length,
                                    view->hparams.vocab, err);
        mq_text_windows_free(&windows);
        mq_text_free(&text);
    }
    free(crcs);
    return status;
}

/* As whole rows as memory lets. */
static moeq_status choose_columns(const struct mq_options *options,
                                  struct mq_calibrated_option *option, moeq_error *err)
{
    struct mq_job_ui ui;
    if (!mq_job_begin(options, &ui))
        return mq_fail(err, MOEQ_INVALID_ARGUMENT, "--memory or --threads cannot be had");
    option->run.context = &ui.context;
    option->run.options.columns = mq_calibrated_columns(&option->run);
    const moeq_status status = mq_calibrated_check_memory(&option->run, err);
    option->run.context = NULL;
    mq_job_end(&ui);
    return status;
}

moeq_status mq_calibrated_option_read(const struct mq_options *options, struct mq_view *view,
                                      const struct mq_text *judging,
                                      struct mq_calibrated_option *option, struct mq_policy *policy,
                                      moeq_error *err)
{
    /* of a card's budget --context is the KV cache's */
    const bool cache = options->gpu || options->vram;
    const struct mq_protocol_options protocol = {.context = cache ? 0 : options->context,
                                                 .max_tokens = options->tokens};
    *option = (struct mq_calibrated_option){.given = is_given(options)};
    MQ_TRY(mq_importance_option_read(options, view, &option->importance, err));
    policy->importance = option->importance;
    if (!mq_calibrated_option_text(options))
        return MOEQ_OK;
    if (options->ids) {
        struct mq_file identity;
        MQ_TRY(mq_calibrated_option_ids(options, view, &option->windows, &identity, err));
        MQ_TRY(mq_profile_add(&option->profiles, options->ids, option->windows.ids,
                              option->windows.windows.count * option->windows.windows.length,
                              view->hparams.vocab, err));
    } else {
        MQ_TRY(read_texts(options, view, &protocol, judging, &option->windows, &option->profiles,
                          err));
    }
    mq_profile_end(&option->profiles);
    if (!mq_buffer_ok(&option->profiles))
        return mq_fail_memory(err, "reading texts");
    const struct mq_windows *w = &option->windows.windows;
    option->run =
        (struct mq_calibrated){.view = view,
                               .windows = w,
                               .options = {.feedback = {.effort = policy->effort, .passes = -1}}};
    if (option->given)
        MQ_TRY(choose_columns(options, option, err));
    mq_calibrated_sentence(&option->run, option->windows.ids_crc32, option->sentence);
    if (option->given) {
        policy->calibration = option->sentence;
        policy->calibrated_on = option->profiles.data;
    }
    return MOEQ_OK;
}

void mq_calibrated_option_free(struct mq_calibrated_option *option)
{
    mq_importance_destroy(option->importance);
    mq_text_windows_free(&option->windows);
    mq_buffer_free(&option->profiles);
}
