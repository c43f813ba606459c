/* sink.c: what an encoder asks of the conversion that it works for, and where it has got to: see convert.h. (What it
 * hands over is written by convert.c.) */
#include "sink_int.h"

#include "error.h"
#include "file.h"
#include "gguf_form.h"
#include "kept_states.h"

#include <inttypes.h>

static const struct mq_plan_entry *entry_of(const struct mq_convert_sink *sink,
                                            const struct mq_tensor *tensor)
{
    const struct mq_plan *plan = sink->plan;
    return &plan->entries[tensor - plan->view->tensors];
}

bool mq_convert_as_it_is(const struct mq_convert_sink *sink, const struct mq_tensor *tensor)
{
    const struct mq_plan_entry *e = entry_of(sink, tensor);
    const unsigned turned = MQ_FORM_KV_B | MQ_FORM_PLUS_ONE | MQ_FORM_MINUS_EXP;
    return e->level != e->source && (!e->form || (!(e->form->what & turned) && !e->form->columns));
}

bool mq_convert_wants(const struct mq_convert_sink *sink, const struct mq_tensor *tensor)
{
    return mq_convert_as_it_is(sink, tensor) && !sink->table->done[entry_of(sink, tensor)->item];
}

const struct mq_level *mq_convert_level(const struct mq_convert_sink *sink,
                                        const struct mq_tensor *tensor)
{
    return entry_of(sink, tensor)->level;
}

moeq_status mq_convert_note(struct mq_convert_sink *sink, moeq_error *err)
{
    return mq_chunks_sync(sink->table, err);
}

static uint64_t count_done(const struct mq_convert_sink *sink)
{
    uint64_t n = 0;
    for (size_t i = 0; i < sink->plan->items_count; i++)
        n += sink->table->done[i];
    return n;
}

moeq_status mq_convert_keep(struct mq_convert_sink *sink, const struct mq_convert_point *point,
                            const void *states, moeq_error *err)
{
    const struct mq_kept_states kept = {
        .identity = mq_output_identity(sink->plan), .finished = count_done(sink), .point = *point};
    const char *path = sink->states;
    if (!path)
        return MOEQ_OK;
    if (!mq_kept_states_may_write(path))
        return mq_fail_file(err, MOEQ_INVALID_ARGUMENT, path,
                            "is where the states of this conversion would be kept, and something "
                            "else: remove it");
    return mq_kept_states_write(path, &kept, states, err);
}

/* The journal is read up to the first line that is torn, so as many tensors as then are the same. */
moeq_status mq_convert_kept(const struct mq_convert_sink *sink, struct mq_convert_point *point,
                            bool *there, moeq_error *err)
{
    const char *path = sink->states;
    struct mq_kept_states kept = {.identity = mq_output_identity(sink->plan), .point = *point};
    *there = false;
    if (!path || !mq_path_exists(path))
        return MOEQ_OK;
    MQ_TRY(mq_kept_states_read(path, &kept, err));
    if (kept.finished > count_done(sink))
        return mq_fail_file(err, MOEQ_MALFORMED, path,
                            "states of an interrupted conversion: expected %" PRIu64
                            " finished tensors, found %" PRIu64,
                            kept.finished, count_done(sink));
    *point = kept.point;
    *there = true;
    return MOEQ_OK;
}

moeq_status mq_convert_load_kept(const struct mq_convert_sink *sink, void *states, moeq_error *err)
{
    return mq_kept_states_load(sink->states, states, err);
}
