/* convert_plan.c: a plan that knows of the NaN and infinite weights it lets through. */
#include "convert.h"

#include "error.h"
#include "nonfinite.h"

/* What is planned: of GGUF files, of a folder, or (both NULL) of a moeq model. */
struct form {
    const struct mq_gguf_options *gguf;
    const struct mq_folder_options *folder;
    uint64_t shard_bytes;
};

static moeq_status create(const struct mq_view *view, const struct mq_policy *policy,
                          const struct form *form, struct mq_plan **plan, moeq_error *err)
{
    return form->folder ? mq_plan_create_folder(view, policy, form->folder, plan, err)
           : form->gguf ? mq_plan_create_gguf(view, policy, form->gguf, plan, err)
                        : mq_plan_create_sharded(view, policy, form->shard_bytes, plan, err);
}

static moeq_status plan_form(const struct mq_context *context, const struct mq_view *view,
                             const struct mq_policy *policy, const struct form *form,
                             struct mq_plan **plan, moeq_error *err)
{
    struct mq_buffer sentence = {0};
    struct mq_policy told = *policy;
    MQ_TRY(create(view, policy, form, plan, err));
    if (!policy->allow_nonfinite)
        return MOEQ_OK;
    moeq_status status = mq_convert_scan(context, *plan, &sentence, &told.nonfinite_weights, err);
    if (status == MOEQ_OK && !mq_buffer_ok(&sentence))
        status = mq_fail_memory(err, "planning");
    if (status != MOEQ_OK || told.nonfinite_weights) {
        mq_plan_free(*plan);
        *plan = NULL;
    }
    told.nonfinite_note = sentence.data;
    if (status == MOEQ_OK && told.nonfinite_weights)
        status = create(view, &told, form, plan, err);
    mq_buffer_free(&sentence);
    return status;
}

moeq_status mq_convert_plan(const struct mq_context *context, const struct mq_view *view,
                            const struct mq_policy *policy, const struct mq_gguf_options *gguf,
                            uint64_t shard_bytes, struct mq_plan **plan, moeq_error *err)
{
    const struct form form = {.gguf = gguf, .shard_bytes = shard_bytes};
    return plan_form(context, view, policy, &form, plan, err);
}

moeq_status mq_convert_plan_folder(const struct mq_context *context, const struct mq_view *view,
                                   const struct mq_policy *policy,
                                   const struct mq_folder_options *folder, struct mq_plan **plan,
                                   moeq_error *err)
{
    const struct form form = {.folder = folder};
    return plan_form(context, view, policy, &form, plan, err);
}

moeq_status mq_convert_files_bytes(const struct mq_plan *plan, const char *output, uint64_t *bytes,
                                   moeq_error *err)
{
    uint64_t index;
    MQ_TRY(mq_convert_index_bytes(plan, output ? output : "model.moeq", &index, err));
    *bytes = plan->output_bytes + index;
    return MOEQ_OK;
}
