/* api_int.c: options of any version, jobs, documents. */
#include "api_int.h"

#include "cpu.h"

#include <stdlib.h>
#include <string.h>

moeq_status mq_api_read_options(void *options, size_t size, const void *caller, moeq_error *err)
{
    memset(options, 0, size);
    if (!caller)
        return MOEQ_OK;
    size_t given;
    memcpy(&given, caller, sizeof given);
    if (given < sizeof given)
        return mq_fail(err, MOEQ_INVALID_ARGUMENT, "an option struct's struct_size is not set");
    memcpy(options, caller, given < size ? given : size);
    return MOEQ_OK;
}

static void on_progress(void *user, const struct mq_progress *p)
{
    struct mq_api_job *job = user;
    if (!job->options.progress(job->options.progress_user, p->phase, p->unit, p->done, p->total))
        atomic_store(&job->cancel, true);
}

moeq_status mq_api_job_begin(struct mq_api_job *job, const moeq_job *options, moeq_error *err)
{
    memset(job, 0, sizeof *job);
    MQ_TRY(mq_api_read_options(&job->options, sizeof job->options, options, err));
    atomic_init(&job->cancel, false);
    job->context.isa = mq_isa_detect();
    job->context.threads = job->options.threads ? job->options.threads : mq_cpu_count();
    job->context.memory_bytes = job->options.memory_bytes;
    job->context.cancel = &job->cancel;
    if (job->options.progress) {
        job->context.progress = on_progress;
        job->context.progress_user = job;
    }
    return MOEQ_OK;
}

moeq_status mq_api_take_json(cJSON *tree, char **text, moeq_error *err)
{
    char *printed = tree ? cJSON_Print(tree) : NULL;
    cJSON_Delete(tree);
    *text = printed ? strdup(printed) : NULL; /* cJSON's allocator need not be ours */
    cJSON_free(printed);
    return *text ? MOEQ_OK : mq_fail_memory(err, "printing a report");
}

moeq_status mq_api_read_open_options(const moeq_open_options *given, struct mq_open_options *open,
                                     moeq_error *err)
{
    moeq_open_options o;
    MQ_TRY(mq_api_read_options(&o, sizeof o, given, err));
    *open = (struct mq_open_options){.ignored_keys = o.ignore_config,
                                     .ignored_keys_count = o.ignore_config_count,
                                     .no_check = o.no_check};
    if (o.sliding_window && !mq_window_choice_find(o.sliding_window, &open->sliding_window))
        return mq_fail(err, MOEQ_INVALID_ARGUMENT,
                       "sliding_window '%.40s': expected apply or ignore", o.sliding_window);
    if (o.lm_head && !mq_head_choice_find(o.lm_head, &open->lm_head))
        return mq_fail(err, MOEQ_INVALID_ARGUMENT, "lm_head '%.40s': expected stored or tied",
                       o.lm_head);
    return MOEQ_OK;
}

moeq_status mq_api_read_text(const moeq_text *caller, moeq_text *text,
                             struct mq_protocol_options *protocol, enum mq_compute *compute,
                             moeq_error *err)
{
    *compute = MQ_COMPUTE_F32;
    MQ_TRY(mq_api_read_options(text, sizeof *text, caller, err));
    if (!text->path)
        return mq_fail(err, MOEQ_INVALID_ARGUMENT, "a text needs a path");
    *protocol = (struct mq_protocol_options){.context = text->context, .max_tokens = text->tokens};
    if (text->protocol && !mq_protocol_find(text->protocol, &protocol->protocol))
        return mq_fail(err, MOEQ_INVALID_ARGUMENT, "unknown protocol '%s'", text->protocol);
    if (text->compute && !mq_compute_find(text->compute, compute))
        return mq_fail(err, MOEQ_INVALID_ARGUMENT, "compute '%s': expected f32 or int8",
                       text->compute);
    return MOEQ_OK;
}

moeq_status mq_api_read_card(const moeq_card *caller, moeq_card *card,
                             struct mq_fit_request *request, moeq_error *err)
{
    MQ_TRY(mq_api_read_options(card, sizeof *card, caller, err));
    *request = (struct mq_fit_request){.gpu = card->gpu,
                                       .vram = card->vram,
                                       .ram = card->ram,
                                       .bandwidth = card->bandwidth,
                                       .runtime = card->runtime,
                                       .kv = card->kv,
                                       .no_flash_attention = card->no_flash_attention,
                                       .dash = ""};
    return MOEQ_OK;
}
